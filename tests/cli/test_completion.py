"""Completion in bash: what it installs, and what it offers for the line that is being typed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from galaxy.cli.main import COMMANDS, main
from tests.conftest import PROJECT, Command

Offer = Callable[[str], list[str]]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offer:
    """Asks as the function in the shell does: the command in the line with `-sc query=bash`."""
    for name in COMMANDS:  # runpy warns of a module that another test has imported
        monkeypatch.delitem(sys.modules, f"galaxy.cli.{name}", raising=False)

    def call(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setattr(sys, "argv", ["galaxy", "-sc", "query=bash"])
        main()
        said = capsys.readouterr()
        assert not said.err
        return said.out.split()

    return call


def test_commands_groups_options_and_keys_are_offered(offer: Offer) -> None:
    assert offer("galaxy ") == list(COMMANDS)
    assert offer("galaxy ex") == ["explore", "export"]
    assert "model=" in offer("galaxy train mod")
    assert offer("galaxy train model=mlp crop=roi") == ["crop=roi128", "crop=roi64"]
    assert "optimizer.lr=" in offer("galaxy train -m optimizer.")
    assert "run=" in offer("galaxy evaluate r")
    assert offer("galaxy evaluate da") == ["data="]
    assert offer("galaxy evaluate mod") == []
    assert offer("galaxy evaluate model=m") == []


@pytest.mark.parametrize(
    "line",
    ["galaxy compare ", "galaxy nothing x", "galaxy train --nothing crop=", "galaxy train modle=x lo."],
)
def test_a_line_that_cannot_be_completed_prints_no_message(offer: Offer, line: str) -> None:
    assert offer(line) == []


def test_bash_completes_what_was_installed(tmp_path: Path) -> None:
    galaxy = tmp_path / "galaxy"
    galaxy.write_text(f'#!/bin/bash\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m galaxy "$@"\n')
    galaxy.chmod(0o755)
    script = """eval "$(galaxy -sc install=bash)"
        COMP_LINE="galaxy train loss=hu" COMP_CWORD=2
        hydra_bash_completion
        echo "${COMPREPLY[@]}"; complete -p galaxy"""
    ran = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[0] == "loss=huber"
    assert "hydra_bash_completion" in ran.stdout


@pytest.mark.parametrize("arguments", [("query=bash",), ("install=tcsh",), (), ("install=bash", "model=mlp")])
def test_what_only_a_shell_can_ask_is_refused(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert command("train.py", "-sc", *arguments) == 2
    said = capsys.readouterr().err
    assert "-sc install=bash)" in said
    assert "Traceback" not in said
