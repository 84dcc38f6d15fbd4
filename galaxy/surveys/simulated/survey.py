"""A simulated survey on disk, in the layout of the Galaxy Challenge."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import track

from galaxy.labels.tree import GALAXY_ZOO_2
from galaxy.surveys.simulated.population import draw_galaxy
from galaxy.surveys.simulated.probabilities import answer_probabilities
from galaxy.surveys.simulated.render import render
from galaxy.surveys.simulated.volunteers import vote, vote_fractions
from galaxy.system.files import explained

# Raise it with every change to what a galaxy looks like or how it is voted on: surveys already written by
# an older version are then written anew, beside them.
VERSION = 1
IMAGES = "images_training_rev1"
LABELS = "training_solutions_rev1.csv"
VOTES = "votes.csv"
PROBABILITIES = "probabilities.csv"
# Like the Galaxy Challenge's, ids have six digits. They say nothing but the order of the galaxies, which
# are independent of each other.
FIRST_ID = 100_001
# The quality of the Galaxy Challenge's files, by their quantisation tables.
JPEG_QUALITY = 75
# Starting a process takes as long as a hundred galaxies.
CHUNK = 100


@dataclass(frozen=True)
class Survey:
    """What a survey is; the same values make the same files, byte for byte, whatever the machine's cores.

    Attributes:
        count: Number of galaxies. A larger survey of the same seed begins with the same ones.
        seed: Of the population, the pictures and the votes.
        volunteers: Votes on the first question of each galaxy; they change neither galaxy nor picture.
    """

    count: int
    seed: int
    volunteers: int

    @property
    def folder(self) -> str:
        """The name of its folder, which no other survey has."""
        return f"{self.count}-galaxies-{self.volunteers}-volunteers-seed-{self.seed}-v{VERSION}"


class _Row(NamedTuple):
    galaxy_id: int
    votes: NDArray[np.int64]
    expected: NDArray[np.float64]


def write_survey(root: Path, survey: Survey, workers: int | None = None) -> Path:
    """Writes a survey, unless it is there.

    It is written under another name, flushed and renamed when it is whole: one that was cut short is written
    again, and processes that start together wait for the first to finish.

    Args:
        root: Folder of surveys; made if missing.
        survey: What to write.
        workers: Processes that render; None for one per core.

    Returns:
        The survey's folder: `images_training_rev1/<GalaxyID>.jpg`, `training_solutions_rev1.csv` (cumulative
        vote fractions), `votes.csv` (votes for each answer) and `probabilities.csv` (the cumulative
        probabilities that the votes were drawn from).

    Raises:
        UserError: The disk is full, or does not let us write.
    """
    folder = root / survey.folder
    if folder.exists():
        return folder
    with explained(folder):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{survey.folder}.lock"):
            if not folder.exists():
                _write(folder, survey, workers)
    return folder


def _write(folder: Path, survey: Survey, workers: int | None) -> None:
    for left in folder.parent.glob(f".{folder.name}.part-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    # A name of its own: the killed process's workers may still be writing to theirs.
    part = folder.parent / f".{folder.name}.part-{os.getpid()}"
    try:
        (part / IMAGES).mkdir(parents=True)
        rows = list(_rows(part / IMAGES, survey, workers))
        _write_tables(part, rows)
        os.sync()  # one flush for all; flushing each file would take longer than drawing it
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _rows(images: Path, survey: Survey, workers: int | None) -> Iterator[_Row]:
    starts = range(0, survey.count, CHUNK)
    chunks = [range(start, min(start + CHUNK, survey.count)) for start in starts]
    make = partial(_make, images, survey)
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    description = f"Simulating {survey.count:,} galaxies"
    if workers == 1:
        for chunk in track(chunks, description):
            yield from make(chunk)
        return
    # Forking a process that has threads (a training run may) can leave the child waiting for ever.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for rows in track(pool.map(make, chunks), description, total=len(chunks)):
            yield from rows


def _make(images: Path, survey: Survey, indices: range) -> list[_Row]:
    """Makes some galaxies: writes their images and returns their votes and probabilities."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the cores have a process each
    try:
        return [_make_one(images, survey, index) for index in indices]
    finally:
        cv2.setNumThreads(threads)


def _make_one(images: Path, survey: Survey, index: int) -> _Row:
    # Streams of their own keep galaxy, picture and votes from changing each other.
    population, picture, crowd = np.random.default_rng([survey.seed, index]).spawn(3)
    galaxy = draw_galaxy(population)
    probabilities = answer_probabilities(galaxy)
    galaxy_id = FIRST_ID + index
    path = images / f"{galaxy_id}.jpg"
    bgr = np.ascontiguousarray(render(galaxy, picture)[..., ::-1])
    # Not with OpenCV's own `imwrite`, which does not say why it failed.
    path.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    votes = vote(probabilities, survey.volunteers, crowd)
    return _Row(galaxy_id, votes, GALAXY_ZOO_2.cumulative(probabilities))


def _write_tables(folder: Path, rows: list[_Row]) -> None:
    ids = pd.Index([row.galaxy_id for row in rows], name="GalaxyID")
    votes = np.stack([row.votes for row in rows])
    expected = np.stack([row.expected for row in rows])
    tables = {LABELS: vote_fractions(votes), VOTES: votes, PROBABILITIES: expected}
    for name, values in tables.items():
        table = pd.DataFrame(values, index=ids, columns=list(GALAXY_ZOO_2.kaggle_columns))
        table.to_csv(folder / name, float_format="%.9f")
