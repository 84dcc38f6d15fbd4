"""Galaxy Zoo 2 with the labels of Hart et al. 2016 (MNRAS 461, 3663): 424 x 424 images and 37 vote fractions.

The labels are `gz2_hart16.csv` of https://data.galaxyzoo.org, the images and `gz2_filename_mapping.csv` those
of https://zenodo.org/records/3565489. 239,267 galaxies have both.

All fractions of the table are conditional: votes for an answer over the votes on its own question. The
debiased ones (https://data.galaxyzoo.org, `gz2_hart16.txt`) do not even sum to 1: first questions between 0.7
and 1.2 are common. And they are known badly where few were asked: a galaxy that one volunteer in forty called
spiral has arms wound by one vote. Hence the choices of `read_gz2`.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from galaxy.labels.labels import Labels
from galaxy.labels.tree import GALAXY_ZOO_2
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.gz2_classes import class_reduced
from galaxy.surveys.problems import (
    Problem,
    check_header,
    check_ids,
    describe_fractions,
    images_in,
    lines,
    settle,
)
from galaxy.system.errors import UserError, listing

TABLE = "gz2_hart16.csv"
MAPPING = "gz2_filename_mapping.csv"
IMAGES = "images"
CLASS = "gz2_class"
MEANINGS = {
    "cumulative": "debiased",
    "debiased": "debiased",
    "renormalised": "debiased",
    "weighted": "weighted_fraction",
    "counts": "count",
}
# What follows an answer's stem in the names of the table's 222 columns on answers.
SUFFIXES = ("count", "weight", "fraction", "weighted_fraction", "debiased", "flag")
_LAYOUT = f"""The folder given by data.root must hold:
  {TABLE} (unpacked, https://data.galaxyzoo.org)
  {MAPPING} and {IMAGES}/<asset_id>.jpg (unpacked, https://zenodo.org/records/3565489)"""
# Up to 2^24 float32 holds every whole number.
MOST_VOTES = 2**24
_log = logging.getLogger(__name__)


def read_gz2(
    root: Path,
    on_bad: Literal["error", "skip"],
    labels: Literal["cumulative", "debiased", "renormalised", "weighted", "counts"] = "cumulative",
    weights: Literal["known", "parent", "counts"] | None = "known",
    counts: bool = False,
) -> Catalog:
    """Reads the survey's files, in the order of the label table.

    A question whose fractions are all 0 was answered by nobody: its shares are 0/0. Where the answer that
    leads to it is 0 as well, nobody was asked, and its cumulative fractions are truly 0. But debiasing lifts
    some of these answers above 0 again (of one question in 200, to 0.03 in the median), and conditional
    fractions are unknown in any case. Unknown targets are stored as 0, and all weights but None mask them:
    neither the loss nor the weighted error looks at them. They are not filled in, say by the survey's mean
    shares: that would teach and score an answer that no volunteer gave.

    Args:
        root: The folder with `gz2_hart16.csv`, `gz2_filename_mapping.csv` and `images/`.
        on_bad: What to do about rows and images that cannot be used: "error" lists them and stops, "skip"
            leaves them out and lists them in `Catalog.skipped`. A missing file or column always stops. The
            published files have 306 rows with empty labels, 122 without an image and 3,861 images without a
            row.
        labels: What the targets are.
            "debiased": as the table has them; conditional, and a question's answers need not sum to 1.
            "renormalised": debiased, over their question's sum; each question sums to 1, or to 0.
            "cumulative": renormalised, times the probability of reaching the question: Kaggle's form, the
            only one in which questions have parents.
            "weighted": votes weighted by the volunteers' consistency, before debiasing; conditional.
            "counts": shares of the plain votes; conditional.
        weights: How far each target can be trusted.
            "known": 0 where it is unknown, 1 elsewhere.
            "parent": the probability of reaching its question, from the renormalised debiased fractions.
            "counts": the votes on its question over those on the first.
            None: all alike, the 0 of the unknown ones included.
        counts: Whether to read the votes where neither the labels nor the weights need them.

    Returns:
        The catalog; targets (N, 37) float32, `counts` the votes where they were read, `strata` the classes
        of `class_reduced` where the table has `gz2_class`.

    Raises:
        UserError: Files or columns are missing, or (with "error") rows or images are bad. All of them are
            reported at once, each row for the first mistake found in it.
    """
    root = Path(root).expanduser()
    missing = [str(root / name) for name in (TABLE, MAPPING, IMAGES) if not (root / name).exists()]
    if missing:
        raise UserError(f"Galaxy Zoo 2 data not found:\n{listing(missing)}\n{_LAYOUT}")
    table = _read_labels(root / TABLE, _kinds(labels, weights, counts))
    images, problem = images_in(root / IMAGES, "asset_id", layout=_LAYOUT)
    join = _join(table, _read_mapping(root / MAPPING), images.keys())
    _log.info("Galaxy Zoo 2 in %s:\n%s", root, _losses(table, join, images))
    problems = [problem, *table.problems, *join.problems]
    skipped = settle(problems, on_bad, f"The Galaxy Zoo 2 data in {root}")
    rows = join.rows
    if not len(rows):
        raise UserError(f"No usable galaxy in {root}.\n{listing(list(skipped))}\n{_LAYOUT}")
    values = {kind: columns[rows] for kind, columns in table.values.items()}
    return Catalog(
        name="gz2",
        ids=table.ids.to_numpy(np.int64)[rows],
        images=tuple(images[asset] for asset in join.assets.tolist()),
        labels=_labels(labels),
        targets=_targets(values, labels).astype(np.float32),
        weights=None if weights is None else _weights(values, labels, weights).astype(np.float32),
        counts=values["count"].astype(np.float32) if "count" in values else None,
        strata=None if table.strata is None else table.strata[rows],
        skipped=skipped,
    )


def _kinds(labels: str, weights: str | None, counts: bool) -> dict[str, str]:
    """The kinds of columns that are needed, each with the settings that ask for it."""
    asking = [
        (MEANINGS[labels], f"data.catalog.labels={labels}"),
        ({"parent": "debiased", "counts": "count"}.get(weights or ""), f"data.catalog.weights={weights}"),
        ("count" if counts else None, "data.counts=true"),
    ]
    kinds: dict[str, str] = {}
    for kind, setting in asking:
        if kind is not None:
            kinds[kind] = f"{kinds[kind]} and {setting}" if kind in kinds else setting
    return kinds


def _labels(meaning: str) -> Labels:
    questions = GALAXY_ZOO_2 if meaning == "cumulative" else GALAXY_ZOO_2.unrelated
    return Labels(
        questions, tuple(answer.hart16 for question in questions for answer in question.answers), meaning
    )


def _targets(values: dict[str, NDArray[np.float64]], labels: str) -> NDArray[np.float64]:
    """(N, 37) from the columns that the labels are made of."""
    as_read = values[MEANINGS[labels]]
    if labels in ("debiased", "weighted"):
        return as_read
    conditional, _ = GALAXY_ZOO_2.conditional(as_read)
    return GALAXY_ZOO_2.cumulative(conditional) if labels == "cumulative" else conditional


def _weights(values: dict[str, NDArray[np.float64]], labels: str, weights: str) -> NDArray[np.float64]:
    """(N, 37) in [0, 1], alike for the answers of a question and 0 where they are unknown."""
    of_questions: NDArray[np.float64]
    if weights == "known":
        of_questions = _known(values[MEANINGS[labels]], labels == "cumulative").astype(np.float64)
    elif weights == "parent":
        conditional, met = GALAXY_ZOO_2.conditional(values["debiased"])
        of_questions = GALAXY_ZOO_2.reach(conditional) * met
    else:
        votes = np.stack([values["count"][:, columns].sum(axis=1) for columns in GALAXY_ZOO_2.slices], axis=1)
        # Nobody answers a question without the first one; min() is for files that were tampered with.
        of_questions = np.minimum(votes / np.maximum(votes[:, :1], 1), 1)
    return of_questions[:, GALAXY_ZOO_2.question_of]


def _known(fractions: NDArray[np.float64], cumulative: bool) -> NDArray[np.bool_]:
    """Which questions (N, 11) have an answer to learn: all that somebody answered.

    Of cumulative fractions also those that nobody was asked, which are 0; but none that is a share of an
    unknown fraction.
    """
    conditional, met = GALAXY_ZOO_2.conditional(fractions)
    if not cumulative:
        return met
    never_asked = GALAXY_ZOO_2.reach(conditional) == 0
    known = met | never_asked
    for question in GALAXY_ZOO_2.order:
        parent = GALAXY_ZOO_2.parents[question]
        if parent is not None:
            known[:, question] &= known[:, GALAXY_ZOO_2.question_of[parent]]
    return known


class _Table(NamedTuple):
    """The label table: M rows with a usable id, those with bad labels among them.

    Attributes:
        ids: (M,) int64, indexed by line number.
        values: (M, 37) float64 of each kind of column; NaN where there is none.
        strata: (M,) int64, or None.
        empty: (M,) whether a label is missing.
        wrong: (M,) whether none is missing but one is out of range.
        rows: Of the file.
        problems: With all of that.
    """

    ids: pd.Series
    values: dict[str, NDArray[np.float64]]
    strata: NDArray[np.int64] | None
    empty: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    rows: int
    problems: list[Problem]


def _read_labels(path: Path, kinds: Mapping[str, str]) -> _Table:
    columns = {kind: list(GALAXY_ZOO_2.hart16_columns(kind)) for kind in sorted(kinds)}
    needed = [name for names in columns.values() for name in names]
    table = _read_csv(path, ["dr7objid"], needed, optional=[CLASS], votes_for=kinds.get("count", ""))
    ids, problem = check_ids(table["dr7objid"], path.name, "dr7objid")
    labels = table.loc[ids.index, needed]
    values = labels.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    votes = np.array([name.endswith("_count") for name in needed])
    good = (
        (values >= 0) & (values <= np.where(votes, MOST_VOTES, 1)) & (~votes | (np.floor(values) == values))
    )
    missing = labels.isna().to_numpy(np.bool_)
    empty: NDArray[np.bool_] = np.any(missing, axis=1)
    wrong: NDArray[np.bool_] = ~np.all(good, axis=1) & ~empty

    def rows(what: str, bad: NDArray[np.bool_], cells: NDArray[np.bool_]) -> Problem:
        return lines(
            what, bad, partial(_where, ids), lambda row: describe_fractions(labels.iloc[row], cells[row])
        )

    strata = None
    if CLASS in table:
        # Of all rows, so that the kinds do not depend on which of them have images.
        codes, _ = pd.factorize(class_reduced(table[CLASS]), sort=True)
        strata = codes.astype(np.int64)[ids.index.to_numpy() - table.index[0]]
    return _Table(
        ids,
        {kind: values[:, [needed.index(name) for name in names]] for kind, names in columns.items()},
        strata,
        empty,
        wrong,
        len(table),
        [
            problem,
            rows("row(s) with empty labels", empty, missing),
            rows("row(s) with fractions outside [0, 1] or votes that are no whole numbers", wrong, ~good),
        ],
    )


def _where(ids: pd.Series, row: int) -> str:
    return f"{TABLE}, line {ids.index[row]}, dr7objid {ids.iloc[row]}"


class _Mapping(NamedTuple):
    """The usable rows of the mapping, an asset each: (lines,) int64 objids and asset ids."""

    objids: NDArray[np.int64]
    assets: NDArray[np.int64]
    lines: NDArray[np.int64]
    problems: list[Problem]


def _read_mapping(path: Path) -> _Mapping:
    table = _read_csv(path, ["objid", "asset_id"], [])
    # An objid may come twice (a field that was observed again), an asset is one image of one galaxy.
    objids, bad_objids = check_ids(table["objid"], path.name, "objid", unique=False)
    assets, bad_assets = check_ids(table["asset_id"], path.name, "asset_id")
    both = objids.index.intersection(assets.index)
    return _Mapping(
        objids[both].to_numpy(np.int64),
        assets[both].to_numpy(np.int64),
        both.to_numpy(np.int64),
        [bad_objids, bad_assets],
    )


class _Join(NamedTuple):
    """Which rows of the label table are galaxies, (N,), and the assets that show them, (N,)."""

    rows: NDArray[np.int64]
    assets: NDArray[np.int64]
    without_image: int
    lone_images: int
    twice: int
    problems: list[Problem]


def _join(table: _Table, mapping: _Mapping, images: Collection[int]) -> _Join:
    """Gives each row the first of its assets that has an image."""
    ids = table.ids.to_numpy(np.int64)
    pictured = np.fromiter(images, dtype=np.int64, count=len(images))
    shown = np.isin(mapping.assets, pictured) & np.isin(mapping.objids, ids)
    again = np.zeros_like(shown)
    again[shown] = pd.Index(mapping.objids[shown]).duplicated()
    first = pd.Series(mapping.assets, index=mapping.objids)[shown & ~again]
    assets = first.reindex(ids, fill_value=-1).to_numpy(np.int64)
    labelled = ~(table.empty | table.wrong)
    without_image: NDArray[np.bool_] = labelled & (assets < 0)
    lone = np.setdiff1d(pictured, mapping.assets[shown]).tolist()
    asset_of = dict(zip(mapping.objids[::-1].tolist(), mapping.assets[::-1].tolist(), strict=True))
    objid_of = dict(zip(mapping.assets.tolist(), mapping.objids.tolist(), strict=True))

    def describe_row(row: int) -> str:
        asset = asset_of.get(int(ids[row]))
        return f"not in {MAPPING}" if asset is None else f"no {IMAGES}/{asset}.jpg (as {MAPPING} has it)"

    def describe_lone(asset: int) -> str:
        objid = objid_of.get(asset)
        if objid is None:
            return f"{IMAGES}/{asset}.jpg: not in {MAPPING}"
        return f"{IMAGES}/{asset}.jpg: no dr7objid {objid} (as {MAPPING} has it) in {TABLE}"

    def describe_again(place: int) -> str:
        objid, asset = mapping.objids[place], mapping.assets[place]
        return f"objid {objid} has {IMAGES}/{asset}.jpg beside {IMAGES}/{first[objid]}.jpg, which is taken"

    rows = np.flatnonzero(labelled & (assets >= 0))
    return _Join(
        rows,
        assets[rows],
        without_image=int(without_image.sum()),
        lone_images=len(lone),
        twice=int(pd.Index(mapping.objids).duplicated().sum()),
        problems=[
            *mapping.problems,
            lines("row(s) without an image", without_image, partial(_where, table.ids), describe_row),
            lines(
                "image(s) of a galaxy that has one already",
                again,
                lambda place: f"{MAPPING}, line {mapping.lines[place]}",
                describe_again,
            ),
            Problem("image(s) without a row", [describe_lone(asset) for asset in lone]),
        ],
    )


def _losses(table: _Table, join: _Join, images: Collection[int]) -> str:
    """What became of rows and images, a line each."""
    unusable = table.rows - len(table.ids)
    empty, wrong = int(table.empty.sum()), int(table.wrong.sum())
    labelled = len(table.ids) - empty - wrong
    figures = [
        (f"rows of {TABLE}", table.rows),
        ("with an unusable or repeated dr7objid", -unusable),
        ("with empty labels", -empty),
        ("with labels out of range", -wrong),
        ("left", labelled),
        ("without an image", -join.without_image),
        ("galaxies", len(join.rows)),
        (f"images in {IMAGES}/", len(images)),
        ("of no galaxy", -(len(images) - len(join.rows))),
        ("of them without a row", -join.lone_images),
        (f"objids that {MAPPING} has again", join.twice),
    ]
    return "\n".join(f"  {text:<56}{number:>9,}" for text, number in figures)


def _read_csv(
    path: Path,
    texts: Sequence[str],
    numbers: Sequence[str],
    optional: Sequence[str] = (),
    votes_for: str = "",
) -> pd.DataFrame:
    """Some columns of a CSV file; the index is the line number (in a file without blank lines).

    Args:
        path: Of the file.
        texts: Columns that it must have and that are read as text, the id first.
        numbers: Columns that it must have, read as floats, or all as text if a value is no number.
        optional: Columns that are read, as text, if it has them.
        votes_for: The settings that ask for the numbers of votes, if any are asked for.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        _check_columns(path, header, texts, numbers, votes_for)
        texts = [*texts, *(name for name in optional if name in header)]
        try:
            table = _columns(path, texts, numbers)
        except pyarrow.ArrowInvalid:
            # Some value is no number, and its row will be named; a file that is no CSV fails again.
            table = _columns(path, [*texts, *numbers], [])
    # Unicode errors are ValueErrors.
    except (ValueError, OSError, csv.Error, pyarrow.ArrowException) as error:
        raise UserError(
            f"{path} cannot be read as a CSV file: {str(error).strip()}\nDownload or unpack it again."
        ) from error
    if table.empty:
        raise UserError(f"{path} has a header and no rows.\nDownload or unpack it again.")
    table.index += 2  # the header is line 1
    return table


def _columns(path: Path, texts: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Columns of a CSV file.

    Types are given, for while pyarrow infers them it keeps the whole file in memory. With so few of the
    columns wanted, one thread is faster than two, and several times faster on a busy machine.
    """
    types = {**dict.fromkeys(texts, pyarrow.string()), **dict.fromkeys(numbers, pyarrow.float64())}
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=[*types], column_types=types, strings_can_be_null=True
        ),
    ).to_pandas()


def _check_columns(
    path: Path, header: Sequence[str], texts: Sequence[str], numbers: Sequence[str], votes_for: str
) -> None:
    votes = [f"missing: {name}" for name in numbers if name.endswith("_count") and name not in header]
    if texts[0] in header and votes:
        raise UserError(
            f"{path} lacks the votes that are needed for {votes_for}:\n{listing(votes)}\n"
            "The file of https://data.galaxyzoo.org, with 231 columns, has them."
        )
    # The other columns on answers are no misspellings of those that are needed.
    others = {name for suffix in SUFFIXES for name in GALAXY_ZOO_2.hart16_columns(suffix)} - {*numbers}
    check_header(path, [name for name in header if name not in others], texts[:1], [*texts[1:], *numbers])
