"""Predict the vote fractions of Galaxy Zoo volunteers from galaxy images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxy.runs.model import TrainedModel

__version__ = "0.1.0"


def load(run_or_checkpoint: str | Path, trust: Sequence[str] = ()) -> TrainedModel:
    """Loads a trained model, which predicts images of any kind.

    Example:
        >>> import galaxy
        >>> model = galaxy.load("runs/first")
        >>> model.labels.texts[:2]
        ('smooth', 'features or disk')

    Args:
        run_or_checkpoint: The folder of a run, whose best checkpoint is taken, or a checkpoint; `latest` for
            the run below `runs` that finished last.
        trust: Packages whose code the checkpoint may call beside Galaxy's own. Give those whose authors you
            trust, because their code then runs.

    Returns:
        The model: `predict(images)`, `features(images)`, `labels`, `questions`, `task` and `config`.

    Raises:
        UserError: There is no such run or checkpoint, or it is damaged or names other code.
    """
    # `import galaxy` is quick, and torch takes seconds.
    from galaxy.config.trust import UntrustedError  # noqa: PLC0415
    from galaxy.runs.experiment import load as load_checkpoint  # noqa: PLC0415
    from galaxy.runs.finding import find_checkpoint, find_run  # noqa: PLC0415
    from galaxy.system.errors import UserError  # noqa: PLC0415

    path = Path(run_or_checkpoint).expanduser()
    is_file = path.is_file() or path.suffix == ".ckpt"
    file = find_checkpoint(str(path)) if is_file else find_run(str(path)).best_checkpoint()
    try:
        return load_checkpoint(file, trust)
    except UntrustedError as error:
        raise UserError(f"{error}, in Python galaxy.load(..., trust={error.packages})") from None
