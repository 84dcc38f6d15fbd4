"""What people get wrong, in their settings and in their data, as one table walked through the command line.

Settings that cannot be composed have a table of their own in test_config.py, for a project of toys.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2, KAGGLE_COLUMNS, hart16_columns
from tests.conftest import Command, write_survey

COUNT = 40
KAGGLE, MAPPING, HART = "training_solutions_rev1.csv", "gz2_filename_mapping.csv", "gz2_hart16.csv"
IMAGES = "images_training_rev1"
BASE = [
    *("crop=center64", "crop.size=16", "model=mean", "trainer=cpu", "trainer.max_epochs=1"),
    *("trainer.enable_progress_bar=false", "data.val_fraction=0.2", "data.test_fraction=0.2"),
]
# Braces are doubled: arguments are formatted.
TREE = "{{a:{{answers:[smooth,disk]}},b:{{answers:[bar,no_bar],parent:disk}}}}"
CLASSES = "target=classes loss=cross_entropy"
NETWORK = "model=deep_cnn crop.size=32"
Damage = Callable[[Path], None]


# --------------------------------------------------------------------------------------- sound surveys


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of every survey, by the name of its option."""
    root = tmp_path_factory.mktemp("surveys")
    kaggle = write_survey(root / "kaggle", COUNT, side=32)
    shutil.copytree(kaggle / IMAGES, kaggle / "images_test_rev1")
    table = pd.read_csv(kaggle / KAGGLE)
    fractions, _ = GALAXY_ZOO_2.conditional(table[list(KAGGLE_COLUMNS)].to_numpy())

    shutil.copytree(kaggle / IMAGES, root / "gz2" / "images")
    labels = pd.DataFrame(fractions, columns=list(hart16_columns("debiased")))
    labels.insert(0, "dr7objid", 587_722_981_741_363_294 + table["GalaxyID"])
    labels.to_csv(root / "gz2" / HART, index=False)
    mapping = pd.DataFrame({"objid": labels["dr7objid"], "sample": "original", "asset_id": table["GalaxyID"]})
    mapping.to_csv(root / "gz2" / MAPPING, index=False)

    (root / "galaxy10").mkdir()
    with h5py.File(root / "galaxy10" / "Galaxy10_DECals.h5", "w") as file:
        shades = np.arange(1, COUNT + 1, dtype=np.uint8)[:, None, None, None]
        images = np.broadcast_to(shades, (COUNT, 256, 256, 3))
        file.create_dataset("images", data=images, chunks=(1, 256, 256, 3), compression="gzip")
        file["ans"] = np.arange(COUNT) % 10
        file["ra"], file["dec"] = np.linspace(0, 300, COUNT), np.linspace(-80, 80, COUNT)

    shutil.copytree(kaggle / IMAGES, root / "table" / "images")
    own = pd.DataFrame({"id": table["GalaxyID"], "smooth": table["Class1.1"], "disk": 1 - table["Class1.1"]})
    own["bar"], own["no_bar"] = own["disk"] * 0.25, own["disk"] * 0.75
    own["kind"] = np.where(own["smooth"] > own["disk"], "smooth", "disk")
    own.to_csv(root / "table" / "labels.csv", index=False)
    shutil.copytree(kaggle / IMAGES, root / "folder")
    return root


# ------------------------------------------------------------------------------------------------ damage


def edit(name: str, *changes: tuple[int, str, str]) -> Damage:
    """Puts other texts into cells of a table: (row, column, text); row 0 is line 2 of the file."""

    def damage(root: Path) -> None:
        frame = pd.read_csv(root / name, dtype=str, keep_default_na=False)
        for row, column, text in changes:
            frame.loc[row, column] = frame.loc[int(text[4:]), column] if text.startswith("row ") else text
        frame.to_csv(root / name, index=False)

    return damage


def rename(name: str, **columns: str) -> Damage:
    """Gives columns other names."""
    pairs = {old.replace("__", "."): new for old, new in columns.items()}
    return lambda root: (
        pd.read_csv(root / name, dtype=str).rename(columns=pairs).to_csv(root / name, index=False)
    )


def content(name: str, data: bytes) -> Damage:
    """Writes other bytes into a file."""
    return lambda root: _written(root / name, data)


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def without(name: str) -> Damage:
    """Takes a file away."""
    return lambda root: (root / name).unlink()


def image(name: str, kind: str) -> Damage:
    """Damages an image file, or puts another in its place."""

    def damage(root: Path) -> None:
        path = root / name
        data = path.read_bytes() if path.exists() else b""
        if kind == "odd":
            cv2.imwrite(str(path), np.zeros((20, 31, 3), np.uint8))
        elif kind == "FITS without image":
            fits.HDUList([fits.PrimaryHDU()]).writeto(path)
        else:
            path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"no image"}[kind])

    return damage


def hdf5(**columns: object) -> Damage:
    """Puts other datasets into the HDF5 file; None takes one away."""

    def damage(root: Path) -> None:
        with h5py.File(root / "Galaxy10_DECals.h5", "a") as file:
            for name, values in columns.items():
                del file[name]
                if values is not None:
                    file[name] = values

    return damage


def chunk(row: int) -> Damage:
    """Overwrites the middle of a compressed image in the HDF5 file."""

    def damage(root: Path) -> None:
        path = root / "Galaxy10_DECals.h5"
        with h5py.File(path) as file:
            place = file["images"].id.get_chunk_info(row)
        with path.open("r+b") as file:
            file.seek(place.byte_offset + place.size // 2)
            file.write(b"\xff" * 8)

    return damage


def configuration(name: str, text: str) -> Damage:
    """Writes a user's own option beside the data."""

    def damage(root: Path) -> None:
        (root / "conf" / "data").mkdir(parents=True)
        (root / "conf" / "data" / name).write_text(text)

    return damage


# --------------------------------------------------------------------------------------------- the table


class Case(NamedTuple):
    """A mistake.

    Attributes:
        what: Is wrong.
        arguments: Of `train.py`; `{root}` is the survey's folder.
        said: Words of the message.
        status: With which the program ends: 2 where the configuration is wrong, which is found before a
            folder is made; 1 where anything else is.
        damage: To the survey.
    """

    what: str
    arguments: str
    said: tuple[str, ...]
    status: int = 1
    damage: tuple[Damage, ...] = ()


SETTINGS = (
    Case(
        "keys, types and words",
        "data=kaggle crop.sise=64 +optimizer.lrr=1 data.batch_size=many data.on_bad=skipp modle=mean lr",
        (
            *(
                "has 6 mistakes",
                "crop.sise",
                "mean crop.size?",
                "optimizer.lrr",
                "mean lr?",
                "did you mean skip?",
            ),
            *("data.batch_size is many, but must be a whole number", "mean model?", "lr is not an override"),
        ),
        2,
    ),
    Case("unknown option", "data=kaggle model=resnet19", ("no option resnet19", "did you mean resnet18?"), 2),
    Case(
        "words of speed",
        "data=kaggle data.residence=gpu trainer.compile=fast",
        ("must be auto or disk or memory or device", "be true or false or default or reduce-overhead or"),
        2,
    ),
    Case(
        "clipping in the middle of a fused step",
        "data=kaggle trainer.accelerator=auto trainer.precision=16-mixed trainer.gradient_clip_val=1",
        ("optimizer.fused=false",),
        2,
    ),
    Case(
        "gradients summed in CUDA graphs",
        "data=kaggle trainer.compile=reduce-overhead trainer.accumulate_grad_batches=2",
        ("trainer.compile=true or trainer.accumulate_grad_batches=1",),
        2,
    ),
    Case("missing required value", "data=gz2 data.root=???", ("data.root is required",), 2),
    Case("sweep without -m", "data=kaggle model=mean,knn", ("model=mean,knn gives several values", "-m"), 2),
    Case(
        "options that do not go together",
        "data=kaggle model=deep_cnn head=sigmoid loss=dirichlet_multinomial data.counts=true "
        "trainer.precision=16-mixed",
        (
            *("head is sigmoid, which does not work with loss=dirichlet_multinomial", "allowed: tree"),
            *("data.counts is true, which does not work with data=kaggle", "trainer.accelerator is cpu"),
        ),
        2,
    ),
    Case(
        "classes where there are none",
        "data=galaxy10 target=fractions model=logistic",
        ("target is fractions, which does not work with data=galaxy10", "does not work with model=logistic"),
        2,
    ),
    Case(
        "a user's file that is no YAML",
        "--config-dir {root}/conf data=mine",
        ("mine.yaml, line 4", "is not YAML"),
        2,
        (configuration("mine.yaml", "defaults: [table, _self_]\ncatalog:\n  columns: [smooth\nroot: x\n"),),
    ),
    Case(
        "a user's file that is a word",
        "--config-dir {root}/conf data=mine",
        ("mine.yaml", "cannot be used"),
        2,
        (configuration("mine.yaml", "defaults\n"),),
    ),
    Case(
        "misspelt option in a user's file",
        "--config-dir {root}/conf data=mine",
        ("data has no option tabel; did you mean table?", "mine.yaml, line 1"),
        2,
        (configuration("mine.yaml", "defaults: [tabel, _self_]\nroot: x\n"),),
    ),
    Case(
        "misspelt key in a user's file",
        "--config-dir {root}/conf data=mine",
        ("data.catalog.colums", "did you mean columns?", "mine.yaml, line 4"),
        2,
        (configuration("mine.yaml", "defaults: [table, _self_]\nroot: x\ncatalog:\n  colums: [a]\n"),),
    ),
    Case("no epochs", "data=kaggle data.root=/nowhere trainer.max_epochs=0", ("trainer.max_epochs is 0",), 2),
    Case(
        "epochs without a time",
        "data=kaggle data.root=/nowhere trainer.max_epochs=-1",
        ("trainer.max_epochs is -1", "give a time, such as trainer.max_time=00:00:30:00"),
        2,
    ),
    Case(
        "a time without a unit",
        "data=kaggle data.root=/nowhere trainer.max_time=30",
        ("trainer.max_time is 30; it must be days, hours, minutes and seconds",),
        2,
    ),
    Case(
        "a time without days",
        "data=kaggle data.root=/nowhere trainer.max_time=00:00:30",
        ("trainer.max_time is 00:00:30; it must be days, hours, minutes and seconds",),
        2,
    ),
    Case(
        "epochs below zero",
        "data=kaggle data.root=/nowhere trainer.max_epochs=-2",
        ("it must be 1 or more, or -1 with trainer.max_time",),
        2,
    ),
    Case(
        "no end before a number of epochs",
        "data=kaggle data.root=/nowhere trainer.max_epochs=-1 trainer.max_time=00:00:30:00 "
        "+trainer.min_epochs=3",
        ("trainer.min_epochs is 3, but trainer.max_epochs=-1 plans",),
        2,
    ),
    Case(
        "never logs",
        "data=kaggle data.root=/nowhere trainer.log_every_n_steps=0",
        ("trainer.log_every_n_steps is 0",),
        2,
    ),
    Case(
        "clips below zero",
        "data=kaggle data.root=/nowhere trainer.gradient_clip_val=-1",
        ("trainer.gradient_clip_val is -1; it must be above 0, or null",),
        2,
    ),
    Case(
        "never validates",
        "data=kaggle data.root=/nowhere trainer.limit_val_batches=0",
        ("both trains and validates",),
        2,
    ),
    Case("fast_dev_run", "data=kaggle data.root=/nowhere +trainer.fast_dev_run=true", ("trainer=debug",), 2),
    Case("steps", "data=kaggle data.root=/nowhere trainer.max_steps=9", ("use trainer.max_epochs",), 2),
    Case("a few batches", "data=kaggle +trainer.overfit_batches=1", ("use data.limit",), 2),
    Case(
        "no checkpoints", "data=kaggle data.root=/nowhere ~callbacks.best", ("callbacks.best is missing",), 2
    ),
    Case("no checkpoint", "data=kaggle callbacks.best=null", ("callbacks.best is missing",), 2),
    Case("no length", "data=kaggle ~trainer.max_epochs", ("leave out ~trainer.max_epochs",), 2),
    Case("no rate", "data=kaggle ~optimizer.lr", ("leave out ~optimizer.lr",), 2),
    Case(
        "no device",
        "data=kaggle data.root=/nowhere trainer=cpu trainer.devices=0",
        ("trainer.devices is 0",),
        2,
    ),
    Case(
        "unknown metric",
        "data=kaggle data.root=/nowhere callbacks.early_stopping.monitor=val/rsme",
        ("did you mean val/rmse?",),
        2,
    ),
    Case(
        "the worst checkpoint",
        "data=kaggle callbacks.best.monitor=val/r2",
        ("callbacks.best.monitor is val/r2", "set objective.metric=val/r2"),
        2,
    ),
    Case(
        "a model without a loss",
        "data=kaggle objective.metric=val/loss",
        ("objective.metric is val/loss, which no model that is fitted in one go has", "val/rmse/q01 ... q11"),
    ),
    Case(
        "a model that own code does not see",
        "data=kaggle objective.metric=val/own objective.mode=max",
        ("objective.metric is val/own, which no model that is fitted in one go has",),
    ),
    Case(
        "weights that change after validation",
        f"data=kaggle data.root=/nowhere {NETWORK} "
        "+callbacks.swa={{_target_:lightning.pytorch.callbacks.StochasticWeightAveraging,swa_lrs:0.1}}",
        ("callbacks.swa is a StochasticWeightAveraging", "use callbacks=ema"),
    ),
    Case(
        "two averages",
        f"data=kaggle data.root=/nowhere {NETWORK} callbacks=ema "
        "+callbacks.second={{_target_:lightning.pytorch.callbacks.EMAWeightAveraging}}",
        ("callbacks.second averages the weights, as callbacks.ema does",),
    ),
    Case(
        "an average of nothing",
        f"data=kaggle data.root=/nowhere {NETWORK} callbacks=ema callbacks.ema.decay=1",
        ("callbacks.ema.decay is 1; it must be",),
    ),
    Case(
        "a search before the training",
        f"data=kaggle data.root=/nowhere {NETWORK} "
        "+callbacks.finder={{_target_:lightning.pytorch.callbacks.LearningRateFinder}}",
        ("callbacks.finder is a LearningRateFinder", "sweep optimizer.lr"),
    ),
    Case(
        "a second last checkpoint",
        f"data=kaggle data.root=/nowhere {NETWORK} callbacks.best.save_last=true",
        ("callbacks.best.save_last is set by the run itself; use callbacks.last",),
        2,
    ),
    Case(
        "a number of machines",
        f"data=kaggle data.root=/nowhere {NETWORK} +trainer.num_nodes=2",
        ("trainer.num_nodes is set by the run itself; leave it out: trainer=ddp takes the machines",),
        2,
    ),
    Case(
        "a validation after no batch",
        "data=kaggle data.root=/nowhere +trainer.val_check_interval=0",
        ("trainer.val_check_interval is 0; it must be 1 or more batches",),
        2,
    ),
    Case(
        "more epochs than there are",
        "data=kaggle data.root=/nowhere +trainer.min_epochs=9",
        ("trainer.min_epochs is 9, but there are 1 epochs (trainer.max_epochs)",),
        2,
    ),
    Case(
        "names of other programs, modules and groups without a choice",
        "data=kaggle +trainer.gpus=1 optimizer._target_=torch.optim.adamw logger=null "
        "model=conf/model/mlp.yaml",
        (
            *("has 4 mistakes", "did you mean trainer.devices?", "torch.optim.adamw, but that is a module"),
            *("logger cannot be null", "did you mean none?", "did you mean mlp?"),
        ),
        2,
    ),
    Case(
        "a mapping for a group",
        "data=kaggle ~optimizer +optimizer={{_target_:torch.optim.Rprop,_partial_:true,lr:0.1}}",
        ("has a mistake", "optimizer takes the name of an option"),
        2,
    ),
    Case("no group", "data=kaggle ~callbacks", ("callbacks is required",), 2),
    Case(
        "a loss that is none",
        f"data=kaggle data.root=/nowhere {NETWORK} loss._target_=torch.nn.MSELoss",
        ("loss._target_ is torch.nn.MSELoss, which is no galaxy.learning.losses.Loss",),
    ),
    Case(
        "a model that is none",
        "data=kaggle data.root=/nowhere model._target_=torch.nn.ReLU model._partial_=false",
        ("model._target_ is torch.nn.ReLU, which is neither a galaxy.models.Encoder",),
    ),
    Case(
        "a target that cannot be called",
        f"data=kaggle data.root=/nowhere {NETWORK} loss._target_=null",
        ("loss._target_: Expected a callable target",),
    ),
    Case(
        "a callback that is none",
        f"data=kaggle data.root=/nowhere {NETWORK} +callbacks.mine={{{{_target_:torch.nn.ReLU}}}}",
        ("callbacks.mine: it is a ReLU, and not a callback of Lightning",),
    ),
    Case(
        "a width of no unit",
        "data=kaggle data.root=/nowhere model=sirressi_cnn crop.size=32 model.dense=-3",
        ("model.dense is -3; a layer needs 1 or more",),
    ),
    Case(
        "filters of no unit",
        f"data=kaggle data.root=/nowhere {NETWORK} model.filters=[32,0,8]",
        ("model.filters is 32, 0, 8; a layer needs 1 or more",),
    ),
    Case(
        "images smaller than what they are reduced to",
        "data=kaggle model=knn crop.size=8 model.pixels=16",
        ("model.pixels is 16; the images are 8 pixels wide",),
    ),
    Case(
        "more neighbours than galaxies",
        "data=kaggle model=knn model.n_neighbors=1000",
        ("model.n_neighbors is 1000; the training split has",),
    ),
    Case(
        "steps that nobody can count",
        f"data=kaggle data.root=/nowhere {NETWORK} "
        "+callbacks.mine={{_target_:lightning.pytorch.callbacks.GradientAccumulationScheduler,"
        "scheduling:{{0:2}}}}",
        ("callbacks.mine is a GradientAccumulationScheduler, which changes the number of steps",),
    ),
    Case(
        "a folder with a table",
        "data=folder",
        ("If the labels are in labels.csv, use data=table.",),
        damage=(content("labels.csv", b"id,smooth\n"),),
    ),
    Case(
        "a plateau of every step",
        f"data=kaggle data.root=/nowhere {NETWORK} scheduler=plateau scheduler.interval=step",
        ("scheduler.interval is step, but val/rmse is not known after each step",),
    ),
    Case(
        "a plateau of nothing",
        f"data=kaggle data.root=/nowhere {NETWORK} scheduler=plateau scheduler.monitor=null",
        ("scheduler.monitor is null",),
    ),
    Case(
        "a key of the option that an experiment chose",
        "data=kaggle experiment=dieleman data.root=/nowhere scheduler=onecycle",
        ("; '~scheduler.scheduler.gamma' leaves it out", "dieleman.yaml, line"),
        2,
    ),
    Case(
        "an option that an experiment chose",
        "data=kaggle experiment=gz2_keras data.root=/nowhere loss=cross_entropy",
        ("head is sigmoid, which does not work with loss=cross_entropy", "gz2_keras.yaml, line"),
        2,
    ),
    Case(
        "a value that is a copy",
        f"data=kaggle data.root=/nowhere {NETWORK} scheduler=plateau +trainer.check_val_every_n_epoch=null",
        ("scheduler.frequency is null (${oc.select:trainer.check_val_every_n_epoch,1})",),
        2,
    ),
    Case(
        "a plateau between validations",
        f"data=kaggle data.root=/nowhere {NETWORK} scheduler=plateau scheduler.frequency=3 "
        "trainer.max_epochs=4 +trainer.check_val_every_n_epoch=2",
        ("scheduler.frequency is 3, but val/rmse is new every 2 epochs", "use scheduler.frequency=2"),
    ),
    Case(
        "three best checkpoints",
        "data=kaggle callbacks.best.save_top_k=3",
        ("callbacks.best.save_top_k is 3",),
        2,
    ),
    Case(
        "no accelerator",
        "data=kaggle trainer.accelerator=gpuu",
        ("trainer.accelerator is gpuu", "did you mean gpu?"),
        2,
    ),
    Case(
        "no strategy",
        "data=kaggle data.root=/nowhere model=deep_cnn crop.size=32 trainer.strategy=dpp",
        ("trainer.strategy is dpp; it must be auto, ddp",),
        2,
    ),
    Case(
        "no direction",
        "data=kaggle callbacks.best.mode=mn",
        ("callbacks.best.mode is mn, but a smaller val/rmse is better",),
        2,
    ),
    Case(
        "validates after the end",
        "data=kaggle data.root=/nowhere +trainer.check_val_every_n_epoch=99",
        ("trainer.check_val_every_n_epoch is 99",),
        2,
    ),
    Case("negative seed", "data=kaggle data.root=/nowhere seed=-1", ("seed is -1",), 2),
    Case(
        "crop too small",
        "data=kaggle data.root=/nowhere model=deep_cnn",
        ("crop.size is 16; deep_cnn needs",),
    ),
    Case(
        "loss out of range",
        "data=kaggle data.root=/nowhere model=deep_cnn crop.size=32 loss=huber loss.delta=-1",
        ("loss.delta",),
    ),
    Case(
        "unknown weights",
        "data=kaggle data.root=/nowhere model=resnet18 crop.size=32 model.weights=imagnet",
        ("model.weights=imagnet",),
    ),
    Case("nothing to train on", "data=kaggle data.val_fraction=0.9", ("data.val_fraction is 0.9",), 2),
    Case("nothing to validate on", "data=kaggle data.val_fraction=0", ("the val split is empty",)),
    Case("nothing left to train on", "data=kaggle data.limit=1 model=mean", ("split is empty",)),
    Case("negative seed of the splits", "data=kaggle data.split_seed=-1", ("data.split_seed is -1",), 2),
    Case(
        "a fold that is not there",
        "data=kaggle data.folds=5 data.fold=5",
        ("data.fold is 5; it must be from 0 to 4",),
        2,
    ),
    Case("more folds than galaxies", "data=kaggle data.folds=50 data.fold=0", ("falls into fold",)),
    Case(
        "folds and fixed splits",
        "data=kaggle data.folds=5 data.fold=0 data.split_file=/no.csv",
        ("data.folds is 5, but data.split_file=/no.csv fixes the splits",),
        2,
    ),
    Case("classes of fractions", "data=kaggle target=classes", ("data=kaggle has fractions",)),
    Case("kinds of fractions", "data=kaggle data.stratify=true", ("data.stratify is true",)),
    Case(
        "range of a class's confidence",
        "data=kaggle target=question1 target.confident=2 loss=cross_entropy",
        ("target.confident is 2",),
        2,
    ),
    Case(
        "metric of classes on fractions",
        f"data=kaggle {NETWORK} objective.metric=val/accuracy",
        ("objective.metric is val/accuracy, which no run on cumulative labels logs",),
    ),
    Case(
        "metric of a question that is not asked",
        f"data=kaggle {NETWORK} callbacks.early_stopping.monitor=val/rmse/q12",
        ("callbacks.early_stopping.monitor is val/rmse/q12", "did you mean val/rmse/q1"),
    ),
    Case(
        "separation out of range", f"data=galaxy10 {CLASSES} data.catalog.separation=0", ("separation is 0",)
    ),
    Case("bands", "data=table data.catalog.columns=[disk] data.catalog.bands=[0,1]", ("bands is [0, 1]",)),
    Case(
        "two kinds of targets",
        f"data=table {CLASSES} data.catalog.columns=[disk] data.catalog.class_column=kind",
        ("data.catalog.columns is given together with class_column",),
    ),
)

# These stop, whatever data.on_bad says.
STOPS = (
    Case("folder that is not there", "data=kaggle data.root=/nowhere", ("/nowhere", KAGGLE, "data.root")),
    Case("Kaggle without table", "data=kaggle", (KAGGLE, "not found"), damage=(without(KAGGLE),)),
    Case(
        "Kaggle with another column",
        "data=kaggle",
        ("no column Class11.6; did you mean Class11_6?",),
        damage=(rename(KAGGLE, Class11__6="Class11_6"),),
    ),
    Case(
        "Kaggle with a column twice",
        "data=kaggle",
        ("more than one column Class1.2", "no column Class1.1"),
        damage=(rename(KAGGLE, Class1__1="Class1.2"),),
    ),
    Case("Kaggle with an empty table", "data=kaggle", (KAGGLE, "is empty"), damage=(content(KAGGLE, b""),)),
    Case(
        "Kaggle in UTF-16",
        "data=kaggle",
        ("Save it as UTF-8",),
        damage=(content(KAGGLE, b"\xff\xfe\0"),),
    ),
    Case("training without labels", "data=kaggle data.catalog.part=test", ("no labels",)),
    Case("training on a folder", "data=folder", ("classes_from_folders",)),
    Case("an empty folder", "data=folder data.root={root}/conf", ("conf",), damage=(configuration("x", ""),)),
    Case("splits that are nowhere", "data=kaggle data.split_file=/no.csv", ("no data.split_file /no.csv",)),
    Case(
        "splits of other names",
        "data=kaggle data.split_file={root}/s.csv",
        ("s.csv", "100003: 'training'"),
        damage=(content("s.csv", b"id,split\n100003,training\n"),),
    ),
    Case(
        "splits of a galaxy twice",
        "data=kaggle data.split_file={root}/s.csv",
        ("s.csv lists galaxies twice", "100003"),
        damage=(content("s.csv", b"id,split\n100003,train\n100003,test\n"),),
    ),
    Case(
        "splits of other galaxies",
        "data=kaggle data.split_file={root}/s.csv",
        ("lists none of the galaxies",),
        damage=(content("s.csv", b"id,split\n1.0,train\n"),),
    ),
    Case("Galaxy Zoo 2 without mapping", "data=gz2", (MAPPING, "not found"), damage=(without(MAPPING),)),
    Case(
        "Galaxy Zoo 2 without a column",
        "data=gz2",
        ("no column asset_id", MAPPING),
        damage=(rename(MAPPING, asset_id="asset"),),
    ),
    Case("Galaxy Zoo 2 without votes", "data=gz2 data.catalog.labels=counts", ("lacks the votes", "_count")),
    Case(
        "Galaxy10 without file",
        f"data=galaxy10 {CLASSES}",
        ("There is no file", "zenodo"),
        damage=(without("Galaxy10_DECals.h5"),),
    ),
    Case(
        "Galaxy10 cut short",
        f"data=galaxy10 {CLASSES}",
        ("cannot be read as an HDF5 file", "zenodo"),
        damage=(image("Galaxy10_DECals.h5", "cut"),),
    ),
    Case(
        "Galaxy10 with other keys",
        f"data=galaxy10 {CLASSES}",
        ("lacks datasets", "ans", "It has: dec, images, ra"),
        damage=(hdf5(ans=None),),
    ),
    Case(
        "Galaxy10 with floats for classes",
        f"data=galaxy10 {CLASSES}",
        ("ans is (40,) float64, not (40,) integers",),
        damage=(hdf5(ans=np.zeros(COUNT)),),
    ),
    Case("table that is nowhere", "data=table data.catalog.file=other.csv", ("other.csv does not exist",)),
    Case(
        "table without a column",
        "data=table data.catalog.columns=[smoth]",
        ("no column smoth (data.catalog.columns); did you mean smooth?",),
    ),
    Case("table without targets", "data=table", ("no labels",)),
    Case(
        "fractions for classes",
        f"data=table {CLASSES} data.catalog.class_column=smooth",
        ("no column of classes",),
    ),
    Case(
        "tree with a parent that is none",
        "data=table data.catalog.questions={{bar:{{answers:[bar,no_bar],parent:disc}}}}",
        ("data.catalog.questions: bar.parent is disc",),
    ),
)

# These stop, or are left out with data.on_bad=skip.
SKIPS = (
    Case(
        "Kaggle rows and images that do not fit",
        "data=kaggle",
        (
            *("line 2: GalaxyID '100003.0' is not a whole number (was the table saved with ids as floats?)",),
            *(
                "line 4: GalaxyID 100010 is already on line 3",
                "line 5, GalaxyID 100024: Class7.2 is empty or NaN",
            ),
            *("line 6, GalaxyID 100031: Class8.7 is -0.01", "line 7, GalaxyID 100038: Class1.1 is many"),
            *(
                "line 8, GalaxyID 100045: q01 sums to",
                "line 9, GalaxyID 100052: no images_training_rev1/100052.jpg",
            ),
            *("77.jpg: no such GalaxyID", "images_training_rev1/galaxy.jpg: the name is not a GalaxyID"),
        ),
        damage=(
            edit(KAGGLE, (0, "GalaxyID", "100003.0"), (2, "GalaxyID", "row 1"), (3, "Class7.2", "NaN")),
            edit(KAGGLE, (4, "Class8.7", "-0.01"), (5, "Class1.1", "many"), (6, "Class1.1", "1")),
            without(f"{IMAGES}/100052.jpg"),
            content(f"{IMAGES}/77.jpg", b""),
            content(f"{IMAGES}/galaxy.jpg", b""),
        ),
    ),
    Case(
        "Kaggle images that are none",
        "data=kaggle",
        (
            *(
                "100003.jpg: the file is truncated",
                "100010.jpg: the frame is 31 x 20 pixels, others are 32 x 32",
            ),
            *("100017.jpg: the file is empty", "100024.jpg: not an image"),
        ),
        damage=tuple(
            image(f"{IMAGES}/{number}.jpg", kind)
            for number, kind in ((100003, "cut"), (100010, "odd"), (100017, "empty"), (100024, "text"))
        ),
    ),
    Case(
        "Galaxy Zoo 2 rows that do not fit",
        "data=gz2",
        (
            *("line 2: dr7objid '5.87e+17' is not a whole number (was the table saved with ids as floats?)",),
            *("t01_smooth_or_features_a01_smooth_debiased is empty or NaN", "is 1.5", "no images/100024.jpg"),
            *("images/100003.jpg: no dr7objid", f"{MAPPING}, line 6: asset_id 'x' is not a whole number"),
        ),
        damage=(
            edit(
                HART,
                (0, "dr7objid", "5.87e+17"),
                (1, "t01_smooth_or_features_a01_smooth_debiased", ""),
                (2, "t02_edgeon_a04_yes_debiased", "1.5"),
            ),
            without("images/100024.jpg"),
            edit(MAPPING, (4, "asset_id", "x")),
        ),
    ),
    Case(
        "Galaxy10 rows out of range",
        f"data=galaxy10 {CLASSES}",
        ("row 2: ans is 10", "row 3: ans is -1", "row 5: ra is nan"),
        damage=(
            hdf5(
                ans=np.where(
                    np.arange(COUNT) == 2, 10, np.where(np.arange(COUNT) == 3, -1, 1 + np.arange(COUNT) % 9)
                ),
                ra=np.where(np.arange(COUNT) == 5, np.nan, np.linspace(0, 300, COUNT)),
            ),
        ),
    ),
    Case(
        "Galaxy10 with a damaged image",
        f"data=galaxy10 {CLASSES}",
        ("images[7]: cannot be read",),
        damage=(chunk(7),),
    ),
    Case(
        "table with ids as floats",
        "data=table data.catalog.columns=[smooth]",
        ("line 2", "id is 100003.0 (was the table saved with ids as floats?)"),
        damage=(edit("labels.csv", (0, "id", "100003.0")),),
    ),
    Case(
        "table rows and images that do not fit",
        f"data=table data.catalog.questions={TREE}",
        (
            *("line 2: id is empty", "line 3, 100010: smooth is nearly", "line 4, 100017: disk is 1.2"),
            *("line 5, 100024: b sums to", "line 7, 100031: is already on line 6"),
            *("line 8, 100045: no images/100045.*", "line 9, 100052: "),
        ),
        damage=(
            edit("labels.csv", (0, "id", ""), (1, "smooth", "nearly"), (2, "disk", "1.2"), (3, "bar", "0.9")),
            edit("labels.csv", (5, "id", "row 4")),
            without("images/100045.jpg"),
            image("images/100052.png", "odd"),
        ),
    ),
    Case(
        "FITS file without an image",
        "data=table data.catalog.columns=[smooth]",
        ("100003.fits", "axes or more"),
        damage=(without("images/100003.jpg"), image("images/100003.fits", "FITS without image")),
    ),
)


@pytest.fixture
def train(
    command: Command, surveys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Trains on a damaged copy of a survey; returns the exit status and what was said on standard error."""

    def call(case: Case, *more: str) -> tuple[int, str]:
        arguments = case.arguments.format(root=tmp_path / "survey").split()
        survey = next(argument for argument in arguments if argument.startswith("data=")).removeprefix(
            "data="
        )
        shutil.copytree(
            surveys / survey if (surveys / survey).exists() else surveys / "table", tmp_path / "survey"
        )
        for damage in case.damage:
            damage(tmp_path / "survey")
        given = {argument.partition("=")[0] for argument in arguments}
        options = [*BASE, f"data.root={tmp_path}/survey", f"data.cache={tmp_path}/cache", *more]
        options += [f"hydra.run.dir={tmp_path}/run"]
        options = [option for option in options if option.partition("=")[0] not in given]
        front = arguments[:2] if arguments[0].startswith("--") else []
        status = command("train.py", *front, *options, *arguments[len(front) :])
        return status, capsys.readouterr().err

    return call


def assert_refused(case: Case, status: int, message: str, folder: Path) -> None:
    """Asserts that the message is there, and nothing else than a failed run has."""
    assert status == case.status, message
    for words in case.said:
        assert words in message
    assert "Traceback" not in message
    left = {path.name for path in (folder / "run").rglob("*")} if (folder / "run").exists() else set()
    if case.status == 2:
        assert not left
        return
    assert left >= {"config.yaml", "overrides.yaml", "meta.json", "result.json", "train.log"}
    assert not {"predictions.parquet", "splits.parquet", "best.ckpt", "last.ckpt"} & left
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["status"] == "failed"
    log = (folder / "run" / "train.log").read_text()
    for words in case.said:
        assert words in result["error"]
        assert words in log
    # What is wrong was found before the images were decoded, or these are kept for data.on_bad=skip.
    assert case in SKIPS or not list(folder.rglob("*.shard"))
    assert not list(folder.rglob(".*.shard"))
    assert {path.name for path in (folder / "run").glob(".*")} <= {".lock"}


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.what)
def test_a_wrong_setting_is_named(train: Callable[..., tuple[int, str]], tmp_path: Path, case: Case) -> None:
    assert_refused(case, *train(case), tmp_path)


@pytest.mark.parametrize("case", STOPS, ids=lambda case: case.what)
def test_what_nothing_can_be_left_out_of_stops(
    train: Callable[..., tuple[int, str]], tmp_path: Path, case: Case
) -> None:
    assert_refused(case, *train(case, "data.on_bad=skip"), tmp_path)


@pytest.mark.parametrize("case", SKIPS, ids=lambda case: case.what)
def test_bad_rows_and_images_stop(train: Callable[..., tuple[int, str]], tmp_path: Path, case: Case) -> None:
    assert_refused(case, *train(case, "data.on_bad=error"), tmp_path)


@pytest.mark.parametrize("case", SKIPS, ids=lambda case: case.what)
def test_bad_rows_and_images_can_be_left_out(
    train: Callable[..., tuple[int, str]], tmp_path: Path, case: Case
) -> None:
    status, message = train(case, "data.on_bad=skip")
    assert status == 0, message
    data = json.loads((tmp_path / "run" / "meta.json").read_text())["data"]
    assert data["skipped"] > 0
    log = (tmp_path / "run" / "train.log").read_text()
    for words in case.said:
        assert words in log
    assert data["galaxies"] < COUNT
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"
