"""Arguments with names that Hydra's grammar would misread, typed or completed by a shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from galaxy.cli.notation import in_hydras_notation, value_of
from galaxy.config import ConfigError

NAMES = (
    *(
        "Größe",
        "名前",
        "with,comma",
        "0-model=mean",
        "a b",
        " leading",
        "(1)",
        "b[1]",
        "{x}",
        "it's",
        'say "x"',
    ),
    *(
        "100%",
        "#1",
        "a@b",
        "a:b",
        "$5",
        "a;b",
        "a&b",
        "`a`",
        "a\\b",
        "2024",
        "2024_01",
        "1e5",
        "true",
        "~x",
        "a,b,c",
    ),
    *("[x", "x]", "{x", "sort(1)", "a~", "!x", "x*", "-x", "+x"),
)
KEYS = (
    *("run", "checkpoint", "resume", "out", "data.root", "data.cache", "data.split_file", "hydra.run.dir"),
    *("data.catalog.class_column", "data.catalog.id_column", "+callbacks.mine.dirpath"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_whatever_characters_it_has(here: Path, name: str) -> None:
    for exists in (False, True):
        if exists:
            (here / name).mkdir()
        elif name.strip() != name:
            continue  # Hydra's grammar leaves out spaces at the ends, unless there is such a path.
        for key in KEYS:
            (written,) = in_hydras_notation([f"{key}={name}"])
            assert value_of(written) == name


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "," not in name and name not in ("[x", "x]", "{x")]
)
def test_names_in_lists_are_text(here: Path, name: str) -> None:
    if name == " leading":
        return
    (written,) = in_hydras_notation([f"run=[{name},runs/other]"])
    assert value_of(written) == [name, "runs/other"]


def test_paths_with_commas_in_lists_are_found(here: Path) -> None:
    (here / "with,comma").mkdir()
    (here / "x").mkdir()
    (written,) = in_hydras_notation(["run=[x,with,comma,x]"])
    assert value_of(written) == ["x", "with,comma", "x"]


@pytest.mark.parametrize(
    "argument",
    [
        *(
            "model=mlp",
            "seed=1,2",
            "optimizer.lr=1e-3",
            "crop=roi64,roi128",
            "model=choice(mlp,knn)",
            "run=null",
        ),
        *("data.root='quoted, (1)'", "+a={b:[1,2]}", "~callbacks.best", "-m", "data.root=${oc.env:HOME}/x"),
        *("seed=range(1,4)", "'crops=[a,b]'", "data.limit=600", "data.on_bad=skip", "hydra.mode=RUN"),
    ],
)
def test_what_hydra_reads_rightly_stays(here: Path, argument: str) -> None:
    assert in_hydras_notation([argument]) == [argument]


def test_a_comma_of_a_sweep_separates_values(here: Path) -> None:
    assert in_hydras_notation(["-m", "data.root=x,y"])[1] == "data.root=x,y"
    (here / "x,y").mkdir()
    assert value_of(in_hydras_notation(["-m", "data.root=x,y"])[1]) == "x,y"
    (here / "y").mkdir()
    with pytest.raises(ConfigError, match="may be one path with a comma or several paths") as caught:
        in_hydras_notation(["-m", "data.root=x,y"])
    one, _, several = str(caught.value).partition("write ")[2].partition("\n")[0].partition(" or ")
    assert value_of(shlex.split(one)[0]) == "x,y"
    assert shlex.split(several) == ["data.root=choice(x,y)"]
    assert value_of(in_hydras_notation(["data.root=x,y"])[0]) == "x,y"


def test_words_that_are_not_ascii_work_in_lists_and_mappings(here: Path) -> None:
    (columns,) = in_hydras_notation(["data.catalog.columns=[Größe,smooth]"])
    assert value_of(columns) == ["Größe", "smooth"]
    (tree,) = in_hydras_notation(["data.catalog.questions={a:{answers:[Größe,b (1)]}}"])
    assert value_of(tree) == {"a": {"answers": ["Größe", "b (1)"]}}


def test_a_tilde_is_the_home_folder_in_every_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a, (b)")
    assert value_of(in_hydras_notation(["hydra.run.dir=~/x"])[0]) == "/home/a, (b)/x"
    assert value_of(in_hydras_notation(["out=~"])[0]) == "/home/a, (b)"
    assert in_hydras_notation(["--config-dir=~/conf"]) == ["--config-dir=/home/a, (b)/conf"]
    monkeypatch.setenv("HOME", "/home/b")
    assert value_of(in_hydras_notation(["run=[~/x,~/y]"])[0]) == ["/home/b/x", "/home/b/y"]


def test_a_variable_that_the_shell_left_alone_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/home/a b")
    for value in ("$DATA_DIR/x", "${DATA_DIR}/x"):
        with pytest.raises(ConfigError, match=re.escape("did you mean 'data.root=/home/a b/x'?")):
            in_hydras_notation([f"data.root={value}"])
    for argument in ("data.root=$NO_SUCH_VARIABLE", "data.root=${oc.env:HOME}", "loss.name=$DATA_DIR"):
        assert in_hydras_notation([argument])[0].partition("=")[0] == argument.partition("=")[0]
    (here / "$DATA_DIR").mkdir()
    assert value_of(in_hydras_notation(["data.root=$DATA_DIR"])[0]) == "$DATA_DIR"


@pytest.mark.parametrize("key", ["data.root", "run", "out", "hydra.run.dir"])
def test_an_empty_path_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is empty"):
        in_hydras_notation([f"{key}="])


def test_what_a_shell_completes_is_read(here: Path) -> None:
    for name in ("with,comma (1)", "a=b [c]"):
        (here / name).mkdir()
        # Bash and zsh complete file names with backslashes, which the shell takes away again.
        typed = f"printf %s data.root={shlex.quote(name)[1:-1]}".replace(" ", "\\ ").replace(
            "printf\\ %s\\ ", "printf %s "
        )
        typed = typed.replace("(", "\\(").replace(")", "\\)").replace("[", "\\[").replace("]", "\\]")
        given = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True).stdout
        assert value_of(in_hydras_notation([given])[0]) == name


def test_a_column_in_brackets_is_text() -> None:
    for argument in ("data.catalog.class_column=[OIII]", "+data.catalog.group_column=[O III]"):
        assert value_of(in_hydras_notation([argument])[0]) == argument.partition("=")[2]
    assert value_of(in_hydras_notation(["data.catalog.extra_columns=[OIII]"])[0]) == ["OIII"]


def test_a_folder_without_a_key_is_refused_and_that_of_an_option_is_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"did you mean run={tmp_path}?")):
        in_hydras_notation([str(tmp_path)])
    given = ["--config-dir", str(tmp_path), "model=mean"]
    assert in_hydras_notation(given) == given
