"""Catalogues of galaxies that are predicted and not scored, written while the images are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from joblib import cpu_count
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import class_strings, is_galaxy_zoo_2, probability_asked
from galaxy.labels.labels import Labels
from galaxy.runs.catalogue_files import described
from galaxy.runs.evaluation_files import begin_folder, make_folder
from galaxy.runs.predict import Predictions, meanings, write_columns
from galaxy.runs.request import Request
from galaxy.runs.streaming import Batch, predict_as_read
from galaxy.runs.table_stream import TableStream, check_size, streamed
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError
from galaxy.system.files import check_writable, replacing
from galaxy.system.machine import keep_freed_memory

log = logging.getLogger(__name__)

# The rows that are written at once: a row group of Parquet.
_ROWS = 8192


class Appraiser(Protocol):
    """Says how far predictions can be trusted."""

    @property
    def meanings(self) -> Mapping[str, str]:
        """What the columns of `table` mean."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Where it comes from, for the metadata of the table."""

    def table(self, predicted: NDArray[np.float64], features: NDArray[np.float32] | None) -> pd.DataFrame:
        """Returns columns about predictions (N, K), with features (N, F) if the model has any."""


@dataclass(frozen=True)
class Catalogue:
    """A catalogue that was made.

    Attributes:
        title: The data, the number of views and the number of galaxies, in words.
        labels: What was predicted.
        likeliest: (K,) int64, for how many galaxies each answer is the likeliest of all; for classes.
        failed: The number of galaxies without a row: images that cannot be read, and bad rows of a table.
        files: The files that were written.
    """

    title: str
    labels: Labels
    likeliest: NDArray[np.int64]
    failed: int
    files: list[Path]


@dataclass(frozen=True)
class _Places:
    """Where a catalogue is written: its tables, its failures, and the folder if further files are in it."""

    tables: list[Path]
    failures: Path
    folder: Path | None = None


def make_catalogue(request: Request, appraiser: Appraiser | None = None) -> Catalogue:
    """Predicts galaxies while their images are read, and writes a row for each.

    Memory holds the names and the places of the galaxies, the models and a few batches of pixels. Images that
    cannot be read have no row and are listed in a file of failures.

    Args:
        request: The models, the galaxies and the place of the results.
        appraiser: Says how far the predictions can be trusted.

    Raises:
        UserError: The data or the folder cannot be used, or no image can be read.
    """
    keep_freed_memory()
    if request.galaxies.labelled and request.split != "all":
        raise UserError(
            "shard=K/N predicts all galaxies without scoring them, and these have labels: say split=all"
        )
    rows = _Rows(request, appraiser)
    catalog = rows.catalog
    places = _places(request)
    for path in places.tables:
        check_size(path, len(catalog), rows.columns)
    batches = predict_as_read(
        request.ensemble,
        catalog,
        request.tta,
        request.device,
        request.data["batch_size"],
        cpu_count() if request.data["workers"] is None else max(1, request.data["workers"]),
        appraiser is not None,
    )
    made = 0
    with ExitStack() as stack:
        tables: list[TableStream] = []
        for group in _groups(rows.noted(batches)):
            frame = rows.frame(group)
            if not tables:
                schema = rows.schema(frame)
                words = rows.meanings
                tables = [stack.enter_context(streamed(path, schema, words)) for path in places.tables]
            part = pa.Table.from_pandas(frame, schema, preserve_index=False)
            for table in tables:
                table.write(part)
            made += len(frame)
        for table in tables:
            table.close(rows.facts)
        # They come first: a part that is there is not made again.
        failed = rows.write_failures(places.failures)
    if not made:
        raise UserError(
            f"none of the {len(catalog):,} images can be read; {places.failures} lists the reasons"
        )
    rows.warn_of_frames(made)
    files = [*places.tables, *([places.failures] if failed else [])]
    if places.folder is not None:
        files += _write_beside(places, request.ensemble.labels, catalog)
    title = f"{request.title}: {made:,} galaxies"
    return Catalogue(title, request.ensemble.labels, rows.likeliest, rows.failed, files)


class _Rows:
    """Makes the rows of a catalogue, and notes what there is to say about all of them.

    Args:
        request: The models and the galaxies.
        appraiser: See `make_catalogue`.

    Attributes:
        catalog: The galaxies of this part.
    """

    def __init__(self, request: Request, appraiser: Appraiser | None) -> None:
        self.labels = request.ensemble.labels
        self.appraiser = appraiser
        self.failures: list[tuple[str, str, str]] = []
        self.likeliest = np.zeros(self.labels.questions.size, np.int64)
        self.meanings = {**meanings(self.labels), **_MEANINGS, **_asked_meanings(self.labels)}
        self.meanings |= {} if appraiser is None else appraiser.meanings
        whole, part = self._renamed(request.galaxies.catalog), request.part
        self.catalog = whole if part is None else whole.take(part.rows(len(whole)))
        self._left_out = whole.skipped if part is None or part.number == 1 else ()
        # The types of the user's columns are those of all rows, because a part may hold no text of a column.
        extra = whole.extra_columns
        self._types = [] if extra is None else list(pa.Schema.from_pandas(extra, preserve_index=False))
        self._frames = {member.frame for member in request.ensemble.members if member.frame is not None}
        self._others, self._other = 0, ""
        self._digest = blake2b(digest_size=16)
        self._facts = {**request.facts(), "split": request.galaxies.split}
        self._facts |= {} if appraiser is None else appraiser.facts
        self._facts |= {} if part is None else {"shard": f"{part.number}/{part.count}"}

    @property
    def columns(self) -> int:
        """About how many columns there will be."""
        return len(self.meanings) + len(self._types)

    @property
    def facts(self) -> dict[str, str]:
        """Where the table comes from, once all images have been read."""
        return {**self._facts, "fingerprint": self._digest.hexdigest()}

    def noted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yields the batches, and notes their failures and what decides their predictions."""
        row = 0
        for batch in batches:
            images, identifiers = self.catalog.images, self.catalog.ids
            names = self.catalog.names
            for content in batch.contents:
                name = str(identifiers[row]) if names is None else names[row]
                self._digest.update(f"{name}\0{content}\n".encode())
                if row in batch.bad:
                    self.failures.append((name, str(images[row]), batch.bad[row]))
                row += 1
            yield batch

    def frame(self, batches: Sequence[Batch]) -> pd.DataFrame:
        """Returns the rows of some batches."""
        rows = np.concatenate([batch.rows for batch in batches])
        fractions = np.concatenate([batch.fractions for batch in batches])
        self.likeliest += np.bincount(fractions.argmax(axis=1), minlength=fractions.shape[1])
        some = self.catalog.take(rows)
        parts = [Predictions(self.labels, some, np.arange(len(rows)), fractions).table()]
        if self.appraiser is not None:
            features = [batch.features for batch in batches if batch.features is not None]
            known = np.concatenate(features) if features else None
            parts.append(self.appraiser.table(fractions.astype(np.float64), known))
        if (asked := probability_asked(self.labels.questions, fractions)) is not None:
            names = [f"asked/{question.key}" for question in self.labels.questions]
            parts.append(pd.DataFrame(asked.astype(np.float32), columns=names))
        if is_galaxy_zoo_2(self.labels.questions):
            parts.append(pd.DataFrame({"gz2_class": class_strings(fractions).astype(object)}))
        if self._frames:
            parts.append(pd.DataFrame({"other_frame": self._are_other(batches)}))
            others = rows[parts[-1]["other_frame"].to_numpy()]
            self._others += len(others)
            self._other = self._other or (str(self.catalog.images[others[0]]) if len(others) else "")
        return pd.concat(parts, axis=1)

    def schema(self, frame: pd.DataFrame) -> pa.Schema:
        """Returns the columns, with their meanings."""
        own = {field.name: field for field in self._types}
        schema = pa.Schema.from_pandas(frame, preserve_index=False)
        fields = [own.get(field.name, field) for field in schema]
        return described(pa.schema(fields, metadata=schema.metadata), self.meanings)

    @property
    def failed(self) -> int:
        """The number of galaxies without a row."""
        return len(self.failures) + len(self._left_out)

    def write_failures(self, path: Path) -> bool:
        """Writes a row for each image without a prediction, if there are any.

        Returns:
            Whether there are.
        """
        path.unlink(missing_ok=True)
        lines = [*self.failures, *(("", "", line) for line in self._left_out)]
        if lines:
            with replacing(path) as temporary:
                pd.DataFrame(lines, columns=["id", "image", "reason"]).to_csv(temporary, index=False)
        return bool(lines)

    def warn_of_frames(self, galaxies: int) -> None:
        """Warns of images that may show another part of the sky than those of the training."""
        if not self._others:
            return
        trained = " or ".join(f"{width} x {height}" for height, width in sorted(self._frames))
        log.warning(
            "%s of %s images, such as %s, are not %s pixels as the training images were (other_frame): the "
            "crop is cut from the whole frame, so an image must show as much sky around its galaxy as those",
            f"{self._others:,}",
            f"{galaxies:,}",
            self._other,
            trained,
        )

    def _are_other(self, batches: Sequence[Batch]) -> NDArray[np.bool_]:
        """Whether each image has another frame than those that one of the models was trained on."""
        frames = np.concatenate([batch.frames for batch in batches])
        return np.logical_or.reduce([(frames != frame).any(axis=1) for frame in self._frames])

    def _renamed(self, catalog: Catalog) -> Catalog:
        """Gives the user's columns other names where the catalogue has columns of their names itself."""
        if catalog.extra_columns is None:
            return catalog
        taken = {name: f"own/{name}" for name in catalog.extra_columns if name in self.meanings}
        if taken:
            log.warning("the table's %s is called %s here", ", ".join(taken), ", ".join(taken.values()))
        return replace(catalog, extra_columns=catalog.extra_columns.rename(columns=taken))


_MEANINGS = {
    "gz2_class": "likely class, in the grammar of Willett et al. 2013 (MNRAS 435, 2835)",
    "other_frame": "whether the image has another width or height than those of the training",
}


def _asked_meanings(labels: Labels) -> dict[str, str]:
    return {f"asked/{q.key}": f"{q.text} (probability that a volunteer is asked)" for q in labels.questions}


def _places(request: Request) -> _Places:
    """Decides where the results go, and makes the folder."""
    part, out = request.part, request.out
    if part is not None:
        assert out is not None  # the command line asks for it
        check_writable(out)
        return _Places([part.file(out)], part.failures(out))
    if request.catalogue is not None:
        path = request.catalogue
        return _Places([path], path.with_name(f"{path.stem}-failures.csv"))
    folder = request.folder
    make_folder(folder)
    begin_folder(folder, request.asked())
    tables = [folder / f"predictions{ending}" for ending in (".parquet", ".csv")]
    return _Places(tables, folder / "failures.csv", folder)


def _write_beside(places: _Places, labels: Labels, catalog: Catalog) -> list[Path]:
    """Writes the other files of the folder of an evaluation, and returns those that are there."""
    assert places.folder is not None
    columns, submission = (places.folder / name for name in ("columns.csv", "submission.csv"))
    write_columns(columns, labels)
    if catalog.writer is not None:
        table = pa.parquet.read_table(places.tables[0], columns=["id", *labels.columns]).to_pandas()
        fractions = table[list(labels.columns)].to_numpy(np.float32)
        catalog.writer(submission, table["id"].to_numpy(np.int64), labels, fractions)
    return [path for path in (columns, submission) if path.exists()]


def _groups(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Puts batches together to groups of rows that are worth a write; empty batches are left out."""
    group: list[Batch] = []
    for batch in batches:
        if len(batch.rows):
            group.append(batch)
        if sum(len(one.rows) for one in group) >= _ROWS:
            yield group
            group = []
    if group:
        yield group
