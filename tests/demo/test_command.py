"""The command line of the page: mistakes are said before anything is read."""

import runpy
import socket
import sys
from pathlib import Path

import pytest


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        monkeypatch.delitem(sys.modules, "galaxy.cli.demo", raising=False)
        with pytest.raises(SystemExit) as stop:
            runpy.run_module("galaxy.cli.demo", run_name="__main__")
        return int(stop.value.code or 0), "".join(capsys.readouterr())

    return call


def test_help_says_what_every_key_is(demo) -> None:
    status, shown = demo("--help")
    assert status == 0
    for key in ("run", "checkpoint", "split", "accelerator", "host", "port", "trust", "data"):
        assert f"\n{key} " in shown


def test_mistakes_are_said_at_once(demo, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    mlp, mean = (f"{folder}" for folder in runs.values())
    assert "give one of run=DIR" in demo()[1]
    assert "port is 70000; it must be from 0 to 65535" in demo(f"run={mlp}", "port=70000")[1]
    assert "host=192.0.2.1 port=8000: Cannot assign" in demo(f"run={mlp}", "host=192.0.2.1")[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, shown = demo(f"run={mlp}", f"port={port}")
    assert status == 1
    assert f"the page cannot be offered at host=127.0.0.1 port={port}: Address already in use" in shown
    checkpoint = f"checkpoint={mlp}/checkpoints/best.ckpt"
    assert "both are given" in demo(f"run={mean}", checkpoint)[1]
    monkeypatch.setattr("galaxy.demo.serve._PACKAGES", {"starlette": "galaxy_has_no_such_package"})
    assert "pip install 'galaxy-morphology[demo]'" in demo(f"run={mlp}", "port=0")[1]
