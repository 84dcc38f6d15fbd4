"""Galaxy Zoo 2 with the labels of Hart et al. 2016 (MNRAS 461, 3663): 424 x 424 images and 37 vote fractions.

The labels are `gz2_hart16.csv` of https://data.galaxyzoo.org. The images and `gz2_filename_mapping.csv` are
from https://zenodo.org/records/3565489. 239,267 galaxies have both labels and an image.

All fractions of the table are conditional: votes for an answer over the votes on its own question. The
debiased fractions (https://data.galaxyzoo.org, `gz2_hart16.txt`) do not even sum to 1: sums of the first
question between 0.7 and 1.2 are common. Fractions are also uncertain where few volunteers were asked: if one
volunteer in forty called a galaxy spiral, a single vote says how its arms are wound. `read_gz2` therefore
offers several labels and weights.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, HART16_STEMS, hart16_columns
from galaxy.labels.labels import Labels
from galaxy.surveys.catalog import Catalog
from galaxy.surveys.files import images_in
from galaxy.surveys.ids import check_ids
from galaxy.surveys.problems import Mistakes, RowCheck, describe_fractions, raise_or_list
from galaxy.surveys.table_reader import Table
from galaxy.surveys.table_targets import MOST_VOTES
from galaxy.system.errors import UserError, listing

TABLE = "gz2_hart16.csv"
MAPPING = "gz2_filename_mapping.csv"
IMAGES = "images"
CLASS = "gz2_class"
# The columns that each choice of labels is made of.
LABEL_COLUMNS = {
    "cumulative": "debiased",
    "debiased": "debiased",
    "renormalised": "debiased",
    "weighted": "weighted_fraction",
    "counts": "count",
}
# The table has six columns for each answer: its stem with each of these endings.
SUFFIXES = ("count", "weight", "fraction", "weighted_fraction", "debiased", "flag")
_LAYOUT = f"""The folder given by data.root must hold:
  {TABLE} (unpacked, https://data.galaxyzoo.org)
  {MAPPING} and {IMAGES}/<asset_id>.jpg (unpacked, https://zenodo.org/records/3565489)"""
# A class of `gz2_class` needs this many galaxies to be a kind of its own. By default, validation and test
# splits are a tenth of the galaxies each, so ten of 100. Rounding ten to a whole number changes the share of
# a kind by 5 % at most, which is about what chance does to its labels anyway.
LEAST = 100
OTHER_CLASS = "other"
# The parts of a class, from the general to the special: one character each, and the odd feature in brackets.
_CLASS_PART = re.compile(r"\([^)]*\)|.")
_log = logging.getLogger(__name__)


def read_gz2(
    root: Path,
    on_bad: Literal["error", "skip"] = "skip",
    labels: Literal["cumulative", "debiased", "renormalised", "weighted", "counts"] = "cumulative",
    weights: Literal["known", "parent", "counts"] | None = "known",
    counts: bool = False,
) -> Catalog:
    """Reads the survey's files, in the order of the label table.

    If all fractions of a question are 0, nobody answered it, and its shares are 0/0. If the answer that leads
    to it is 0 as well, nobody was asked, and its cumulative fractions are truly 0. But debiasing lifts some
    of these leading answers above 0 again (for one question in 200, to 0.03 in the median), and conditional
    fractions are unknown in any case. Unknown targets are stored as 0. All weights but None mask them, so
    that neither the loss nor the weighted error sees them. They are not filled in, for example with the
    survey's mean shares, because that would teach and score an answer that no volunteer gave.

    Args:
        root: The folder with `gz2_hart16.csv`, `gz2_filename_mapping.csv` and `images/`.
        on_bad: What to do about rows and images that cannot be used: "error" lists them and stops, "skip"
            leaves them out and lists them in `Catalog.skipped`. A missing file or column always stops. The
            published files have 306 rows with empty labels, 122 rows without an image and 3,861 images
            without a row.
        labels: The kind of targets.
            "debiased": The fractions are as the table has them. They are conditional, and the answers of a
            question need not sum to 1.
            "renormalised": The debiased fractions are divided by their question's sum, so that each question
            sums to 1, or to 0.
            "cumulative": The renormalised fractions are multiplied by the probability of reaching the
            question. This is Kaggle's form, and the only one in which questions have parents.
            "weighted": The votes are weighted by the volunteers' consistency and not debiased; conditional.
            "counts": The fractions are shares of the plain votes; conditional.
        weights: How far each target can be trusted.
            "known": The weight is 0 where the target is unknown and 1 elsewhere.
            "parent": The weight is the probability of reaching the question, from the renormalised debiased
            fractions.
            "counts": The weight is the votes on the question over the votes on the first question.
            None: All targets are trusted alike, even the 0 of the unknown ones.
        counts: Whether to read the votes even if neither the labels nor the weights need them.

    Returns:
        The catalog. Targets are (N, 37) float32, `counts` are the votes if they were read, and `strata` are
        the classes of `class_reduced` if the table has `gz2_class`.

    Raises:
        UserError: Files or columns are missing, or (with "error") rows or images are bad. The message lists
            all of them, each row for the first mistake found in it.
    """
    root = Path(root).expanduser()
    missing = [str(root / name) for name in (TABLE, MAPPING, IMAGES) if not (root / name).exists()]
    if missing:
        raise UserError(f"Galaxy Zoo 2 data not found:\n{listing(missing)}\n{_LAYOUT}")
    table = _read_labels(root / TABLE, _kinds(labels, weights, counts))
    images, bad_names = images_in(root / IMAGES, "asset_id", _LAYOUT)
    mapping = _read_mapping(root / MAPPING)
    join = _join(table, mapping, images.keys())
    _log.info("Galaxy Zoo 2 in %s:\n%s", root, _lost_rows(table, join, images))
    mistakes = [bad_names, table.bad_ids, *table.check.mistakes, *mapping.mistakes, *join.mistakes]
    skipped = raise_or_list(mistakes, on_bad, f"The Galaxy Zoo 2 data in {root}")
    rows = join.rows
    if not len(rows):
        raise UserError(f"No usable galaxy in {root}.\n{listing(skipped)}\n{_LAYOUT}")
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
        extra_columns=table.sky.iloc[rows].reset_index(drop=True),
        skipped=skipped,
    )


def _kinds(labels: str, weights: str | None, counts: bool) -> dict[str, str]:
    """The endings of the columns that are needed, each with the settings that ask for it."""
    asking = [
        (LABEL_COLUMNS[labels], f"data.catalog.labels={labels}"),
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
    return Labels(questions, HART16_STEMS, meaning)


def _targets(values: dict[str, NDArray[np.float64]], labels: str) -> NDArray[np.float64]:
    """The targets (N, 37)."""
    as_read = values[LABEL_COLUMNS[labels]]
    if labels in ("debiased", "weighted"):
        return as_read
    conditional, _ = GALAXY_ZOO_2.conditional(as_read)
    return GALAXY_ZOO_2.cumulative(conditional) if labels == "cumulative" else conditional


def _weights(values: dict[str, NDArray[np.float64]], labels: str, weights: str) -> NDArray[np.float64]:
    """The weights (N, 37) in [0, 1], equal for the answers of a question and 0 where these are unknown."""
    of_questions: NDArray[np.float64]
    if weights == "known":
        of_questions = _known(values[LABEL_COLUMNS[labels]], labels == "cumulative").astype(np.float64)
    elif weights == "parent":
        conditional, met = GALAXY_ZOO_2.conditional(values["debiased"])
        of_questions = GALAXY_ZOO_2.reach(conditional) * met
    else:
        votes = np.stack([values["count"][:, columns].sum(axis=1) for columns in GALAXY_ZOO_2.slices], axis=1)
        # Nobody answers a question without the first one. The minimum is for files that were changed.
        of_questions = np.minimum(votes / np.maximum(votes[:, :1], 1), 1)
    return of_questions[:, GALAXY_ZOO_2.question_of]


def _known(fractions: NDArray[np.float64], cumulative: bool) -> NDArray[np.bool_]:
    """The questions (N, 11) that have an answer to learn."""
    conditional, met = GALAXY_ZOO_2.conditional(fractions)
    if not cumulative:
        return met
    return GALAXY_ZOO_2.known(conditional, met)


class _LabelTable(NamedTuple):
    """The M rows of the label table that have a usable id. Some of them have bad labels.

    Attributes:
        ids: (M,) int64, indexed by line number.
        values: The (M, 37) float64 values of each kind of column, NaN where there is none.
        strata: (M,) int64, or None.
        sky: The columns ra and dec, M rows, as far as the table has them.
        rows: The number of rows in the file.
        bad_ids: The rows without a usable id.
        check: What is wrong with the M rows.
        empty: How many of them lack a label.
        wrong: How many have a label that is out of range.
    """

    ids: pd.Series
    values: dict[str, NDArray[np.float64]]
    strata: NDArray[np.int64] | None
    sky: pd.DataFrame
    rows: int
    bad_ids: Mistakes
    check: RowCheck
    empty: int
    wrong: int


def _read_labels(path: Path, kinds: Mapping[str, str]) -> _LabelTable:
    columns = {kind: list(hart16_columns(kind)) for kind in sorted(kinds)}
    needed = [name for names in columns.values() for name in names]
    source = Table(path, published=True)
    _check_columns(source, needed, kinds.get("count", ""))
    has_classes = CLASS in source.header
    sky = [name for name in ("ra", "dec") if name in source.header]
    table = source.read(["dr7objid", CLASS] if has_classes else ["dr7objid"], [*needed, *sky])
    ids, bad_ids = check_ids(table["dr7objid"], path.name)
    labels = table.loc[ids.index, needed]
    values = labels.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    votes = np.array([name.endswith("_count") for name in needed])
    good = (
        (values >= 0) & (values <= np.where(votes, MOST_VOTES, 1)) & (~votes | (np.floor(values) == values))
    )
    missing = labels.isna().to_numpy(np.bool_)
    check = RowCheck(len(ids), lambda row: f"{path.name}, line {ids.index[row]}, dr7objid {ids.iloc[row]}")
    empty = check.report(
        "row(s) with empty labels",
        missing.any(axis=1),
        lambda row: describe_fractions(labels.iloc[row], missing[row]),
    )
    wrong = check.report(
        "row(s) with fractions outside [0, 1] or votes that are no whole numbers",
        ~good.all(axis=1),
        lambda row: describe_fractions(labels.iloc[row], ~good[row]),
    )
    strata = None
    if has_classes:
        # All rows are classified, so that the kinds do not depend on which galaxies have images.
        codes, _ = pd.factorize(class_reduced(table[CLASS]), sort=True)
        strata = codes.astype(np.int64)[table.index.get_indexer(ids.index)]
    of_kinds = {kind: values[:, [needed.index(name) for name in names]] for kind, names in columns.items()}
    places = table.loc[ids.index, sky]
    return _LabelTable(ids, of_kinds, strata, places, len(table), bad_ids, check, empty, wrong)


def _check_columns(table: Table, needed: list[str], votes_for: str) -> None:
    """Raises a UserError if the label table lacks columns; `votes_for` names the settings that need votes."""
    votes = [name for name in needed if name.endswith("_count") and name not in table.header]
    if "dr7objid" in table.header and votes:
        raise UserError(
            f"{table.path} lacks the votes that are needed for {votes_for}:\n{listing(votes)}\n"
            "The file of https://data.galaxyzoo.org, with 231 columns, has them."
        )
    # The other columns on answers are no misspellings of the needed ones.
    known = {name for suffix in SUFFIXES for name in hart16_columns(suffix)}
    optional = [CLASS] if CLASS in table.header else []
    table.check(dict.fromkeys(["dr7objid", *optional, *needed], ""), known)


class _Mapping(NamedTuple):
    """The usable rows of the mapping: the objid, the asset id and the line number of each, (rows,) int64."""

    objids: NDArray[np.int64]
    assets: NDArray[np.int64]
    lines: NDArray[np.int64]
    mistakes: list[Mistakes]


def _read_mapping(path: Path) -> _Mapping:
    source = Table(path, published=True)
    source.check({"objid": "", "asset_id": ""})
    table = source.read(["objid", "asset_id"], [])
    # An asset is one image of one galaxy. An objid may come twice because a field was observed again.
    objids, bad_objids = check_ids(table["objid"], path.name, unique=False)
    assets, bad_assets = check_ids(table["asset_id"], path.name)
    both = objids.index.intersection(assets.index)
    return _Mapping(
        objids[both].to_numpy(np.int64),
        assets[both].to_numpy(np.int64),
        both.to_numpy(np.int64),
        [bad_objids, bad_assets],
    )


class _Join(NamedTuple):
    """The rows of the label table that are galaxies, (N,), and the assets that show them, (N,)."""

    rows: NDArray[np.int64]
    assets: NDArray[np.int64]
    without_image: int
    lone_images: int
    twice: int
    mistakes: list[Mistakes]


def _join(table: _LabelTable, mapping: _Mapping, images: Collection[int]) -> _Join:
    """Gives each row the first of its assets that has an image."""
    ids = table.ids.to_numpy(np.int64)
    pictured = np.fromiter(images, dtype=np.int64, count=len(images))
    shown = np.isin(mapping.assets, pictured) & np.isin(mapping.objids, ids)
    again = np.zeros_like(shown)
    again[shown] = pd.Index(mapping.objids[shown]).duplicated()
    first = pd.Series(mapping.assets, index=mapping.objids)[shown & ~again]
    assets = first.reindex(ids, fill_value=-1).to_numpy(np.int64)
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

    without_image = table.check.report("row(s) without an image", assets < 0, describe_row)
    check_again = RowCheck(len(again), lambda place: f"{MAPPING}, line {mapping.lines[place]}")
    check_again.report("image(s) of a galaxy that has one already", again, describe_again)
    rows = np.flatnonzero(~table.check.bad)
    return _Join(
        rows,
        assets[rows],
        without_image=without_image,
        lone_images=len(lone),
        twice=int(pd.Index(mapping.objids).duplicated().sum()),
        mistakes=[
            *check_again.mistakes,
            Mistakes("image(s) without a row", [describe_lone(asset) for asset in lone]),
        ],
    )


def _lost_rows(table: _LabelTable, join: _Join, images: Collection[int]) -> str:
    """A report of the rows and images that were lost, and why; one line for each reason."""
    figures = [
        (f"rows of {TABLE}", table.rows),
        ("with an unusable or repeated dr7objid", len(table.ids) - table.rows),
        ("with empty labels", -table.empty),
        ("with labels out of range", -table.wrong),
        ("left", len(table.ids) - table.empty - table.wrong),
        ("without an image", -join.without_image),
        ("galaxies", len(join.rows)),
        (f"images in {IMAGES}/", len(images)),
        ("of no galaxy", len(join.rows) - len(images)),
        ("of them without a row", -join.lone_images),
        (f"objids that {MAPPING} has again", join.twice),
    ]
    return "\n".join(f"  {text:<56}{number:>9,}" for text, number in figures)


def class_reduced(classes: pd.Series, least: int = LEAST) -> pd.Series:
    """Shortens rare classes until each has enough galaxies for splits with the same share of each class.

    A class of Galaxy Zoo 2 begins with the general: `SBc+l(m)` is a spiral (S), barred (B), with a just
    noticeable bulge (c), more than four (+) loose (l) arms, and merging (m) (Willett et al. 2013, appendix).
    Of 818 classes, 421 have fewer than 12 galaxies. The galaxies of a class with fewer than `least` join the
    class without its last part (`SBc+l`, `SBc+`, `SBc`, `SB`, `S`), beginning with the most special classes.
    Classes that are rare even as one letter become "other". Common classes therefore keep their distinctions,
    and the result depends on the column alone, not on the order of its rows.

    The idea and the name are from the Keras project on Galaxy Zoo 2, which merged classes of fewer than 8.

    Args:
        classes: The values of `gz2_class`. Empty ones become "other".
        least: The number of galaxies that a class needs to stay.

    Returns:
        The reduced classes, str, with the index of `classes`. All but "other" have at least `least` galaxies.
    """
    numbers = classes.value_counts()
    parts = {str(name): tuple(_CLASS_PART.findall(str(name).strip())) for name in numbers.index}
    sizes: Counter[tuple[str, ...]] = Counter()
    for name, number in numbers.items():
        sizes[parts[str(name)]] += int(number)
    for length in range(max(map(len, sizes), default=0), 0, -1):
        for kind in [kind for kind, size in sizes.items() if len(kind) == length and size < least]:
            sizes[kind[:-1]] += sizes.pop(kind)
    reduced = {}
    for name, kind in parts.items():
        lengths = range(len(kind), 0, -1)
        reduced[name] = next(
            ("".join(kind[:length]) for length in lengths if kind[:length] in sizes), OTHER_CLASS
        )
    return classes.map(reduced).fillna(OTHER_CLASS).astype(str)
