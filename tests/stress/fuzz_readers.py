"""Whether damaged files are refused, left out by name, or read as what they say; never anything else.

`python -m tests.stress.fuzz_readers` writes small sound surveys, damages one file at a time, reads it through
the public readers and judges what came back. Case N of a seed is always the same. A case that fails is saved,
and can be looked at again with `--case N`.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.options import add_count
from benchmarks.table import Report
from galaxy.system.errors import UserError
from tests.stress.fuzz_mutations import OF_BYTES, OF_TEXT
from tests.stress.fuzz_surveys import SUBJECTS, OnBad, Reading, Subject, redirect_error

TEXTS = (".csv", ".yaml", ".json")
# Their formats have no checksum, or none that is always there: other values are as good as the first.
WITHOUT_CHECKSUM = (".jpg", ".jpeg", ".tif", ".tiff", ".fits", ".fz", ".parquet", ".h5")
# A sound case takes some hundredths of a second.
HANGS = 10.0


class Outcome(StrEnum):
    """What became of a case."""

    REFUSED = "refused"
    LEFT_OUT = "left out by name"
    UNCHANGED = "read as before"
    AS_WRITTEN = "read as written"
    UNDETECTABLE = "no checksum"
    FAILURE = "failure"


@dataclass(frozen=True)
class Case:
    """One damaged file, and what became of it.

    Attributes:
        number: Of the case.
        subject: What was read.
        file: The damaged file.
        mutation: How it was damaged.
        on_bad: What the reader was to do about it.
        outcome: What came of it.
        detail: The error, or what is wrong.
        seconds: How long it took.
    """

    number: int
    subject: str
    file: str
    mutation: str
    on_bad: str
    outcome: Outcome
    detail: str
    seconds: float


class Fuzz:
    """Sound files of every subject, and the cases made of them.

    Args:
        folder: Where they are written.
        seed: Of the cases.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self._draws = [subject for subject in SUBJECTS for _ in range(subject.weight)]
        self._sound: dict[str, Reading] = {}

    def damaged(self, number: int) -> tuple[Subject, Path, str, bytes, OnBad]:
        """The subject of a case, the file, the mutation, the new content and what to do about bad rows."""
        rng = np.random.default_rng([self.seed, number])
        subject = self._draws[rng.integers(len(self._draws))]
        self.sound(subject)
        files = [path for pattern in subject.files for path in sorted(self.root(subject).glob(pattern))]
        path = files[rng.integers(len(files))]
        mutations = OF_TEXT if path.suffix in TEXTS else OF_BYTES
        mutation = mutations[rng.integers(len(mutations))]
        content = mutation(path.read_bytes(), rng)
        return subject, path, mutation.__name__, content, "error" if rng.integers(2) else "skip"

    def run(self, number: int) -> Case:
        """Damages a file, reads, judges, and puts the file back."""
        subject, path, mutation, content, on_bad = self.damaged(number)
        root, sound = self.root(subject), path.read_bytes()
        started = time.perf_counter()
        try:
            path.write_bytes(content)
            with redirect_error(), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                outcome, detail = _outcome(subject, root, path, on_bad, self.sound(subject))
        finally:
            path.write_bytes(sound)
        if warned:
            outcome, detail = Outcome.FAILURE, f"warns: {warned[0].message}; {detail}"
        seconds = time.perf_counter() - started
        name = str(path.relative_to(root))
        return Case(number, subject.name, name, mutation, on_bad, outcome, detail, seconds)

    def root(self, subject: Subject) -> Path:
        """The folder of a subject's files."""
        return self.folder / subject.name.replace(", ", "-")

    def sound(self, subject: Subject) -> Reading:
        """What the undamaged files hold; they are written first if need be."""
        if subject.name not in self._sound:
            root = self.root(subject)
            root.mkdir()
            subject.write(root)
            with redirect_error():
                self._sound[subject.name] = subject.read(root, "error")
        return self._sound[subject.name]


def _outcome(subject: Subject, root: Path, path: Path, on_bad: OnBad, sound: Reading) -> tuple[Outcome, str]:
    try:
        reading = subject.read(root, on_bad)
    except UserError as error:
        message = str(error)
        places = [path.name]
        if subject.name == "questions":
            # The choice of the file, and keys of the configuration, whichever file set them.
            places += ["data=mine", "data.root", "data.catalog."]
        if "Traceback" in message or not any(place in message for place in places):
            return Outcome.FAILURE, f"does not say where: {message}"
        return Outcome.REFUSED, message
    except Exception:
        return Outcome.FAILURE, traceback.format_exc()
    return _judge(subject, root, path, on_bad, sound, reading)


def _judge(
    subject: Subject, root: Path, path: Path, on_bad: OnBad, sound: Reading, now: Reading
) -> tuple[Outcome, str]:
    """Whether what was accepted can be right."""
    changed = str(path.relative_to(root))
    wrong = list(now.contradictions)
    pixels = {galaxy.image: galaxy.pixels for galaxy in sound.galaxies.values()}
    wrong += [
        f"{name} has other pixels"
        for name, galaxy in now.galaxies.items()
        if galaxy.image != changed and path.suffix != ".h5" and galaxy.pixels != pixels.get(galaxy.image)
        if subject.name != "run folder"
    ]
    wrong += _against_rows(subject, root, sound, now) if subject.rows else _against_sound(changed, sound, now)
    if on_bad == "error" and now.skipped:
        wrong.append(f"left out in spite of on_bad=error: {now.skipped}")
    if wrong:
        return Outcome.FAILURE, "; ".join(wrong)
    if now.skipped:
        return Outcome.LEFT_OUT, "\n".join(now.skipped)
    if now.galaxies == sound.galaxies:
        return Outcome.UNCHANGED, ""
    if path.suffix in WITHOUT_CHECKSUM:
        return Outcome.UNDETECTABLE, ""
    if path.suffix in TEXTS or path.name.endswith(".csv.gz"):
        return Outcome.AS_WRITTEN, ""
    return Outcome.FAILURE, "read as something else, without a word"


def _against_rows(subject: Subject, root: Path, sound: Reading, now: Reading) -> Iterator[str]:
    """What a plain reading of the table contradicts."""
    assert subject.rows is not None
    try:
        rows = subject.rows(root)
    except Exception as error:
        yield f"a plain parser cannot read what was accepted: {error!r}"
        return
    first = {row.name: row for row in reversed(rows.values())}
    for name, galaxy in now.galaxies.items():
        if name not in first:
            yield f"{name} is in no row"
        elif not np.allclose(galaxy.labels, first[name].labels, rtol=0, atol=1e-6, equal_nan=True):
            yield f"{name} has {galaxy.labels}, the table {first[name].labels}"
    for line, row in rows.items():
        words = [f"line {line}", row.name or "?"]
        words += [sound.galaxies[row.name].image] if row.name in sound.galaxies else []
        told = any(word in text for text in now.skipped for word in words)
        if row.name not in now.galaxies and not told:
            yield f"line {line}, {row.name!r}, is lost without a word"


def _against_sound(changed: str, sound: Reading, now: Reading) -> Iterator[str]:
    """What is missing, or has other labels although its image alone was damaged."""
    if len(sound.galaxies) - len(now.galaxies) > len(now.skipped):
        yield f"{len(sound.galaxies) - len(now.galaxies)} galaxies are lost without a word"
    of_images = any(galaxy.image == changed for galaxy in sound.galaxies.values())
    for name, galaxy in now.galaxies.items():
        if of_images and (name not in sound.galaxies or galaxy.labels != sound.galaxies[name].labels):
            yield f"{name} has other labels"


# ------------------------------------------------------------------------------------------- the program


def worker(connection: Connection, folder: Path, seed: int) -> None:
    """Runs the cases whose numbers it is sent, in a process that may hang, die or be killed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # for the C libraries that OpenCV decodes with
    quiet = io.StringIO()
    with redirect_stderr(quiet), redirect_stdout(quiet):
        fuzz = Fuzz(folder, seed)
        for subject in SUBJECTS:
            fuzz.sound(subject)
        connection.send(None)  # ready
        while True:
            connection.send(fuzz.run(connection.recv()))


class Guarded:
    """A worker that is replaced when it hangs or dies."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._folder = TemporaryDirectory()  # of the parent, which outlives a worker that is killed
        arguments = (other, Path(self._folder.name), self.seed)
        self._process = context.Process(target=worker, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self._connection.recv()

    def run(self, number: int) -> Case:
        """A case, a failure if the worker did not come back with it."""
        self._connection.send(number)
        try:
            if self._connection.poll(HANGS):
                case: Case = self._connection.recv()
                return case
            detail = f"takes more than {HANGS:g} s"
        except EOFError:
            self._process.join()
            detail = f"ends the process: exit status {self._process.exitcode}"
        self.stop()
        self._start()
        return Case(number, "?", "?", "?", "?", Outcome.FAILURE, detail, HANGS)

    def stop(self) -> None:
        """Ends the worker, whatever it does."""
        self._process.kill()
        self._process.join()
        self._folder.cleanup()


def save(case: Case, folder: Path, seed: int) -> Case:
    """Writes the damaged file of a case and what became of it; completes a case whose worker was lost."""
    with TemporaryDirectory() as temporary:
        fuzz = Fuzz(Path(temporary), seed)
        subject, path, mutation, content, on_bad = fuzz.damaged(case.number)
        file = str(path.relative_to(fuzz.root(subject)))
    case = Case(
        **{**asdict(case), "subject": subject.name, "file": file, "mutation": mutation, "on_bad": on_bad}
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{seed}-{case.number}-{path.name}").write_bytes(content)
    (folder / f"{seed}-{case.number}.json").write_text(json.dumps(asdict(case), indent=2))
    return case


def fuzz(seed: int, cases: int, seconds: float, folder: Path) -> list[Case]:
    """Runs cases from 0 on, until there are enough of them or the time is up."""
    guarded = Guarded(seed)
    done: list[Case] = []
    started = time.perf_counter()
    while len(done) < cases and time.perf_counter() - started < seconds:
        case = guarded.run(len(done))
        if case.outcome == Outcome.FAILURE:
            case = save(case, folder, seed)
            last = case.detail.strip().splitlines()[-1]
            print(f"case {case.number}: {case.subject}, {case.mutation} of {case.file}: {last}", flush=True)
        done.append(case)
    guarded.stop()
    return done


def report(cases: list[Case], seed: int) -> Report:
    """One row a subject."""
    table = Report(
        folder=Path(__file__).parent / "results",
        program="fuzz_readers",
        title="Damaged files by what became of them",
        columns=("survey", "cases", *Outcome),
        packages=(
            "opencv-python-headless",
            "simplejpeg",
            "h5py",
            "astropy",
            "pandas",
            "pyarrow",
            "torch",
        ),
        notes=[],
    )
    for name in (*(subject.name for subject in SUBJECTS), "all"):
        counts = Counter(case.outcome for case in cases if name in (case.subject, "all"))
        figures = [counts.total(), *(counts[outcome] for outcome in Outcome)]
        table.rows.append((name, *(f"{figure:,}" for figure in figures)))
    unseen = [case for case in cases if case.outcome == Outcome.UNDETECTABLE]
    jpegs = [case for case in unseen if case.file.endswith((".jpg", ".jpeg"))]
    slowest = max(case.seconds for case in cases)
    table.notes += [
        f"Seed {seed}; a case is one file with one kind of damage, read with on_bad=error or skip.",
        f"{Outcome.REFUSED}: with a message that names the file. {Outcome.LEFT_OUT}: the sound rows and "
        f"images are unchanged. {Outcome.UNCHANGED}: the damage touched nothing that is read. "
        f"{Outcome.AS_WRITTEN}: another value, which a plain parser finds in the file too. "
        f"{Outcome.UNDETECTABLE}: other pixels or values in a format that cannot tell. {Outcome.FAILURE}: "
        "anything else, a warning or another exception among them.",
        f"No checksum: {len(jpegs):,} of these {len(unseen):,} are JPEGs, which libjpeg takes to be sound.",
        f"Slowest case: {slowest:.1f} s; one over {HANGS:g} s is a failure.",
    ]
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_count(parser, "cases", 12_000, "how many")
    parser.add_argument("--seconds", type=float, default=1800, metavar="S", help="at most (default 1800)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the cases (default 0)")
    parser.add_argument("--case", type=int, metavar="N", help="show this one and run no other")
    parser.add_argument(
        "--save", type=Path, default=Path("cache/fuzz"), metavar="DIR", help="of failures (cache/fuzz)"
    )
    options = parser.parse_args()
    if options.case is not None:
        guarded = Guarded(options.seed)
        case = save(guarded.run(options.case), options.save, options.seed)
        guarded.stop()
        print(*(f"{name}: {value}" for name, value in asdict(case).items()), sep="\n")
        return
    cases = fuzz(options.seed, options.cases, options.seconds, options.save)
    report(cases, options.seed).publish()
    if any(case.outcome == Outcome.FAILURE for case in cases):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
