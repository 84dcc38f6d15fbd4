"""The simulated survey: its files, in the layout of the Galaxy Challenge, and its reader."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS
from galaxy.surveys import kaggle
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.simulated.crowd import vote, vote_fractions
from galaxy.surveys.simulated.picture import render
from galaxy.surveys.simulated.population import answer_probabilities, draw_galaxy
from galaxy.system.errors import UserError
from galaxy.system.files import explained, locked

# The version must be raised with every change to the ids, the pictures or the votes. Surveys are then written
# anew, beside the folders of the older version.
VERSION = 2
IMAGES = kaggle.FOLDERS["training"]
SOLUTIONS = kaggle.TABLE
VOTES = "votes.csv"
PROBABILITIES = "probabilities.csv"
# Ids have six digits, as in the Galaxy Challenge. They number the galaxies, which are independent of each
# other. Those of another seed are other galaxies, so they have other ids.
FIRST_ID = 100_001
IDS_OF_A_SEED = 10_000_000
# The quality of the files of the Galaxy Challenge, according to their quantisation tables.
JPEG_QUALITY = 75
# Galaxies that a process makes at a time. Starting a process takes as long as a hundred galaxies.
CHUNK = 100


@dataclass(frozen=True)
class SimulatedSurvey:
    """The numbers that define a survey. Equal numbers make the same files, byte for byte.

    Attributes:
        count: The number of galaxies. A larger survey of the same seed begins with the same galaxies.
        seed: The seed of the galaxies, their pictures and the votes.
        volunteers: The number of votes on the first question of each galaxy. It changes neither the galaxies
            nor their pictures.
    """

    count: int
    seed: int
    volunteers: int

    @property
    def folder(self) -> str:
        """The name of the survey's folder, which no other survey has."""
        return f"{self.count}-galaxies-{self.volunteers}-volunteers-seed-{self.seed}-v{VERSION}"


class _Row(NamedTuple):
    galaxy_id: int
    votes: NDArray[np.int64]
    expected: NDArray[np.float64]


def read_simulated(
    root: Path,
    on_bad: Literal["error", "skip"] = "error",
    *,
    count: int = 2000,
    seed: int = 0,
    volunteers: int = 45,
    workers: int | None = None,
) -> Catalog:
    """Reads a simulated survey. It is written first if `root` does not hold it.

    Args:
        root: The folder of simulated surveys. Each survey has a sub-folder.
        on_bad: What to do about files that were damaged since: "error" or "skip", as for real data.
        count: The number of galaxies. A larger survey of the same seed begins with the same galaxies.
        seed: The seed of the galaxies, their pictures and the votes.
        volunteers: The number of votes on the first question of each galaxy.
        workers: The number of processes that render; None for one per core.

    Returns:
        The catalog. Targets (N, 37) float32 are cumulative vote fractions, `counts` are the votes, and
        `expected` are the probabilities that the votes were drawn from. The RMSE of `expected` is the noise
        floor.

    Raises:
        ValueError: A number is out of range.
        UserError: The survey on disk was damaged.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("volunteers", volunteers, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}; it must be {least} or more")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more, or null for one per core")
    folder = write_survey(Path(root).expanduser(), SimulatedSurvey(count, seed, volunteers), workers)
    catalog = kaggle.read_kaggle(folder, on_bad)
    return replace(
        catalog,
        name="simulated",
        counts=_table(folder / VOTES, catalog),
        expected=_table(folder / PROBABILITIES, catalog),
    )


def write_survey(root: Path, survey: SimulatedSurvey, workers: int | None = None) -> Path:
    """Writes a survey, unless its folder is there already.

    The survey is written under another name, flushed and renamed when it is whole. An interrupted survey is
    therefore written again. Processes that start together wait for the first to finish.

    Args:
        root: The folder of surveys, which is made if it is missing.
        survey: The survey to write.
        workers: The number of processes that render; None for one per core.

    Returns:
        The survey's folder: `images_training_rev1/<GalaxyID>.jpg`, `training_solutions_rev1.csv` (cumulative
        vote fractions), `votes.csv` (votes for each answer) and `probabilities.csv` (the cumulative
        probabilities that the votes were drawn from).

    Raises:
        UserError: The folder cannot be written, for example because the disk is full.
    """
    folder = root / survey.folder
    if folder.exists():
        return folder
    with explained(folder, key="data.root"):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{survey.folder}.lock"):
            if not folder.exists():
                _write(folder, survey, workers)
    return folder


def _write(folder: Path, survey: SimulatedSurvey, workers: int | None) -> None:
    for left in folder.parent.glob(f".{folder.name}.part-*"):  # left by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    # The name is new because the workers of a killed process may still be writing to the old one.
    part = folder.parent / f".{folder.name}.part-{os.getpid()}"
    try:
        (part / IMAGES).mkdir(parents=True)
        rows = list(_rows(part / IMAGES, survey, workers))
        _write_tables(part, rows)
        os.sync()  # one flush for all files; flushing each would take longer than drawing it
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _rows(images: Path, survey: SimulatedSurvey, workers: int | None) -> Iterator[_Row]:
    starts = range(0, survey.count, CHUNK)
    chunks = [range(start, min(start + CHUNK, survey.count)) for start in starts]
    make = partial(_make, images, survey)
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    description = f"Simulating {survey.count:,} galaxies"
    if workers == 1:
        for chunk in track(chunks, description):
            yield from make(chunk)
        return
    # The processes are spawned: forking a process that has threads can leave the child waiting for ever.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for rows in track(pool.map(make, chunks), description, total=len(chunks)):
            yield from rows


def _make(images: Path, survey: SimulatedSurvey, indices: range) -> list[_Row]:
    """Writes the images of some galaxies and returns their votes and probabilities."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # each core has a process already
    try:
        return [_make_one(images, survey, index) for index in indices]
    finally:
        cv2.setNumThreads(threads)


def _make_one(images: Path, survey: SimulatedSurvey, index: int) -> _Row:
    # Galaxy, picture and votes have a stream of random numbers each, so that none changes another.
    population, picture, crowd = np.random.default_rng([survey.seed, index]).spawn(3)
    galaxy = draw_galaxy(population)
    probabilities = answer_probabilities(galaxy)
    galaxy_id = FIRST_ID + survey.seed * IDS_OF_A_SEED + index
    path = images / f"{galaxy_id}.jpg"
    bgr = np.ascontiguousarray(render(galaxy, picture)[..., ::-1])
    # OpenCV's own `imwrite` does not say why it failed.
    path.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    votes = vote(probabilities, survey.volunteers, crowd)
    return _Row(galaxy_id, votes, GALAXY_ZOO_2.cumulative(probabilities))


def _write_tables(folder: Path, rows: list[_Row]) -> None:
    ids = pd.Index([row.galaxy_id for row in rows], name="GalaxyID")
    votes = np.stack([row.votes for row in rows])
    expected = np.stack([row.expected for row in rows])
    tables = {SOLUTIONS: vote_fractions(votes), VOTES: votes, PROBABILITIES: expected}
    for name, values in tables.items():
        table = pd.DataFrame(values, index=ids, columns=list(KAGGLE_COLUMNS))
        table.to_csv(folder / name, float_format="%.9f")


def _table(path: Path, catalog: Catalog) -> NDArray[np.float32]:
    """The catalog's rows and columns of a table beside the labels, (N, 37) float32."""
    try:
        table = pd.read_csv(path, index_col=0)
        return table.loc[catalog.ids, list(KAGGLE_COLUMNS)].to_numpy(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read: {error}\nDelete the folder {path.parent}; it is then simulated again."
        ) from error
