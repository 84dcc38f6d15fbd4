"""Follows runs that are being trained."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.console import Group as Stack
from rich.live import Live
from rich.table import Table
from rich.text import Text

from galaxy.config.search import STUDY_FILE
from galaxy.reports.compare import compare_runs
from galaxy.reports.comparison_table import WIDE, table_of
from galaxy.reports.comparison_words import heading
from galaxy.reports.curves import read_curves
from galaxy.reports.records import Record, read_record
from galaxy.reports.search import Search, search_in
from galaxy.runs.folder import RunFolder, find_runs, is_swept, read_planned
from galaxy.system.errors import UserError

# Seconds between two looks at the folders.
INTERVAL = 2.0
# Where the number of jobs is not known, another may begin within so many looks after the last one.
PATIENCE = 10

Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class Progress:
    """How far a running job has come.

    Attributes:
        epoch: The number of epochs that were validated; 0 before the first.
        value: The objective at the last of them; None before the first.
    """

    epoch: int = 0
    value: float | None = None


class Watch:
    """The runs in some folders, which are read again only where files have changed.

    Args:
        folders: The folders. Runs may begin there later.

    Attributes:
        records: The runs, as they were at the last look.
        progress: How far each running job has come, by its folder.
        missing: The number of planned jobs that have not begun.
        searches: The searches in these folders, and what they have found so far.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.records: list[Record] = []
        self.progress: dict[Path, Progress] = {}
        self.missing = 0
        self.searches: list[Search] = []
        self._planned = False
        self._swept = False
        self._idle = PATIENCE  # unless a run is seen at work, there is nothing to wait for
        self._stamps: dict[Path, Stamp] = {}
        self._curves: dict[Path, Stamp] = {}
        self._known: dict[Path, Record] = {}

    def look(self) -> list[str]:
        """Reads what has changed since the last look: returns a line for each run and each new best trial.

        Raises:
            UserError: A folder does not exist.
        """
        runs = _found(self.folders)
        changes = [change for run in runs if (change := self._changed(run)) is not None]
        self.records = [self._known[run.path] for run in runs]
        running = [record for record in self.records if record.result.status == "running"]
        # A killed run may have been resumed between two looks at it.
        self.progress = {
            run.path: self.progress.get(run.path, Progress()) for run in (r.run for r in running)
        }
        changes += self._search(runs)
        self._count(runs)
        self._idle = 0 if running else self._idle + 1
        return changes

    @property
    def over(self) -> bool:
        """Whether no run is going on, and none will begin."""
        states = Counter(record.result.status for record in self.records)
        if states["running"] or not self.records:
            return False
        if states["interrupted"] and self._swept:  # Slurm may have queued it again
            return False
        return not self.missing if self._planned else self._idle >= PATIENCE

    @property
    def state(self) -> str:
        """How many runs there are of each status."""
        counts = Counter(record.result.status for record in self.records)
        counted = [f"{count} {status}" for status, count in sorted(counts.items())]
        return ", ".join([*counted, *([f"{self.missing} not begun"] if self.missing else [])]) or "no run yet"

    def _changed(self, run: RunFolder) -> str | None:
        """Reads a run if its files have changed, and says what is new."""
        stamp = _stamp(run.result_file, run.meta_file, run.overrides_file)
        if self._stamps.get(run.path) != stamp:
            self._stamps[run.path] = stamp
            before, record = self._known.get(run.path), read_record(run)
            self._known[run.path] = record
            if record.result.status != "running":
                self.progress.pop(run.path, None)
                return _end(record)
            self.progress[run.path] = Progress()
            self._curves.pop(run.path, None)
            if before is None or before.result.status != "running":
                return f"{run.path}: running"
        record = self._known[run.path]
        if record.result.status != "running":
            return None
        if run.was_killed:
            record = self._known[run.path] = read_record(run)
            self.progress.pop(run.path, None)
            return _end(record)
        return self._advanced(run, record)

    def _advanced(self, run: RunFolder, record: Record) -> str | None:
        """Reads the metrics of a running job if they have changed, and says how far it has come."""
        stamp = _stamp(run.path / "metrics.csv")
        if self._curves.get(run.path) == stamp:
            return None
        self._curves[run.path] = stamp
        metric = record.objective or "val/rmse"
        curve = read_curves(run, [metric])[metric]
        if not curve:  # a run that is resumed writes the file anew
            return None
        last = max(curve)
        reached = Progress(last, curve[last])
        if reached == self.progress[run.path]:
            return None
        self.progress[run.path] = reached
        return f"{run.path}: epoch {_epochs(record, last)}, {metric} {curve[last]:.5f}"

    def _sweeps(self, runs: Sequence[RunFolder]) -> list[Path]:
        """Returns the folders that may be those of sweeps."""
        around = {run.path.parent for run in runs}
        inside = {folder for folder in around if any(folder.is_relative_to(one) for one in self.folders)}
        return sorted({*self.folders, *inside})

    def _search(self, runs: Sequence[RunFolder]) -> list[str]:
        """Reads the searches whose files have changed, and names each new best trial."""
        known = {search.folder: search for search in self.searches}
        self.searches, changes = [], []
        for folder in self._sweeps(runs):
            if (stamp := _stamp(folder / STUDY_FILE)) == (None,):
                continue
            if self._stamps.get(folder / STUDY_FILE) != stamp:
                self._stamps[folder / STUDY_FILE] = stamp
                before, known[folder] = known.get(folder), search_in(folder)
                best = known[folder].best
                if best is not None and (before is None or before.best != best):
                    changes.append(known[folder].sentences[0])
            self.searches.append(known[folder])
        return changes

    def _count(self, runs: Sequence[RunFolder]) -> None:
        """Counts the jobs of sweeps that have not begun."""
        begun = Counter(run.path.parent for run in runs)
        for search in self.searches:
            if search.report is not None:  # a trial may have no folder
                begun[search.folder] = len(search.report.trials)
        self.missing, self._planned, self._swept = 0, False, False
        for folder in self._sweeps(runs):
            planned = read_planned(folder)
            if planned is not None:
                self._planned = True
                self._swept |= is_swept(folder)
                self.missing += max(planned - begun[folder], 0)


def _found(folders: Sequence[Path]) -> list[RunFolder]:
    """Returns the runs that have begun, each once, though one folder may lie in another.

    Raises:
        UserError: A folder does not exist.
    """
    runs: dict[Path, RunFolder] = {}
    for folder in folders:
        try:
            runs |= {run.path.resolve(): run for run in find_runs(folder)}
        except UserError:
            if not folder.is_dir():
                raise  # an empty folder may get its first run later
    return list(runs.values())


def follow(folders: Sequence[Path], by: str | None, test: bool, untrained: bool) -> None:
    """Shows the comparison of runs and how far they have come, until all are over.

    A terminal shows a table that is drawn anew. Elsewhere each change is a line.

    Args:
        folders: The folders of runs.
        by: The metric to compare by; None for the objective of the runs.
        test: Whether to show the test split of every setting.
        untrained: Whether to show runs too that ended before they trained.

    Raises:
        UserError: A folder does not exist.
        KeyboardInterrupt: The user has seen enough.
    """
    console = Console()
    watch = Watch(folders)
    watch.look()
    if not console.is_terminal:
        print(watch.state, flush=True)
        while not watch.over:
            time.sleep(INTERVAL)
            for change in watch.look():
                print(f"{time.strftime('%H:%M:%S')} {change}", flush=True)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        tables: list[RenderableType] = []
        compared: list[Record] | None = None
        while True:
            records = [record for record in watch.records if untrained or record.trained]
            if compared is None or [*map(id, records)] != [*map(id, compared)]:
                tables, compared = _tables(records, by, test, console.width >= WIDE), records
            live.update(Stack(*tables, *_running(watch), *_searches(watch)), refresh=True)
            if watch.over:
                return
            time.sleep(INTERVAL)
            watch.look()


def _tables(records: Sequence[Record], by: str | None, test: bool, wide: bool) -> list[RenderableType]:
    try:
        groups = compare_runs(records, by)
    except UserError as error:  # no run has the metric yet
        return [Text(str(error))]
    parts: list[RenderableType] = []
    for group in groups:
        parts += [Text(heading(group), style="bold"), table_of(group, test, wide), Text()]
    return parts


def _running(watch: Watch) -> list[RenderableType]:
    """Returns a table of the running jobs, and a line with the numbers of all."""
    parts: list[RenderableType] = []
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("running", "epoch", "last value"):
        table.add_column(title, overflow="fold", justify="left" if title == "running" else "right")
    for record in watch.records:
        reached = watch.progress.get(record.run.path)
        if reached is not None:
            value = "-" if reached.value is None else f"{record.objective or 'val/rmse'} {reached.value:.5f}"
            table.add_row(Text(record.run.path.name), _epochs(record, reached.epoch), value)
    if table.row_count:
        parts.append(table)
    return [*parts, Text(f"{watch.state}; Ctrl-C ends this view, and no run", style="dim")]


def _searches(watch: Watch) -> list[RenderableType]:
    """Returns what searches have found so far."""
    return [Text(sentence) for search in watch.searches for sentence in search.sentences]


def _end(record: Record) -> str:
    value = None if record.result.objective is None else record.result.objective["value"]
    objective = "" if value is None else f", {record.objective} {value:.5f}"
    error = "" if record.result.error is None else f": {record.result.error.splitlines()[0]}"
    return f"{record.run.path}: {record.result.status}{objective}{error}"


def _epochs(record: Record, epoch: int) -> str:
    planned = record.values.get("trainer.max_epochs", "null")
    if planned == "-1":  # the run finds the number itself
        planned = str(record.run.meta().get("max_epochs", "null"))
    return f"{epoch}" if planned == "null" else f"{epoch}/{planned}"


def _stamp(*files: Path) -> Stamp:
    """Returns what changes when a file is written."""
    stamps: list[tuple[int, int] | None] = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_mtime_ns, found.st_size))
    return tuple(stamps)
