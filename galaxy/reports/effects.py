"""The effect of each choice, with the other choices averaged out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galaxy.reports.compare import Group, Row
from galaxy.reports.naming import deciding_settings
from galaxy.reports.records import SEEDS
from galaxy.reports.statistics import Setting, average


@dataclass(frozen=True)
class Level:
    """One value of a choice.

    Attributes:
        value: The value, as the command line takes it.
        mean: The mean of the metric over the combinations of the other choices.
        half: Half the interval of that mean over seeds; None if it is unknown.
    """

    value: str
    mean: float
    half: float | None


@dataclass(frozen=True)
class Effect:
    """What a choice does, on average over the others.

    Attributes:
        key: The group of options, or the key.
        levels: Its values, the best first.
        combinations: The number of combinations of the other choices in which each of these values was run.
        of: The number of combinations in which any value was run.
        left_out: Values that were not run together with the others.
    """

    key: str
    levels: tuple[Level, ...]
    combinations: int
    of: int
    left_out: tuple[str, ...]


def effects(group: Group) -> list[Effect]:
    """Returns the effect of each choice in which the settings of a group differ.

    Values are compared on the same combinations of the other choices: a value that was run with a good model
    only would look good itself. A model that ignores one of the choices, as baselines do, says nothing about
    them and is left out. One choice alone has no others to average, and the table says it all.
    """
    rows = [row for row in group.rows if len(row.values)]
    keys = deciding_settings([row.counted[0] for row in rows], SEEDS)
    rows = [row for row in rows if not any(map(row.counted[0].ignores, keys))]
    records = [row.counted[0] for row in rows]
    keys = deciding_settings(records, SEEDS)
    if len(keys) < 2:
        return []
    chosen = [(tuple(map(record.setting, keys)), index) for index, record in enumerate(records)]
    settings = [_setting(row) for row in rows]
    found = [_effect(place, key, chosen, settings, group.mode == "max") for place, key in enumerate(keys)]
    return [effect for effect in found if effect is not None]


def _setting(row: Row) -> Setting:
    return Setting(row.values, seeded=any(record.seeded for record in row.counted))


def _effect(
    place: int,
    key: str,
    chosen: Sequence[tuple[tuple[str, ...], int]],
    settings: Sequence[Setting],
    larger: bool,
) -> Effect | None:
    """Averages over the combinations of the other choices; None if no two values share any."""
    combinations: dict[tuple[str, ...], dict[str, int]] = {}
    for values, index in chosen:
        others = (*values[:place], *values[place + 1 :])
        combinations.setdefault(others, {}).setdefault(values[place], index)
    # The part of the grid that is complete and has the most cells.
    parts = {frozenset(cells) for cells in combinations.values() if len(cells) > 1}
    full = {part: [cells for cells in combinations.values() if part <= set(cells)] for part in parts}
    if not full:
        return None
    part = max(full, key=lambda part: (len(part) * len(full[part]), sorted(part)))
    levels = [
        Level(value, *average(settings, [cells[value] for cells in full[part]])) for value in sorted(part)
    ]
    levels.sort(key=lambda level: (-level.mean if larger else level.mean, level.value))
    every = {values[place] for values, _ in chosen}
    return Effect(key, tuple(levels), len(full[part]), len(combinations), tuple(sorted(every - part)))
