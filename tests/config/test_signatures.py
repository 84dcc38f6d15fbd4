"""Signatures read from source, against those that Python reports once everything is imported."""

import ast
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

from galaxy.config.annotations import describe, fits
from galaxy.config.resolvers import job_name
from galaxy.config.signatures import UnknownNameError, signature_of

# Re-exported, decorated, inherited, a function, a dataclass, and through `from ... import *`.
TARGETS = (
    "torch.optim.AdamW",
    "torch.optim.SGD",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.nn.MSELoss",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "galaxy.data.datamodule.GalaxyDataModule",
    "galaxy.models.resnet.ResNet",
    "galaxy.learning.losses.huber.Huber",
    "galaxy.learning.losses.mse.MSE",
    "galaxy.surveys.kaggle.read_kaggle",
    "galaxy.runs.result.Result",
)


@pytest.mark.parametrize("target", TARGETS)
def test_signature_is_the_one_that_python_reports(target: str) -> None:
    module, _, name = target.rpartition(".")
    reported = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    named = [p for p in reported if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    read = signature_of(target)
    assert read is not None
    # The signature of nn.Module, which MSE inherits, promises what its body refuses.
    if target != "galaxy.learning.losses.mse.MSE":
        assert list(read.parameters) == [p.name for p in named]
        assert [p.required for p in read.parameters.values()] == [p.default is p.empty for p in named]
        assert read.open == any(p.kind == p.VAR_KEYWORD for p in reported)
    else:
        assert (read.parameters, read.open) == ({}, False)


def test_a_constructor_takes_what_it_hands_on_to_its_base() -> None:
    own, base = (
        signature_of("galaxy.learning.lean_trainer.Trainer"),
        signature_of("lightning.pytorch.Trainer"),
    )
    assert own is not None
    assert base is not None
    assert own.parameters.keys() == base.parameters.keys() | {"tf32", "compile"}
    assert not own.open


@pytest.mark.parametrize("target", ["math.sqrt", "torch._C.Generator", "pathlib.Path.cwd"])
def test_what_only_an_import_could_tell_is_not_checked(target: str) -> None:
    assert signature_of(target) is None


@pytest.mark.parametrize(
    ("target", "owner", "name", "meant"),
    [
        ("galaxy.learning.loses.MSE", "galaxy.learning", "loses", "losses"),
        ("galaxy.learning.losses.mse.MSSE", "galaxy.learning.losses.mse", "MSSE", "MSE"),
        ("torch.optim.AdamX", "torch.optim", "AdamX", "Adam"),
        ("no_such_package.Thing", "the Python environment", "no_such_package", None),
        ("galaxy.models.mlp", "galaxy.models.mlp", "", "MLP"),  # a module, which nothing can call
        ("galaxy.learning.losses", "galaxy.learning.losses", "", "mse"),
    ],
)
def test_unknown_name_says_who_lacks_it(target: str, owner: str, name: str, meant: str | None) -> None:
    with pytest.raises(UnknownNameError) as caught:
        signature_of(target)
    assert (caught.value.owner, caught.value.name) == (owner, name)
    assert meant is None or meant in caught.value.known


def test_source_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive").mkdir()
    (tmp_path / "explosive" / "__init__.py").write_text(
        "from .parts import Thing as Thing\nraise SystemExit\n"
    )
    (tmp_path / "explosive" / "parts.py").write_text(
        "from dataclasses import dataclass, field\n"
        "raise SystemExit\n"
        "@dataclass\nclass Base:\n    size: int\n    names: list[str] = field(default_factory=list)\n"
        "@dataclass\nclass Thing(Base):\n    total: int = field(init=False)\n    scale: float = 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    read = signature_of("explosive.Thing")
    assert read is not None
    assert {name: p.required for name, p in read.parameters.items()} == {
        "size": True,
        "names": False,
        "scale": False,
    }
    assert "explosive" not in sys.modules


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [3, -1], [True, 1.5, "3", None, [3]]),
        ("float", [3, 0.5], [False, "0.5", None]),
        ("bool", [True], [1, "true"]),
        ("str", ["a"], [1, True, None]),
        ("Path", ["data"], [3]),
        ("int | None", [3, None], ["none", True]),
        ("Optional[Union[int, float]]", [3, 0.5, None], ["a"]),
        ("Literal['a', 1] | None", ["a", 1, None], ["b", True, 1.0]),
        ("list[int]", [[], [1, 2]], [1, ["a"], None]),
        ("tuple[int, float]", [[1, 0.5]], [[1], [1, 2, 3], ["a", 1]]),
        ("tuple[int, ...]", [[], [1, 2, 3]], [["a"]]),
        ("dict[str, float]", [{"a": 1}], [{"a": "b"}, [1]]),
        ("float | Tensor", [0.5], ["abc"]),
        ("Union[str, Strategy]", ["ddp"], [3]),
        ("'int | None'", [3, None], ["a"]),
        ("Callable[..., int]", [{"_target_": "x.y"}], []),
        ("_PRECISION_INPUT | None", ["16-mixed", 16, None], []),
        ("int", [{"_target_": "x.y"}], [{"a": 1}]),
    ],
)
def test_values_fit_annotations(annotation: str, good: list[Any], bad: list[Any]) -> None:
    tree = ast.parse(annotation, mode="eval").body
    assert [value for value in good if not fits(tree, value)] == []
    assert [value for value in bad if fits(tree, value)] == []


def test_annotation_is_described_in_words() -> None:
    tree = ast.parse("Literal['error', 'skip'] | tuple[int, float] | list[str] | None", mode="eval").body
    assert describe(tree) == "error or skip or [a whole number, a number] or [text, ...] or null"


def test_job_folder_says_what_sets_the_job_apart() -> None:
    assert job_name(3, "loss=mse,model=small_cnn") == "3-loss=mse,model=small_cnn"
    assert job_name(0, "") == "0"
    assert "/" not in job_name(1, "data.root=/data/kaggle")
    assert len(job_name(12, "data.catalog.class_column=" + "\u661f" * 100).encode()) < 255
    assert len(job_name(1, "x=" + "y" * 999)) < 255
