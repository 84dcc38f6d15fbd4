"""Titles for runs whose errors compare, and texts that tell their settings apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from galaxy.reports.records import NOT_COMPARED, Record
from galaxy.runs.folder import RESUMABLE_SETTINGS


def group_titles(records: Sequence[Record], by: str | None = None) -> list[str]:
    """Returns, for each run, a title that it shares with the runs whose errors compare with its own.

    Errors compare on the same validation galaxies, with labels of one meaning, by one objective. Where two
    groups are of the same data, the titles say what makes their validation galaxies differ.

    Args:
        records: The runs.
        by: The metric to compare by; None for the objective of each run.
    """
    named = _data_and_labels(records)
    alike: dict[str, list[Record]] = {}
    for title, record in zip(named, records, strict=True):
        alike.setdefault(title, []).append(record)
    splits = {title: _split_texts(group) for title, group in alike.items()}
    objectives = {title: {record.objective for record in group} - {None} for title, group in alike.items()}
    titles = []
    for title, record in zip(named, records, strict=True):
        several = by is None and len(objectives[title]) > 1
        judged = f"by {record.objective or '-'}" if several else ""
        titles.append("; ".join(filter(None, [title, splits[title].get(record.fingerprint), judged])))
    return titles


def _split_texts(records: Sequence[Record]) -> dict[str | None, str]:
    """Says of each fingerprint what makes its validation galaxies others; nothing where there is only one."""
    known = {record.fingerprint: record for record in records if record.fingerprint is not None}
    if len(known) < 2:
        return {}
    keys = [key for key in records[0].values if key.startswith("data.") and key not in RESUMABLE_SETTINGS]
    keys = [key for key in keys if key != "data.fold"]  # a fold validates no galaxies of its own
    keys = [key for key in keys if len({record.setting(key) for record in known.values()}) > 1]
    texts: dict[str | None, str] = {None: "validated on unknown galaxies"}
    for fingerprint, record in known.items():
        settings = [f"{key}={record.setting(key)}" for key in keys]
        which = ", ".join([f"{record.galaxies:,} galaxies", *settings, f"fingerprint {fingerprint[:8]}"])
        texts[fingerprint] = f"validated on {which}"
    return texts


def _data_and_labels(records: Sequence[Record]) -> list[str]:
    """Returns, for each run, the data and labels that its errors are on, and the folder if it matters."""
    surveys = [
        (
            record.choices.get("data", "-"),
            str(Path(record.values.get("data.root", "")).expanduser().resolve()),
        )
        for record in records
    ]
    known: dict[tuple[str, str], set[str]] = {survey: set() for survey in surveys}
    for survey, record in zip(surveys, records, strict=True):
        known[survey] |= {record.result.labels} if record.result.labels else set()
    folders = Counter(data for data, _ in known)
    groups = []
    for (data, root), record in zip(surveys, records, strict=True):
        labels = record.result.labels
        # A run that failed before it read its labels is put with the others of its data, if they agree.
        if labels is None and len(known[data, root]) == 1:
            labels = next(iter(known[data, root]))
        name = f"{data} at {root}" if folders[data] > 1 else data
        groups.append("labels: unknown" if labels is None else f"data: {name}; labels: {labels}")
    return groups


def setting_texts(records: Sequence[Record], hidden: tuple[str, ...] = ()) -> list[str]:
    """Returns a text that tells each run of a group from the others, by options and command-line settings.

    Settings that are hidden are left out, and so are those that the model of a run ignores.

    If nothing else tells two runs apart, settings that leave the results as they are (such as the residence
    of the images) are named too, and then the folder.
    """
    keys = _chosen(records)
    differing = _varying(records, hidden)
    decisive = deciding_settings(records, hidden)
    lines = _lines(records, decisive, keys)
    alike = Counter(lines)
    longer = _lines(records, differing, keys)
    lines = [long if alike[line] > 1 else line for line, long in zip(lines, longer, strict=True)]
    alike = Counter(lines)
    return [
        line
        if line and alike[line] == 1 and (hidden or len(records) > 1)
        else f"{line} {record.run.path}".strip()
        for line, record in zip(lines, records, strict=True)
    ]


def deciding_settings(records: Sequence[Record], hidden: tuple[str, ...] = ()) -> list[str]:
    """Returns the options and command-line settings that tell runs apart and may change their results."""
    # Runs with unknown labels may be on any data.
    return [key for key in _varying(records, hidden) if key not in RESUMABLE_SETTINGS or key == "data.root"]


def _chosen(records: Sequence[Record]) -> list[str]:
    """Returns the groups of options, and the settings of command lines."""
    options = [key for record in records for key in record.choices]
    return list(dict.fromkeys([*options, *(key for record in records for key in record.given)]))


def _varying(records: Sequence[Record], hidden: tuple[str, ...]) -> list[str]:
    return [
        key
        for key in _chosen(records)
        if not key.startswith(NOT_COMPARED)
        and key not in hidden
        and len({record.setting(key) for record in records if not record.ignores(key)}) > 1
    ]


def _lines(records: Sequence[Record], differing: list[str], keys: list[str]) -> list[str]:
    """Returns the settings of each run, with keys as short as they can be without becoming ambiguous."""
    known = {*keys, *(key for record in records for key in record.values)}
    if "model" in differing or not differing:
        differing = ["model", *(key for key in differing if key != "model")]
    names = {key: _shortest(key, known) for key in differing}
    return [
        " ".join(
            f"{names[key]}={record.setting(key)}"
            for key in differing
            if (key in record.choices or key in record.given or key in record.values)
            and not record.ignores(key)
        )
        for record in records
    ]


def _shortest(key: str, keys: set[str]) -> str:
    """Returns the shortest end of a dotted key that no other key ends with."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if not any(other == end or other.endswith(f".{end}") for other in keys - {key}):
            return end
    return key
