"""What a comparison shows, in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from galaxy.config.trust import trust_arguments
from galaxy.reports.compare import TYPICAL_SPREAD, Group, Row, best_folders
from galaxy.reports.folds import FoldsRecord
from galaxy.reports.records import BASELINE_NAMES

OF_SEARCHING = (
    "The test figures of several settings are for looking only: a setting that is chosen by them looks "
    "better than it is."
)


@dataclass(frozen=True)
class Sentence:
    """A sentence about a comparison, and the commands that it is followed by."""

    text: str
    commands: tuple[str, ...] = ()


def conclusions(group: Group) -> list[Sentence]:
    """Says in sentences what the table of a group shows."""
    best = group.best
    if best is None:
        nothing = "run has finished" if group.folds is None else "setting has finished all its folds"
        return [Sentence(f"No {nothing}.")]
    compared = [row for row in group.rows if len(row.values)]
    sentences = []
    if group.folds is not None and any(r.state != "done" for row in group.rows for r in row.records):
        sentences.append(Sentence("A setting is compared by the seeds of which all folds are done."))
    if len(compared) > 1:
        sentences += [Sentence(f"best: {best.settings}"), *_certainty(group, compared)]
    lines = []
    folders = ", ".join(map(str, best_folders(best, group.mode)))
    chosen = "best " if len(best.values) > 1 or len(compared) > 1 else ""
    lines.append(f"{chosen}run: {folders}" if group.folds is None else f"runs of its folds: {folders}")
    if group.folds is not None:
        lines += _fold_lines(group, best)
    lines += _test_lines(group, best)
    return [*sentences, *map(Sentence, lines)]


def _fold_lines(group: Group, best: Row) -> list[str]:
    """Says what the figures of folds are, and what they are not."""
    lines = []
    spreads = [r.spread_of_folds(group.metric) for r in best.counted if isinstance(r, FoldsRecord)]
    known = [spread for spread in spreads if spread is not None]
    lines.append(f"Each value is that of the predictions of all {group.folds} folds put together.")
    if known:
        lines.append(
            f"The folds of the best setting differ by {np.mean(known):.5f} (standard deviation), because "
            "their galaxies differ: this is not the spread over seeds."
        )
    return lines


def _certainty(group: Group, compared: Sequence[Row]) -> list[Sentence]:
    alike = [row for row in compared if row.verdict == "alike"]
    unknown = [row for row in compared if row.verdict == "unknown"]
    sentences = []
    if alike:
        sentences.append(Sentence(f"{_count(len(alike), 'setting')} (alike) cannot be told from the best."))
    if unknown:
        reason = (
            f"because the spread over seeds is known from two {repeats(group)}s of a setting or more"
            if group.paired
            else f"because not all runs have saved predictions that tell {group.metric}{_problems(group)}"
        )
        sentences.append(Sentence(f"{_count(len(unknown), 'setting')} (?) cannot be judged, {reason}."))
    # For a metric such as R2, which may be 0, a spread of 1 % means nothing.
    guessed = not any(row.spread for row in compared)
    if group.settling is not None and not (guessed and group.mode == "max"):
        known = any(row.spread for row in compared)
        assumed = "" if known else f", if runs of one setting scatter by {TYPICAL_SPREAD:.0%}"
        text = f"The first two would be told apart by about {group.settling} {repeats(group)}s of each"
        commands = []
        for row in compared[:2]:
            seeds = _further_seeds(row, group.settling)
            words = ["galaxy", "train", "-m", f"like={best_folders(row, group.mode)[0]}", seeds]
            words += [] if group.folds is None else [f"data.fold={','.join(map(str, range(group.folds)))}"]
            # A compared folder may be somebody else's, so only what is trusted already is named.
            commands += [shlex.join([*words, *trust_arguments()])] if seeds else []
        sentences.append(Sentence(f"{text}{assumed}.{' More seeds:' if commands else ''}", tuple(commands)))
    if group.detectable is not None:
        text = f"These runs would show a difference of {group.detectable:.5f} with a chance of 80 %."
        sentences.append(Sentence(text))
    return sentences


def repeats(group: Group) -> str:
    """Names what repeats a setting: a run, or the runs of all folds with one seed."""
    return "run" if group.folds is None else "seed"


def _problems(group: Group) -> str:
    """Says which file keeps a group from being judged."""
    if not group.problems:
        return ""
    more = f" (and {len(group.problems) - 1} more)" if len(group.problems) > 1 else ""
    return f": {group.problems[0]}{more}"


def _further_seeds(row: Row, runs: int) -> str:
    """Returns the seeds that a setting lacks, as an override; empty for a model without randomness.

    They are the next that it has no run of; at most five at a time.
    """
    if not row.records[0].seeded:
        return ""
    # A seed that was given to the model does not follow that of the run.
    key = "model.seed" if any("model.seed" in record.given for record in row.records) else "seed"
    used = {record.setting(key) for record in row.records}
    missing = max(runs - len(row.values), 0)
    unused = (str(seed) for seed in range(len(used) + missing) if str(seed) not in used)
    seeds = ",".join(islice(unused, min(missing, 5)))
    return f"{key}={seeds}" if seeds else ""


def _test_lines(group: Group, best: Row) -> list[str]:
    metric = group.test_metric
    if metric is None or not len(found := best.test(metric)):
        return []
    shown = f"{found.mean():.5f}" + (f" ± {found.std(ddof=1):.5f}" if len(found) > 1 else "")
    others = [
        f"{baseline_name(name)} {metrics[metric]:.5f}"
        for name, metrics in best.counted[0].result.baselines.items()
        if metric in metrics
    ]
    where = "test split" if group.folds is None else "test galaxies of all folds"
    lines = [f"On the {where}, {metric} of the best setting is {shown}" + "".join(f"; {o}" for o in others)]
    if group.folds is not None and len([row for row in group.rows if len(row.values)]) > 1:
        lines.append(
            "The same galaxies have validated other folds, and so have chosen the setting: on new galaxies "
            "it is a little worse."
        )
    return lines


def heading(group: Group) -> str:
    """Returns the title of a group with its numbers of settings, runs and galaxies."""
    runs = sum(len(record.parts) for row in group.rows for record in row.records)
    counts = [_count(len(group.rows), "setting"), _count(runs, "run")]
    counts += [] if group.folds is None else [f"{group.folds} folds"]
    if group.galaxies is not None:
        counts.append(f"{group.galaxies:,} validation galaxies")
    return f"{group.title} ({', '.join(counts)})"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def baseline_name(name: str) -> str:
    """Returns what a simple predictor is, in words."""
    return BASELINE_NAMES.get(name, name)
