"""Silences what libraries say that is no news to the person who trains."""

from __future__ import annotations

import logging
import warnings


class ForConsole(logging.Filter):
    """Lets pass what the project says, but for what is shown anyhow, and the warnings of others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show this."""
        ours = record.name.startswith("galaxy.") or record.levelno >= logging.WARNING
        return ours and not getattr(record, "for_file", False)


def quieten_libraries() -> None:
    """Leaves out advertisements, and warnings about what is meant to be so."""
    # "GPU available", "Tip: try installing ...", and the precision, which config.yaml holds too.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        # metrics.csv shares the run folder with everything else.
        r"Experiment logs directory .* exists and is not empty",
        # A resumed run finds its own.
        r"Checkpoint directory .* exists and is not empty",
        # Lightning 2.6.6 with torch 2.15; mended in Lightning's main branch.
        r".*isinstance\(treespec, LeafSpec\).* is deprecated",
        # The loaders gather whole batches by themselves; workers would only copy them.
        r"The '\w+' does not have many workers",
        # Metrics are of all processes of a distributed training before they are logged.
        r"It is recommended to use `self\.log\('\S+', \.\.\., sync_dist=True\)`",
        # torch.compile of torch 2.15 looks at the gradients of what it traces.
        r"The \.grad attribute of a Tensor that is not a leaf",
    ):
        warnings.filterwarnings("ignore", message)
