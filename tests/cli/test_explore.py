"""The report on a survey, and the contact sheet, through their command line."""

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest


def explore(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["explore", *arguments])
    monkeypatch.delitem(sys.modules, "galaxy.cli.explore", raising=False)
    try:
        runpy.run_module("galaxy.cli.explore", run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_help_says_what_every_key_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for key in ("crops", "out", "pictures", "count", "data"):
        assert f"\n{key} " in shown


def test_writes_a_sheet_of_as_many_galaxies_as_there_may_be(
    monkeypatch: pytest.MonkeyPatch, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["data=kaggle", f"data.root={survey}", "data.limit=2", "count=3", f"out={tmp_path}/sheet.png"]
    assert explore(monkeypatch, "crops=[center64,roi64]", *data) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "2 galaxies of kaggle" in capsys.readouterr().out


def test_bad_images_are_all_named_or_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b", "c"):
        cv2.imwrite(str(pictures / f"{name}.png"), np.full((80, 80, 3), 90, np.uint8))
    for name in ("b", "c"):
        (pictures / f"{name}.png").write_bytes(b"")
    data = ["data=folder", f"data.root={pictures}", f"out={tmp_path}/sheet.png", "crops=[center64]"]
    assert explore(monkeypatch, *data) == 1
    message = capsys.readouterr().err
    assert "2 image(s) cannot be used" in message
    assert "b.png: the file is empty" in message
    assert "c.png: the file is empty" in message
    assert not (tmp_path / "sheet.png").exists()
    assert explore(monkeypatch, *data, "data.on_bad=skip") == 0
    shown = capsys.readouterr().out
    assert "2 image(s) left out" in shown
    assert "1 galaxies of" in shown
    assert (tmp_path / "sheet.png").exists()


def test_a_report_takes_the_place_of_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [
        "data=folder",
        f"data.root={survey}/images_training_rev1",
        "count=2",
        "pictures=6",
        f"out={tmp_path}/report",
    ]
    assert explore(monkeypatch, "crops=[center64,roi64]", *data) == 0
    assert "80 galaxies of folder" in capsys.readouterr().out
    assert (tmp_path / "report" / "gallery_roi64.png").exists()
    assert explore(monkeypatch, "crops=[center64]", "data.limit=40", *data) == 0
    assert "40 galaxies of folder" in capsys.readouterr().out
    assert not (tmp_path / "report" / "gallery_roi64.png").exists()
    (tmp_path / "report" / "exploration.json").unlink()
    assert explore(monkeypatch, "crops=[center64]", *data) == 1
    assert "holds other files than an exploration" in capsys.readouterr().err
    assert explore(monkeypatch, *data[:-1], f"out={tmp_path}/report/report.html/") == 1
    assert "is a file; choose a folder" in capsys.readouterr().err


def test_unreadable_images_are_named_in_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b"):
        (pictures / f"{name}.png").write_bytes(b"")
    data = ["data=folder", f"data.root={pictures}", f"out={tmp_path}/report", "crops=[center64]"]
    for name in (None, "c"):
        if name:
            cv2.imwrite(str(pictures / f"{name}.png"), np.full((80, 80, 3), 90, np.uint8))
        assert explore(monkeypatch, *data) == 0
        shown = capsys.readouterr().out
        assert "2 image(s) cannot be used" in shown
        assert "b.png: the file is empty" in shown
        assert "b.png: the file is empty" in (tmp_path / "report" / "report.html").read_text()
        assert (tmp_path / "report" / "crops.png").exists() == bool(name)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("crops=[roy64]", "did you mean roi64"),
        ("data.root=/nowhere", "/nowhere"),
        ("cont=3", "count"),
        ("count=0", "count is 0; it must be 1 or more"),
        ("pictures=0", "pictures is 0; it must be 1 or more"),
        ("data.limit=0", "data.limit is 0; it must be 1 or more"),
        ("crop=roi64", "did you mean 'crops=[roi64]'?"),
    ],
)
def test_wrong_input_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    survey: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    argument: str,
    said: str,
) -> None:
    data = ["data=kaggle", f"data.root={survey}", f"out={tmp_path}/sheet.png"]
    assert explore(monkeypatch, *data, argument) != 0
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "sheet.png").exists()
