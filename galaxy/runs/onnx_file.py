"""Writes the network of a run as an ONNX file, after it has been compared with PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.filesize import decimal
from torch import Tensor, nn

from galaxy import __version__
from galaxy.config.instantiation import instantiate, naming
from galaxy.config.trust import check_trusted
from galaxy.data.splits import sample_rows
from galaxy.images import BadImageError
from galaxy.images.augment import as_floats
from galaxy.images.decode import Decoder
from galaxy.learning.task import GalaxyTask
from galaxy.runs.experiment import load
from galaxy.runs.folder import RunFolder
from galaxy.runs.model import TrainedModel
from galaxy.runs.predict import predicting
from galaxy.system.errors import UserError
from galaxy.system.files import write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images", "fractions"
# The largest difference of a fraction that is let pass. Sums in another order differ by some 1e-7.
TOLERANCE = 1e-4
# The galaxies, and the random images, that the outputs are compared on.
_COMPARED = 16
# Protocol Buffers, which the file is written in, end here.
_MOST_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it agrees with PyTorch.

    Attributes:
        model: The model that was exported.
        size: The bytes of the file.
        random: The largest difference of a fraction on random images.
        own: That on galaxies of the run; None where their images cannot be read.
        galaxies: The number of these galaxies.
        reason: Why their images cannot be read, in one line.
    """

    model: TrainedModel
    size: int
    random: float
    own: float | None = None
    galaxies: int = 0
    reason: str = ""


def check_packages() -> None:
    """Raises UserError if a package that writes or runs ONNX is not installed."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx needs {' and '.join(missing)}: pip install 'galaxy-morphology[onnx]'")


def write_onnx(run: RunFolder, path: Path, trust: list[str]) -> Exported:
    """Writes the network of the best checkpoint: images in [0, 1] go in, fractions come out.

    The input `images` is (B, C, size, size) float32 with any B, the output `fractions` (B, K). The file holds
    the normalisation too. Its metadata have the names of the columns, the labels, the crop and the run.

    Args:
        run: A run that is done.
        path: The file, which must not exist yet.
        trust: Packages whose code the checkpoint and the data may call beside Galaxy's own.

    Raises:
        UserError: The model is no network, cannot be written as ONNX, or gives other numbers there. Nothing
            has been written.
        UntrustedError: The checkpoint would call code that is not trusted.
    """
    model = load(run.best_checkpoint(), trust)
    if model.task is None:
        raise UserError(
            f"{run.path} trained {type(model.model).__name__}, which is fitted in one go: only networks "
            "can be written as ONNX"
        )
    proto = _translated(model.task, (model.crop.channels, model.crop.size, model.crop.size))
    _describe(proto, model, run)
    content = proto.SerializeToString()
    random = torch.rand(_COMPARED, *_shape(proto)[1:], generator=torch.Generator().manual_seed(0))
    differences = [_difference(content, model.task, images) for images in (random, random[:1])]
    try:
        own = _own_images(model, run.best_checkpoint(), trust)
        exported = Exported(
            model, len(content), max(differences), _difference(content, model.task, own), len(own)
        )
    except (UserError, BadImageError) as error:
        exported = Exported(model, len(content), max(differences), reason=str(error).splitlines()[0])
    if (worst := max(exported.random, exported.own or 0.0)) > TOLERANCE:
        raise UserError(
            f"{type(model.task.encoder).__name__} as ONNX gives fractions that differ by up to {worst:.2g} "
            f"from those of PyTorch, more than the {TOLERANCE:g} that rounding explains: nothing was written"
        )
    write_bytes(path, content)
    return exported


class _Fractions(nn.Module):
    """What is exported of a task: the fractions alone."""

    def __init__(self, task: GalaxyTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, images: Tensor) -> Tensor:
        fractions: Tensor = self.task(images).fractions
        return fractions


def _translated(task: GalaxyTask, shape: tuple[int, int, int]) -> ModelProto:
    """Translates a network for images of a shape (C, H, W), and any number of them."""
    name = type(task.encoder).__name__
    size = sum(weights.nbytes for weights in task.state_dict().values())
    if size > _MOST_BYTES:
        raise UserError(f"{name} has {decimal(size)} of weights, and a file of ONNX holds 2 GB at most")
    network = _Fractions(task.cpu().float()).eval()
    try:
        # The older exporter (dynamo=False) is deprecated, and cannot translate the `rot90` of model=dieleman.
        program = torch.onnx.export(
            network,
            (torch.rand(2, *shape),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"{name} cannot be written as ONNX: {reason}") from error
    assert program is not None
    proto: ModelProto = program.model_proto
    if not proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise UserError(
            f"{name} as ONNX would take batches of one size only, because its code reads the number of "
            "images as a plain number: write images.shape[0] in place of len(images)"
        )
    for node in proto.graph.node:
        del node.metadata_props[:]  # lines of source with the folders of this machine
    return proto


def _describe(proto: ModelProto, model: TrainedModel, run: RunFolder) -> None:
    """Writes into the metadata what a user of the file has to know; lists and mappings are JSON."""
    from onnx.helper import set_model_props  # noqa: PLC0415  It is optional.

    crop = {"name": type(model.crop).__name__, **vars(model.crop)}
    about: dict[str, Any] = {
        "columns": model.labels.columns,
        "answers": model.labels.texts,
        "labels": model.labels.plain(),
        "crop": crop,
        "frame": model.frame,
        "run": run.path.resolve().name,
        "galaxy_version": __version__,
    }
    set_model_props(proto, {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()})


def _shape(proto: ModelProto) -> list[int]:
    return [dimension.dim_value for dimension in proto.graph.input[0].type.tensor_type.shape.dim]


def _difference(content: bytes, task: GalaxyTask, images: Tensor) -> float:
    """Returns the largest difference between the fractions of the file and those of PyTorch."""
    import onnxruntime  # noqa: PLC0415  It is optional.

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.run([OUTPUT], {INPUT: images.numpy()})
    with predicting(task, torch.device("cpu")):
        expected: NDArray[np.float32] = task(images).fractions.numpy()
    return float(np.abs(given - expected).max())


def _own_images(model: TrainedModel, file: Path, trust: list[str]) -> Tensor:
    """Reads some galaxies of the survey that a model was trained on, (N, C, size, size) float32.

    Raises:
        UserError: The survey is not there, or would call what is not trusted.
        BadImageError: An image is bad.
    """
    data = model.config["data"]
    root = Path(data["root"]).expanduser()
    if not root.is_dir():  # a simulated survey would be made
        raise UserError(f"{root} is not there")
    check_trusted({"data": {"catalog": data["catalog"]}}, file, trust)
    reader = instantiate(data["catalog"], "data.catalog")
    with naming("data.catalog"):
        catalog = reader(root=root, on_bad=data["on_bad"])
    with Decoder() as decode:
        rows = sample_rows(catalog.ids, _COMPARED).tolist()
        crops = [model.crop(decode(catalog.images[row])) for row in rows]
    return as_floats(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)).contiguous()
