"""Small sound surveys and run folders, what a reader accepts of them, and whether that can be right."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import cv2
import h5py
import hydra
import numpy as np
import pandas as pd
import torch
import yaml
from astropy.io import fits
from numpy.typing import NDArray
from omegaconf import DictConfig

from galaxy.cli import compare
from galaxy.cli.arguments import with_inherited_data
from galaxy.cli.program import reporting
from galaxy.cli.program import run as run_program
from galaxy.config import plain
from galaxy.config.instantiation import instantiate
from galaxy.data.cache import open_cache
from galaxy.data.pixels import OnDisk
from galaxy.data.split_files import read_splits
from galaxy.images.crops.center import CenterCrop
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS, hart16_columns
from galaxy.learning import checkpoint_files
from galaxy.runs.experiment import build_model, load
from galaxy.runs.folder import RunFolder
from galaxy.runs.result import Result
from galaxy.surveys import galaxy10, gz2, kaggle
from galaxy.surveys.catalog import Catalog, Hdf5Image
from galaxy.surveys.folder import read_folder
from galaxy.surveys.table import read_table
from galaxy.surveys.table_reader import ROUNDED
from galaxy.system.errors import UserError
from tests.stress.gz2_files import Sizes, write_gz2

CONF = Path(__file__).resolve().parents[2] / "conf"
CROP = CenterCrop(size=16, fraction=1.0)
COUNT = 5
SIDE = 24
CLASSES = ["disk", "smooth", "star"]
# The tolerances of the readers of cumulative fractions, and a little more for float32.
TREE_TOLERANCES = {"kaggle": 1.1e-5, "table": 0.0201}
OnBad = Literal["error", "skip"]
csv.field_size_limit(2**31 - 1)  # the plain reader must accept what others accept


@dataclass(frozen=True)
class Galaxy:
    """The accepted data of one galaxy: its labels, the place of its image, and the pixels of the crop."""

    labels: tuple[float, ...]
    image: str
    pixels: bytes


@dataclass
class Reading:
    """The accepted data of a survey, and the contradictions in them."""

    galaxies: dict[str, Galaxy]
    skipped: tuple[str, ...] = ()
    contradictions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A row of a table as a plain parser reads it. A label that is no number is NaN."""

    name: str
    labels: tuple[float, ...]


@dataclass(frozen=True)
class Subject:
    """The files of a survey and their reader.

    Attributes:
        name: In the table of results.
        write: Makes sound files in an empty folder.
        read: Reads the folder through the public functions.
        files: Patterns of the files that are damaged.
        rows: A plain reading of the table, by the number of the line; None where no plain parser tells what
            is in it.
        weight: How often it is drawn, relative to the others.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path, OnBad], Reading]
    files: tuple[str, ...]
    rows: Callable[[Path], dict[int, Row]] | None = None
    weight: int = 4


# ----------------------------------------------------------------------------------------------- their files


def pictures() -> list[NDArray[np.uint8]]:
    """Pictures of galaxies, (SIDE, SIDE, 3), with so much noise that no two are alike."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    made = []
    for number in range(COUNT):
        shape = np.exp(-(x**2 + y**2 * (1 + number)) / 40)[..., None] * [200, 150, 100 + 20 * number]
        made.append((shape + rng.normal(20, 6, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8))
    return made


def write_pictures(folder: Path, names: list[str]) -> None:
    """Image files, of the kinds that the endings of their names say."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(names, pictures(), strict=True):
        path = folder / name
        if ".fits" in name:
            kind = fits.CompImageHDU if name.endswith(".fz") else fits.ImageHDU
            cube = picture.astype(np.float32).transpose(2, 0, 1)
            fits.HDUList([fits.PrimaryHDU(), kind(cube)]).writeto(path)
        else:
            cv2.imwrite(str(path), picture)


def write_kaggle(root: Path) -> None:
    """The Galaxy Challenge."""
    ids = [100_008, 100_023, 100_053, 999_999_999_999_999_999, 7]
    write_pictures(root / kaggle.FOLDERS["training"], [f"{i}.jpg" for i in ids])
    answers, _ = GALAXY_ZOO_2.conditional(np.random.default_rng(0).random((COUNT, GALAXY_ZOO_2.size)))
    table = pd.DataFrame(GALAXY_ZOO_2.cumulative(answers), columns=list(KAGGLE_COLUMNS))
    table.insert(0, "GalaxyID", ids)
    table.to_csv(root / kaggle.TABLE, index=False, float_format="%.6f")


def write_galaxy_zoo_2(root: Path) -> None:
    """Galaxy Zoo 2, with a second asset of one galaxy."""
    write_gz2(root, Sizes(rows=COUNT, empty=0, unpictured=0, lone_images=0, objids=COUNT, twice=1))
    write_pictures(root / gz2.IMAGES, sorted(path.name for path in (root / gz2.IMAGES).iterdir()))


def write_galaxy10(root: Path) -> None:
    """Galaxy10 DECaLS, with one image in each chunk."""
    images = np.stack([cv2.resize(picture, (256, 256)) for picture in pictures()])
    with h5py.File(root / "Galaxy10_DECals.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(1, 256, 256, 3), compression="gzip")
        file["ans"] = np.arange(COUNT, dtype=np.uint8)
        file["ra"], file["dec"] = np.linspace(0, 300, COUNT), np.linspace(-80, 80, COUNT)


def write_table(root: Path, name: str, ending: str) -> None:
    """A user's table: names, fractions in a tree, classes and image files."""
    rng = np.random.default_rng(1)
    disk = rng.uniform(0.1, 0.9, COUNT).round(3)
    bar = (disk * rng.random(COUNT)).round(3)
    names = [f"J{number}46.4-01" for number in range(COUNT)]
    table = pd.DataFrame({"name": names, "smooth": (1 - disk).round(3), "disk": disk, "bar": bar})
    table["no_bar"] = (disk - bar).round(3)
    table["kind"] = [CLASSES[number % 3] for number in range(COUNT)]
    table["image"] = [f"images/{name}{ending}" for name in names]
    write_pictures(root / "images", [f"{name}{ending}" for name in names])
    if name.endswith(".parquet"):
        table.to_parquet(root / name, index=False)
    else:
        table.to_csv(root / name, index=False)


def write_folder(root: Path) -> None:
    """Images of every kind, one of them in a sub-folder."""
    write_pictures(root, ["a.jpg", "b.png", "c.tif", "d.fits", "e.fits.gz"])
    (root / "below").mkdir()
    (root / "a.jpg").rename(root / "below" / "a.jpg")


def write_packed(root: Path) -> None:
    """Compressed FITS images, and a grey JPEG."""
    write_pictures(root, ["a.fits.fz", "b.fits.gz", "c.fits", "d.jpeg", "e.tiff"])
    cv2.imwrite(str(root / "d.jpeg"), pictures()[3][..., 0])


def write_splits(root: Path) -> None:
    """Splits that a user has fixed."""
    table = pd.DataFrame(
        {"id": ["1", "22", "J12+3", "4", "5"], "split": ["train", "val", "test"] + ["train"] * 2}
    )
    table.to_csv(root / "splits.csv", index=False)
    table.to_parquet(root / "splits.parquet", index=False)


QUESTIONS = """defaults: [table, _self_]
root: {root}
catalog:
  questions:
    shape:
      text: What is its shape?
      answers: [smooth, disk]
    bar:
      answers: {{bar: a bar, no_bar: no bar}}
      parent: disk
"""


def write_mine(root: Path) -> None:
    """A user's own configuration of a table."""
    write_table(root, "labels.csv", ".jpg")
    (root / "conf" / "data").mkdir(parents=True)
    (root / "conf" / "data" / "mine.yaml").write_text(QUESTIONS.format(root=root))


def write_runs(root: Path) -> None:
    """Two runs, of which the second will be damaged."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("train", ["data=kaggle", "data.root=/data", "model=mean", "crop.size=16"])
    config = plain(composed)
    for name, error in (("sound", 0.1), ("harmed", 0.2)):
        run = RunFolder(root / name)
        run.path.mkdir()
        run.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
        run.overrides_file.write_text(yaml.safe_dump(["data=kaggle", "model=mean"]))
        choices = {"data": "kaggle", "model": "mean", "loss": "mse"}
        run.meta_file.write_text(json.dumps({"format": 1, "seed": 0, "choices": choices}, indent=2))
        run.write_result(
            Result(
                "done",
                {"val/rmse": error, "test/rmse": error},
                {"mean": {"test/rmse": 0.3}},
                "cumulative",
                1,
                2.0,
                3.0,
            )
        )
        model = build_model(config, kaggle.LABELS)
        recipe = {"config": config, "labels": kaggle.LABELS.plain()}
        checkpoint_files.save({"state_dict": model.state_dict(), "hyper_parameters": recipe}, run.best)


# --------------------------------------------------------------------------------------------- reading them


def accepted(catalog: Catalog, root: Path, on_bad: OnBad) -> Reading:
    """Reads the images, and looks for contradictions in the accepted data."""
    with TemporaryDirectory() as folder:
        cached = open_cache(catalog.images, CROP, Path(folder), on_bad, 1, catalog.any_frame)
        catalog = catalog.take(cached.kept, cached.skipped)
        crops = OnDisk(cached).gather(torch.arange(len(cached.kept))).numpy()
        names = [str(name) for name in catalog.identifiers.tolist()]
        # An empty number of a user's table is unknown. Galaxy Zoo 2 has zeros where nobody answered.
        known = catalog.known_targets if catalog.name == "table" else catalog.targets
        labels = [()] * len(catalog) if known is None else map(tuple, known.tolist())
        places = [_place(image, root) for image in catalog.images]
        galaxies = {
            name: Galaxy(label, place, crop.tobytes())
            for name, label, place, crop in zip(names, labels, places, crops, strict=True)
        }
    return Reading(galaxies, catalog.skipped, list(_contradictions(catalog, names, places)))


def _place(image: Any, root: Path) -> str:
    if isinstance(image, Hdf5Image):
        return f"{image.dataset}[{image.row}]"
    path = image if isinstance(image, Path) else image.path
    return str(path.relative_to(root))


def _contradictions(catalog: Catalog, names: list[str], places: list[str]) -> Iterator[str]:
    for what, values in (("ids", catalog.ids.tolist()), ("names", names), ("images", places)):
        if len(set(values)) < len(values):
            yield f"{what} are not unique"
    for what, array in (("targets", catalog.targets), ("weights", catalog.weights)):
        if array is not None and not ((array >= 0) & (array <= 1)).all():
            yield f"{what} are not in [0, 1]"
    if catalog.counts is not None and not (catalog.counts >= 0).all():
        yield "counts are negative"
    tolerance = TREE_TOLERANCES.get(catalog.name)
    if tolerance and catalog.labels is not None and catalog.targets is not None:
        questions = catalog.labels.questions
        # First questions sum to 1 in the Galaxy Challenge, but need not in a user's table.
        bound = [parent is not None or catalog.name == "kaggle" for parent in questions.parents]
        if (np.abs(questions.residuals(catalog.known_targets)) > tolerance)[:, bound].any():
            yield "the tree is not obeyed"


def read_user_table(root: Path, on_bad: OnBad, **arguments: Any) -> Reading:
    """A user's table with the numbers of conf/data/table.yaml."""
    return accepted(read_table(root, on_bad, [2, 1, 0], 10.0, **arguments), root, on_bad)


def read_split_file(name: str) -> Callable[[Path, OnBad], Reading]:
    """Looks galaxies up."""

    def read(root: Path, on_bad: OnBad) -> Reading:
        asked = ["1", "22", "J12+3", "4", "5", "6"]
        codes = read_splits(root / name, asked)
        wrong = [] if set(codes.tolist()) <= {-1, 0, 1, 2} else [f"codes are {codes.tolist()}"]
        galaxies = {name: Galaxy((float(code),), "", b"") for name, code in zip(asked, codes, strict=True)}
        return Reading(galaxies, contradictions=wrong)

    return read


def read_mine(root: Path, on_bad: OnBad) -> Reading:
    """Composes and checks a user's configuration as train.py does, and reads the table it describes."""
    readings: list[Reading] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
    @reporting
    def main(config: DictConfig) -> None:
        data = plain(config)["data"]
        catalog = instantiate(data["catalog"], "data.catalog")(root=Path(data["root"]), on_bad=on_bad)
        readings.append(accepted(catalog, Path(data["root"]).expanduser(), on_bad))

    with TemporaryDirectory() as folder:
        arguments = ["--config-dir", str(root / "conf"), "data=mine", f"hydra.run.dir={folder}"]
        with called_with("train.py", *arguments), redirect_error() as said:
            try:
                run_program(main, str(CONF), "train")
            except SystemExit as stop:
                raise UserError(said.getvalue() or f"nothing said, exit status {stop.code}") from stop
    return readings[0]


def read_runs(root: Path, on_bad: OnBad) -> Reading:
    """Compares the runs, loads the damaged one's model, and evaluates on the data it names."""
    galaxies = {}
    table = root / "comparison.csv"
    with redirect_error() as said, redirect_stdout(io.StringIO()):
        status = compare.main([str(root / "sound"), str(root / "harmed"), "--csv", str(table)])
    if status:
        raise UserError(said.getvalue())
    errors = []
    for row in pd.read_csv(table).to_dict("records"):
        galaxies[Path(row["run"]).name] = Galaxy((row["val/rmse"], row["test/rmse"]), "", b"")
        errors += [row["error"]] if isinstance(row["error"], str) else []
    if galaxies["sound"].labels != (0.1, 0.1):
        raise RuntimeError("the sound run has other figures")
    if errors:  # the table lists them beside the sound run
        raise UserError(" ".join(errors))
    arguments, _ = with_inherited_data([f"run={root / 'harmed'}"])
    trained = load(root / "harmed" / "checkpoints" / "best.ckpt")
    model, labels = trained.model, trained.labels
    state = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    galaxies["model"] = Galaxy((), " ".join([*arguments, *labels.columns]), state)
    return Reading(galaxies)


@contextmanager
def called_with(*arguments: str) -> Iterator[None]:
    """Gives a program its command line."""
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def redirect_error() -> Iterator[io.StringIO]:
    """Collects the text on standard error."""
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        yield sys.stderr
    finally:
        sys.stderr = before


# ------------------------------------------------------------------------------------------ plain readings


def plain_rows(name: str, key: tuple[str, ...], columns: tuple[str, ...], classes: str | None = None) -> Any:
    """A reading of a CSV file by Python's own parser: line number to row."""

    def rows(root: Path) -> dict[int, Row]:
        header, lines = plain_table(root / name)
        place = next(header.index(column) for column in key if column in header)
        found = {}
        for number, line in enumerate(lines, 2):
            if any(cell.strip() for cell in line):
                cells = [*line, *[""] * (len(header) - len(line))]
                if classes is not None:
                    labels = tuple(float(cells[header.index(classes)].strip() == kind) for kind in CLASSES)
                else:
                    labels = tuple(_number(cells[header.index(column)]) for column in columns)
                found[number] = Row(cells[place].strip(), labels)
        return found

    return rows


def plain_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the other lines of a text table, by Python's own parser."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    # The mark of UTF-32 begins with that of UTF-16.
    marks = {codecs.BOM_UTF32: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8-sig")
    text = data.decode(encoding)
    separator = max(",;\t|", key=text.partition("\n")[0].count)
    first, *lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [cell.strip().removeprefix("#").strip() for cell in first], lines


def _number(text: str) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return float("nan")
    return min(max(number, 0.0), 1.0) if -ROUNDED <= number <= 1 + ROUNDED else number


def split_rows(root: Path) -> dict[int, Row]:
    """The galaxies of the file that `read_split_file` asks for, and those that it does not list."""
    codes = {"train": 0.0, "val": 1.0, "test": 2.0}
    header, lines = plain_table(root / "splits.csv")
    rows = [dict(zip(header, map(str.strip, line), strict=False)) for line in lines]
    listed = {row["id"]: codes[row["split"]] for row in rows if row.get("id")}
    asked = ["1", "22", "J12+3", "4", "5", "6"]
    return {line: Row(name, (listed.get(name, -1.0),)) for line, name in enumerate(asked, 2)}


QUESTION_TREE = {
    "shape": {"answers": ["smooth", "disk"]},
    "bar": {"answers": ["bar", "no_bar"], "parent": "disk"},
}
ANSWERS = ("smooth", "disk", "bar", "no_bar")
SUBJECTS = (
    Subject(
        "kaggle",
        write_kaggle,
        lambda root, on_bad: accepted(kaggle.read_kaggle(root, on_bad), root, on_bad),
        ("*.csv", "*/*.jpg"),
        plain_rows(kaggle.TABLE, kaggle.ID_COLUMNS, KAGGLE_COLUMNS),
    ),
    Subject(
        "gz2",
        write_galaxy_zoo_2,
        lambda root, on_bad: accepted(gz2.read_gz2(root, on_bad, "debiased", "counts"), root, on_bad),
        (gz2.TABLE, gz2.TABLE, gz2.MAPPING, "*/1.jpg"),
        plain_rows(gz2.TABLE, ("dr7objid",), hart16_columns("debiased")),
    ),
    Subject(
        "galaxy10",
        write_galaxy10,
        lambda root, on_bad: accepted(galaxy10.read_galaxy10(root, on_bad), root, on_bad),
        ("*.h5",),
    ),
    Subject(
        "table, tree, PNG",
        lambda root: write_table(root, "labels.csv", ".png"),
        lambda root, on_bad: read_user_table(
            root, on_bad, image_column="image", id_column="name", questions=QUESTION_TREE
        ),
        ("*.csv", "*.csv", "*/*.png"),
        plain_rows("labels.csv", ("name",), ANSWERS),
    ),
    Subject(
        "table, columns, TIFF",
        lambda root: write_table(root, "labels.csv.gz", ".tif"),
        lambda root, on_bad: read_user_table(root, on_bad, id_column="name", columns=["smooth", "bar"]),
        ("*.csv.gz", "*/*.tif"),
        plain_rows("labels.csv.gz", ("name",), ("smooth", "bar")),
        weight=2,
    ),
    Subject(
        "table, classes",
        lambda root: write_table(root, "labels.csv", ".jpg"),
        lambda root, on_bad: read_user_table(
            root, on_bad, id_column="name", class_column="kind", classes=CLASSES
        ),
        ("*.csv",),
        plain_rows("labels.csv", ("name",), (), classes="kind"),
        weight=2,
    ),
    Subject(
        "table, Parquet, FITS",
        lambda root: write_table(root, "labels.parquet", ".fits"),
        lambda root, on_bad: read_user_table(root, on_bad, id_column="name", questions=QUESTION_TREE),
        ("*.parquet", "*.parquet", "*/*.fits"),
    ),
    Subject(
        "folder",
        write_folder,
        lambda root, on_bad: accepted(read_folder(root, on_bad, [2, 1, 0], 10.0), root, on_bad),
        ("*/*.jpg", "*.png", "*.png", "*.tif", "*.fits", "*.fits.gz"),
    ),
    Subject(
        "folder, packed",
        write_packed,
        lambda root, on_bad: accepted(read_folder(root, on_bad, [0, 1, 2], 10.0), root, on_bad),
        ("*.fits.fz", "*.fits.gz", "*.jpeg", "*.tiff"),
    ),
    Subject("splits", write_splits, read_split_file("splits.csv"), ("*.csv",), split_rows, weight=2),
    Subject("splits, Parquet", write_splits, read_split_file("splits.parquet"), ("*.parquet",), weight=1),
    Subject("questions", write_mine, read_mine, ("conf/*/*.yaml",), weight=1),
    Subject(
        "run folder",
        write_runs,
        read_runs,
        ("harmed/*.json", "harmed/*.yaml", "harmed/checkpoints/best.ckpt"),
        weight=3,
    ),
)
