"""Which targets a file from a folder may name."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from galaxy.config.paths import CONF
from galaxy.config.trust import (
    Trust,
    UntrustedError,
    check_trusted,
    targets,
    trust_arguments,
    trusted_packages,
    trusting,
)
from galaxy.system.errors import UserError
from tests.helpers import stranger
from tests.helpers.own_package import install, write_package

PACKAGE = "own_trusted"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of one's own and one of somebody else."""
    root = tmp_path_factory.mktemp("packages")
    package = write_package(root, PACKAGE)
    with (package / "models.py").open("a") as file:
        file.write("import os\nfrom pathlib import Path\nfrom galaxy.models.deep_cnn import DeepCNN\n")
    stranger.write_stranger(root)
    return root


@pytest.fixture
def packages(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, on Python's path. Nothing of the stranger's may be imported."""
    monkeypatch.syspath_prepend(root)
    yield root
    assert stranger.traces(root) == []
    assert stranger.NAME not in sys.modules


def test_every_target_of_the_options_is_trusted() -> None:
    trust = Trust()
    for file in CONF.glob("*/*.yaml"):
        for _, target in targets(yaml.safe_load(file.read_text(encoding="utf-8"))):
            assert trust.lacks(target) is None, file


@pytest.mark.parametrize(
    "target",
    [
        "galaxy.models.heads.TreeHead.fractions",
        "galaxy.models.heads.tree.TreeHead",  # an option names it
        "galaxy.learning.losses.mse.MSE",
        "galaxy.surveys.kaggle.read_kaggle",
        "galaxy.data.targets.as_labelled.AsLabelled",
    ],
)
def test_parts_of_galaxy_need_no_trust(target: str) -> None:
    assert (Trust().lacks(target) is None) == (not target.endswith("fractions"))


@pytest.mark.parametrize(
    ("target", "package"),
    [
        ("os.system", "os"),
        ("galaxy.system.files.os.system", "posix"),
        ("galaxy.models.deep_cnn.nn.Sequential", "torch"),
        ("galaxy.models.resnet.Path.mkdir", "pathlib"),
        ("galaxy.system.files.write_text", "galaxy"),
        ("galaxy.cli.evaluate.evaluate_from_settings", "galaxy"),
        ("galaxy.models.encoder.Encoder", "galaxy"),
        ("galaxy.models.no_such_module.Model", ""),
        ("galaxy.__main__.main", ""),
        ("galaxy_of_others.Model", "galaxy_of_others"),
        ("galaxy", ""),
        ("", ""),
        ("..os.system", ""),
        ("${oc.env:TARGET}", ""),
        (f"{stranger.NAME}.call", stranger.NAME),
        (f"{PACKAGE}.models.Tiny", PACKAGE),
    ],
)
def test_other_code_is_not_trusted(packages: Path, target: str, package: str) -> None:
    assert Trust().lacks(target) == package


@pytest.mark.parametrize(
    ("target", "package"),
    [
        (f"{PACKAGE}.models.Tiny", None),
        (f"{PACKAGE}.surveys.read_own", None),
        (f"{PACKAGE}.callbacks.Note", None),
        (f"{PACKAGE}.models.DeepCNN", None),  # a part of Galaxy under another name
        (f"{PACKAGE}.models.os.system", "posix"),
        (f"{PACKAGE}.models.Path", "pathlib"),
        (f"{PACKAGE}.models.nn.Linear", "torch"),
        (f"{PACKAGE}.models.Tinny", ""),
        (f"{PACKAGE}.no_such_module.Tiny", ""),
        (f"{PACKAGE}x.Tiny", f"{PACKAGE}x"),
    ],
)
def test_a_trusted_package_is_trusted_with_what_it_defines(
    packages: Path, target: str, package: str | None
) -> None:
    assert Trust([PACKAGE]).lacks(target) == package


def test_of_a_plugin_options_and_subclasses_of_the_bases_are_trusted(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    for conf in sorted((packages / PACKAGE / "conf").rglob("*.yaml")):
        for _, target in targets(yaml.safe_load(conf.read_text(encoding="utf-8"))):
            assert Trust().lacks(target) is None
    with monkeypatch.context() as patch:
        patch.setattr("galaxy.config.trust._named_targets", set)
        assert Trust().lacks(f"{PACKAGE}.losses.Quartic") is None
        assert Trust().lacks(f"{PACKAGE}.callbacks.Note") == PACKAGE
        assert Trust().lacks(f"{PACKAGE}.models.os.system") == "posix"


def test_the_message_names_files_keys_and_packages(packages: Path) -> None:
    nodes = {
        "model": {"_target_": f"{PACKAGE}.models.Tiny"},
        "loss": {"inside": [{"_target_": "no_such_package.Loss"}]},
        "head": {"_target_": "galaxy.models.heads.tree.TreeHead"},
    }
    with pytest.raises(UntrustedError) as caught:
        check_trusted(nodes, Path("run/config.yaml"))
    message = str(caught.value)
    assert f"run/config.yaml: model would call {PACKAGE}.models.Tiny\n" in message
    assert "run/config.yaml: loss.inside[0] would call no_such_package.Loss (Python finds no" in message
    assert "add the folder that holds it to PYTHONPATH" in message
    assert f"trust=[no_such_package,{PACKAGE}]" in message
    assert "TreeHead" not in message


@pytest.mark.parametrize(
    "text",
    [
        "${oc.create:{_target_: os.system}}",
        "${oc.decode:x}",
        "${oc.select:nothing,{_target_: os.system}}",
        "${${which}.create:{_target_: os.system}}",
        "a ${now:%Y} ${oc.dict.values:{a: 1}}",
    ],
)
def test_an_interpolation_that_may_become_a_target_is_refused(text: str) -> None:
    with pytest.raises(UntrustedError, match="not known before"):
        check_trusted({"model": {"width": text}}, Path("config.yaml"))


def test_other_interpolations_are_no_targets() -> None:
    node = {"a": "${crop.size}", "b": "${now:%Y}-${pid:}", "c": "${.a}", "d": "${oc.select:crop.size,1}"}
    assert list(targets({"crop": {"_target_": "own.Crop", **node}})) == [("crop", "own.Crop")]


def test_a_trusted_package_that_fails_to_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_broken.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"own_broken\.Model cannot be imported: .*no_such_package"):
        Trust(["own_broken"]).lacks("own_broken.Model")
    with pytest.raises(UserError, match="add the folder that holds it to PYTHONPATH"):
        Trust(["own_missing"]).lacks("own_missing.Model")


def test_the_environment_names_packages_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALAXY_TRUST", "own_models, own_losses")
    assert trusted_packages() == ["own_models", "own_losses"]
    with trusting(["more"]):
        assert os.environ["GALAXY_TRUST"] == "own_models,own_losses,more"
    assert trusted_packages() == ["own_models", "own_losses"]


def test_the_argument_of_a_later_command_names_what_the_run_needs(packages: Path) -> None:
    ours, own = {"_target_": "galaxy.models.mlp.MLP"}, {"_target_": "no_such_package.Tiny"}
    assert trust_arguments() == []
    assert trust_arguments({"model": ours}) == []
    # A command that is pasted must not allow what runs any program.
    assert trust_arguments({"model": own, "loss": {"_target_": "os.system"}}) == ["trust=[no_such_package]"]
    with trusting(["first"]):
        assert trust_arguments() == ["trust=[first]"]
        assert trust_arguments({"a": ours}, {"b": [own]}) == ["trust=[first,no_such_package]"]
