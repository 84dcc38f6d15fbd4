"""What a run tells TensorBoard beside its curves: choices, status, layout of the charts, texts and pictures.

TensorBoard's HParams tab reads two messages of each run. They are written one by one here, because Lightning
and torch write them together with a third one, the list of columns, and with a run that has ended well. The
tab takes the list of one arbitrary run for all runs. Without a list it looks at all runs, and puts the
choices that differ first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard import summary as summaries

from galaxy.config.objective import CLASS_METRICS, FRACTION_METRICS
from galaxy.labels.labels import Labels
from galaxy.runs.result import FINISHED

# The end of a session is the only message in a file of this ending. A resumed run deletes it, because
# TensorBoard believes the first of two ends.
_ENDED = ".ended"
_STATUS = {
    **dict.fromkeys(FINISHED, "STATUS_SUCCESS"),
    "failed": "STATUS_FAILURE",
    "diverged": "STATUS_FAILURE",
}


class TensorBoard(TensorBoardLogger):
    """Lightning's logger for TensorBoard, which also fills the tabs HParams, Text, Images and Custom Scalars.

    Args:
        save_dir: The run folder.
        **arguments: Further arguments of Lightning's logger.
    """

    def __init__(self, save_dir: str, **arguments: Any) -> None:
        super().__init__(save_dir, **arguments)
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            for file in Path(self.log_dir).glob(f"events.out.tfevents.*{_ENDED}"):
                file.unlink()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics, without the number of the epoch that Lightning adds to all of them."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def begin(self, choices: Mapping[str, bool | float | str]) -> None:
        """Begins the run in the HParams tab.

        Args:
            choices: What runs are compared by; each name becomes a column.
        """
        _, start, _ = summaries.hparams(dict(choices), {})
        self.experiment._get_file_writer().add_summary(start)

    @rank_zero_only
    def end(self, status: str) -> None:
        """Ends the run in the HParams tab. A run that was interrupted may go on, so it does not end."""
        if status not in _STATUS:
            return
        ended = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(_STATUS[status]))
        content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=ended))
        value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content)
        with SummaryWriter(self.log_dir, filename_suffix=_ENDED) as writer:
            writer._get_file_writer().add_summary(Summary(value=[value]))

    @rank_zero_only
    def lay_out(self, labels: Labels, weighted: bool) -> None:
        """Arranges the Custom Scalars tab: training beside validation, and a chart for each question.

        Args:
            labels: What is predicted.
            weighted: Whether the targets come with weights.
        """
        shared = ["loss", *FRACTION_METRICS, *(CLASS_METRICS if labels.kind == "classes" else ())]
        both = {name: _chart(f"train/{name}", f"val/{name}") for name in shared}
        if weighted:
            both["weighted_rmse"] = _chart("val/weighted_rmse")
        layout = {"training and validation": both}
        if len(labels.questions) > 1:
            layout["val/rmse of each question"] = {
                question.title: _chart(f"val/rmse/{question.key}") for question in labels.questions
            }
        self.experiment.add_custom_scalars(layout)

    @rank_zero_only
    def log_text(self, name: str, text: str) -> None:
        """Shows a text, written in Markdown."""
        _add_text(self.experiment, name, text)

    @rank_zero_only
    def log_picture(self, name: str, picture: NDArray[np.uint8], step: int) -> None:
        """Shows a picture, (H, W, 3) uint8. OpenCV encodes it in a fraction of the time that torch needs."""
        fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        encoded = cv2.imencode(".png", picture[..., ::-1], fast)[1].tobytes()
        height, width, _ = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        value = Summary.Value(tag=name, image=image)
        self.experiment._get_file_writer().add_summary(Summary(value=[value]), step)


def write_comparison(folder: Path, text: str) -> None:
    """Shows the comparison of a sweep in TensorBoard, as a run of its own called "comparison".

    Args:
        folder: The folder of the sweep.
        text: The comparison in Markdown. It takes the place of an earlier one.
    """
    own = folder / "comparison"
    for file in own.glob("events.out.tfevents.*"):
        file.unlink(missing_ok=True)  # another process of the search may be writing it too
    with SummaryWriter(own) as writer:
        _add_text(writer, "comparison", text)


def _add_text(writer: SummaryWriter, name: str, text: str) -> None:
    # A path may hold bytes that are no text.
    summary = summaries.text(name, text.encode("utf-8", "replace").decode())
    summary.value[0].tag = name  # torch adds "/text_summary"
    writer._get_file_writer().add_summary(summary, 0)


def _chart(*names: str) -> list[Any]:
    """Describes a chart of some scalars, whose names TensorBoard reads as patterns."""
    return ["Multiline", [f"{re.escape(name)}$" for name in names]]
