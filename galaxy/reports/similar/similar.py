"""Writes the embeddings of evaluated galaxies, the nearest to given ones, and the oddest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.reports.evaluation.pictures import galaxy_picture
from galaxy.reports.evaluation.probe import Probe
from galaxy.reports.page.environment import environment
from galaxy.reports.similar.distances import NEIGHBOUR, Features, Neighbourhood
from galaxy.runs.experiment import load
from galaxy.runs.request import Request
from galaxy.system.errors import UserError, meant
from galaxy.system.files import replacing, write_text

EMBEDDINGS, ODDITIES, PAGE = "embeddings.parquet", "oddities.csv", "similar.html"
# Galaxies that the page shows beside each given one, and the oddest.
_NEAREST, _ODDEST = 11, 48


@dataclass(frozen=True)
class Shown:
    """A galaxy on the page: its name, its picture, and a distance; None for the one that is asked about."""

    name: str
    picture: str
    distance: float | None


def check_similar(request: Request, similar: Sequence[str]) -> None:
    """Refuses what `write_similar` could not do, before anything is predicted.

    Args:
        request: The evaluation.
        similar: The ids of the galaxies that are asked about.

    Raises:
        UserError: There are several models or one without an encoder, no folder is written, or a galaxy is
            not there.
    """
    files = [member.file for member in request.ensemble.members]
    if len(files) > 1:
        raise UserError(
            f"embeddings=true is given with {len(files)} runs, but each network has features of its own: "
            "give one run"
        )
    if request.part is not None or (request.catalogue is not None and not request.galaxies.labelled):
        raise UserError(
            "embeddings=true writes into the folder of an evaluation: leave out shard=K/N, or give a folder "
            "as out=DIR"
        )
    if (model := load(files[0])).task is None:
        raise UserError(
            f"embeddings=true: {type(model.model).__name__} was fitted in one go, so it has no features; a "
            "network has them"
        )
    names = [str(name) for name in request.galaxies.catalog.identifiers.tolist()]
    for name in similar:
        if name not in names:
            more = " (split=all takes those of the other splits too)" * (request.galaxies.split != "all")
            raise UserError(
                f"similar: no galaxy called {name} is among the {len(names):,} evaluated ones"
                f"{meant(name, names)}{more}"
            )


def write_similar(request: Request, similar: Sequence[str]) -> list[Path]:
    """Writes the features of the encoder for all evaluated galaxies, and what their distances say.

    `embeddings.parquet` has the column `id` and a column for each feature. `oddities.csv` has all galaxies,
    the oddest first. `similar.html` shows the oddest, and the nearest to those that are asked about.

    Args:
        request: The evaluation, whose predictions are written.
        similar: The ids of the galaxies that are asked about.

    Returns:
        The files.

    Raises:
        UserError: A galaxy that is asked about is not there, or a file cannot be written.
    """
    folder, (member,) = request.folder, request.ensemble.members
    # A galaxy whose image cannot be read has no prediction.
    predicted = pd.read_parquet(folder / "predictions.parquet", columns=["id"])["id"]
    whole = request.galaxies.catalog
    catalog = whole.take(np.flatnonzero(pd.Series(whole.identifiers).isin(predicted)))
    names = np.array([str(name) for name in catalog.identifiers.tolist()], object)
    places = [_place(name, names) for name in similar]
    probe = Probe(member.file, catalog, request.data, request.device)
    features = probe.features()
    _write_features(folder / EMBEDDINGS, catalog.identifiers, features)
    try:
        near = Neighbourhood(features, catalog.ids)
    except ValueError as error:
        raise UserError(f"{error}; the embeddings are in {folder / EMBEDDINGS}") from None
    order = np.argsort(-near.oddities, kind="stable")
    oddities = pd.DataFrame({"id": catalog.identifiers[order], "oddity": near.oddities[order]})
    with replacing(folder / ODDITIES) as temporary:
        oddities.to_csv(temporary, index=False, float_format="%.4f")

    def show(chosen: NDArray[np.int64], distances: Sequence[float | None]) -> Iterator[Shown]:
        for place, crop, distance in zip(chosen.tolist(), probe.crops(chosen), distances, strict=True):
            yield Shown(names[place], galaxy_picture(crop), distance)

    rows = []
    for place in places:
        nearest, distances = near.nearest(place, _NEAREST)
        chosen = np.concatenate([[place], nearest])
        rows.append((names[place], list(show(chosen, [None, *distances.tolist()]))))
    oddest = order[:_ODDEST]
    page = environment("galaxy.reports.similar").get_template("similar.html")
    text = page.render(
        title=f"{request.title}: {len(catalog):,} galaxies",
        file=str(member.file),
        features=features.shape[1],
        neighbour=NEIGHBOUR,
        sampled=near.sampled,
        rows=rows,
        oddest=list(show(oddest, near.oddities[oddest].tolist())),
    )
    write_text(folder / PAGE, text)
    return [folder / name for name in (EMBEDDINGS, ODDITIES, PAGE)]


def _place(name: str, names: NDArray[np.object_]) -> int:
    """Returns the place of a galaxy among those that have a prediction."""
    found = np.flatnonzero(names == name)
    if not len(found):
        raise UserError(f"similar: the image of {name} could not be read, so it has no features")
    return int(found[0])


def _write_features(path: Path, ids: NDArray[np.generic], features: Features) -> None:
    table = pd.DataFrame(features, columns=[f"e{number:04}" for number in range(features.shape[1])])
    table.insert(0, "id", ids)
    with replacing(path, features.nbytes) as temporary:
        table.to_parquet(temporary, index=False)
