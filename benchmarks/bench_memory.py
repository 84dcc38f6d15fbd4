"""Measures how much memory a training takes when its images do not fit into memory.

`python -m benchmarks.bench_memory` makes a survey in Kaggle's layout whose image cache takes 8 GB. The images
are copies of a thousand simulated galaxies. Each copy has a few bytes of its own after the end of the
picture, because the cache keeps equal files only once. The program trains over all of them with
`data.residence=disk`, and then evaluates. It needs 9 GB in the folder for temporary files, and frees them at
the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.options import add_repeats
from benchmarks.programs import Finished, run
from benchmarks.table import Report, interleaved, spread
from galaxy.surveys.simulated.survey import FIRST_ID, IMAGES, SOLUTIONS, SimulatedSurvey, write_survey

SIDE = 212  # the size in conf/crop/center212.yaml
SOURCES = 1000  # galaxies that are painted
BATCHES = 100  # batches of 64 images, drawn from all images
NETWORK = ("model=mlp", "model.pixels=16", "model.hidden=[64]")

numbers = count()


def copy_survey(source: Path, root: Path, images: int) -> None:
    """Makes a survey of `images` galaxies, which repeats the galaxies of `source`."""
    (root / IMAGES).mkdir(parents=True)
    header, *rows = (source / SOLUTIONS).read_text(encoding="utf-8").splitlines()
    labels = [row.partition(",")[2] for row in rows]
    with (root / SOLUTIONS).open("w", encoding="utf-8") as table:
        table.write(header + "\n")
        for number in range(images):
            original, copy = FIRST_ID + number % len(rows), FIRST_ID + number
            picture = (source / IMAGES / f"{original}.jpg").read_bytes()
            (root / IMAGES / f"{copy}.jpg").write_bytes(picture + number.to_bytes(4, "big"))
            table.write(f"{copy},{labels[number % len(rows)]}\n")


def train(folder: Path, root: Path) -> Finished:
    """Trains over a survey in a process of its own."""
    return run(
        "train.py",
        "data=kaggle",
        f"data.root={root}",
        f"data.cache={folder / 'cache'}",
        "data.residence=disk",
        "crop=center212",
        *NETWORK,
        "trainer.max_epochs=1",
        f"trainer.limit_train_batches={BATCHES}",
        f"hydra.run.dir={folder / 'runs' / f'{root.name}-{next(numbers)}'}",
    )


def evaluate(folder: Path, root: Path) -> Finished:
    """Scores the validation split with a run over the same survey."""
    trained = next((folder / "runs").glob(f"{root.name}-*"))
    return run("evaluate.py", f"run={trained}", "split=val", f"out={folder / f'evaluation-{next(numbers)}'}")


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """Measures each program, in one row of the table."""
    source = write_survey(folder, SimulatedSurvey(SOURCES, seed=0, volunteers=45))
    bytes_each = SIDE * SIDE * 3
    images = max(SOURCES, round(options.gigabytes * 1e9 / bytes_each))
    large = folder / "large"
    copy_survey(source, large, images)
    report = Report(
        program="bench_memory",
        title="Peak memory of train.py with data.residence=disk",
        columns=("program", "images", "cache GB", "n", "peak MiB", "seconds"),
        packages=("torch", "lightning", "numpy"),
        notes=[
            "model=mlp, crop=center212; augmentation and batches of 64 by default. train.py trains on at "
            f"most {BATCHES} batches drawn from all images, validates, and scores the best checkpoint. "
            "evaluate.py scores the validation split.",
            "The peak is the largest resident memory, which the system reports when a process ends "
            "(ru_maxrss); n repeats, mean (least..greatest).",
            "The peak does not include the files that the system keeps in memory. When a process ends, its "
            "libraries touch another 0.1 GB; the row of the imports alone includes it.",
        ],
    )

    def add(name: str, count: int, finished: list[Finished]) -> None:
        report.rows.append(
            (
                name,
                f"{count:,}" if count else "",
                f"{count * bytes_each / 1e9:.2f}" if count else "",
                str(len(finished)),
                spread([one.peak / 2**20 for one in finished], ",.0f"),
                spread([one.seconds for one in finished], ".1f"),
            )
        )

    train(folder, source)  # fills the cache of the small survey
    add("train.py that makes the cache", images, [train(folder, large)])
    programs: dict[tuple[str, int], Callable[[], Finished]] = {
        ("imports alone", 0): partial(run, "-c", "import galaxy.runs.train"),
        ("train.py", SOURCES): partial(train, folder, source),
        ("train.py", images): partial(train, folder, large),
        ("evaluate.py", images): partial(evaluate, folder, large),
    }
    for (name, size), finished in zip(
        programs, interleaved(list(programs.values()), options.repeats), strict=True
    ):
        add(name, size, finished)
    report.rows.append(report.rows.pop(0))
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--gigabytes", type=float, default=8, metavar="N", help="size of the cache (default 8)"
    )
    add_repeats(parser, 3)
    options = parser.parse_args()
    if options.gigabytes <= 0:
        parser.error("--gigabytes must be above 0")
    with TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    report.publish()


if __name__ == "__main__":
    main()
