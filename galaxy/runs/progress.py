"""How far a run had come when it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from galaxy.runs import checkpoint
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Progress:
    """What last.ckpt knows beside what Lightning restores; see `galaxy.learning.callbacks.LastCheckpoint`.

    Attributes:
        checkpoint: It, or None where a training starts from the beginning.
        epochs: That are over.
        finished: Whether all of the training is.
        seconds: That the run has taken.
        metrics: The text of metrics.csv at that time.
    """

    checkpoint: Path | None = None
    epochs: int = 0
    finished: bool = False
    seconds: float = 0.0
    metrics: str = ""

    @classmethod
    def of(cls, run: RunFolder) -> Progress:
        """That of a run folder.

        Raises:
            UserError: Its last.ckpt is damaged.
        """
        if not run.last.exists():
            return cls()
        try:
            content = checkpoint.read(run.last)
        except UserError as error:
            raise UserError(
                f"the run cannot be resumed: {error}\nDelete this file, and the run starts anew."
            ) from error
        # A model that learns in one go has none.
        values = content.get("progress")
        return cls() if values is None else cls(run.last, **values)
