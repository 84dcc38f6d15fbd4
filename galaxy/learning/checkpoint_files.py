"""The files of checkpoints: whole or absent, checked before they are read, and read without running code."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import CheckpointIO
from torch import Tensor

from galaxy.system.errors import UserError
from galaxy.system.files import replacing
from galaxy.system.interruption import Interrupted


class WholeCheckpointIO(CheckpointIO):
    """Writes and reads the checkpoints of a `Trainer(plugins=[WholeCheckpointIO()])`.

    Lightning 2.6 writes a checkpoint to memory and then to the system's folder for temporary files, which may
    lie on another disk (Lightning issues 21253 and 21823). It neither flushes what it writes nor checks what
    it reads.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint; there are no options."""
        save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint to the CPU, and never anything but weights and plain values."""
        return load(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint."""
        Path(path).unlink(missing_ok=True)


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint, whole or not at all.

    Raises:
        UserError: The disk is full or does not let us write. The checkpoint that was there is unchanged.
    """
    with replacing(path, _tensor_bytes(checkpoint)) as temporary, temporary.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            # torch ends its archive after a failed write as well, and that fails with "unexpected pos 1344 vs
            # 1302". The error of the write itself is the context of this one.
            # A signal may also have come in the middle of the write.
            if isinstance(error.__context__, OSError | Interrupted):
                raise error.__context__ from None
            raise


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU with `weights_only=True`.

    Every byte is compared with its checksum first, because PyTorch writes checksums and does not look at
    them. That takes some 10 ms for the 45 MB of a ResNet-18.

    Raises:
        UserError: There is no such file, it is damaged, or it holds more than weights and plain values.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: for a run folder write run={path}")
    try:
        with zipfile.ZipFile(path) as file:
            changed = file.testzip()
        if changed is not None:
            raise zipfile.BadZipFile(f"its part {changed} has changed")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+)", str(error))
        named = f", {called[1]} among them" if called else ""
        raise UserError(
            f"{path} holds more than weights and plain values{named}: reading it could run somebody else's "
            "code, so it is refused"
        ) from None
    except Exception as error:  # zipfile and PyTorch raise anything on bytes that could be anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        others = [str(other) for other in sorted(path.parent.glob("*.ckpt")) if other != path]
        remedy = f"Use {' or '.join(others)} instead, or train" if others else "Train"
        raise UserError(
            f"{path} is damaged, or not a checkpoint of this project: {reason}.\n{remedy} the model again."
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint of this project: it holds a {type(content).__name__}")
    return content


def _tensor_bytes(value: Any) -> int:
    """Returns the bytes of all tensors within a value, which are nearly all that its file will take."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return 0
    return sum(map(_tensor_bytes, value))
