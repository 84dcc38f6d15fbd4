"""Which caches there are, and which are removed."""

import errno
import importlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from galaxy.cli.cache import main
from galaxy.data.cache import open_cache
from galaxy.data.cache_folders import cache_folder, list_caches, prune
from galaxy.images.crops.center import CenterCrop
from galaxy.images.crops.roi import RoiCrop
from galaxy.system.errors import UserError
from tests.conftest import write_survey


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """Two surveys with a cache each; the first has two."""
    surveys = [write_survey(tmp_path / "one", 5, seed=0), write_survey(tmp_path / "[two]", 5, seed=1)]
    for root, crop in ((surveys[0], CenterCrop(16)), (surveys[0], RoiCrop(8)), (surveys[1], CenterCrop(16))):
        images = sorted(root.rglob("*.jpg"))
        open_cache(images, crop, tmp_path / "cache", "error", root=root)
    return surveys


def names(folder: Path) -> list[str]:
    return [info.folder.name.rpartition("-")[0] for info in list_caches(folder)]


def test_caches_are_listed_with_what_they_hold(roots: list[Path], tmp_path: Path) -> None:
    caches = list_caches(tmp_path / "cache")
    assert names(tmp_path / "cache") == ["_two_-center16", "one-center16", "one-roi8"]
    assert [info.roots for info in caches] == [(str(roots[1]),), (str(roots[0]),), (str(roots[0]),)]
    assert [info.images for info in caches] == [5, 5, 5]
    assert caches[1].crop == "CenterCrop(size=16, channels=3, fraction=0.5)"
    for info in caches:
        assert 0 < info.size < 20_000
        assert abs(time.time() - info.last_use) < 60
        assert info.stale == ""


def test_caches_whose_survey_is_gone_are_pruned(roots: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(roots[1])
    (removed,) = prune(tmp_path / "cache")
    assert removed.roots == (str(roots[1]),)
    assert removed.stale == "its images are gone"
    assert names(tmp_path / "cache") == ["one-center16", "one-roi8"]
    assert prune(tmp_path / "cache") == []


def test_caches_of_another_version_are_pruned(roots: list[Path], tmp_path: Path) -> None:
    (file,) = (tmp_path / "cache").glob("one-roi8-*/cache.json")
    described = json.loads(file.read_text())
    described["recipe"]["version"] -= 1
    file.write_text(json.dumps(described))
    (damaged,) = (tmp_path / "cache").glob("_two_*/cache.json")
    damaged.write_text("{")
    assert [info.stale for info in prune(tmp_path / "cache")] == ["made by another version"] * 2
    assert names(tmp_path / "cache") == ["one-center16"]


def test_opening_is_using(roots: list[Path], tmp_path: Path) -> None:
    folder, month_ago = tmp_path / "cache", time.time() - 30 * 86_400
    for used in folder.glob("*/used"):
        os.utime(used, (month_ago, month_ago))
    open_cache(sorted(roots[0].rglob("*.jpg")), RoiCrop(8), folder, "error", root=roots[0])
    assert prune(folder, older_than_days=31) == []
    assert len(prune(folder, stale=False, older_than_days=29)) == 2
    assert names(folder) == ["one-roi8"]


def test_a_cache_that_is_being_made_is_left_alone(roots: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(roots[1])
    (made,) = (path.parent for path in (tmp_path / "cache").glob("_two_*/cache.json"))
    with FileLock(f"{made}.lock"):
        assert prune(tmp_path / "cache") == []
    assert len(prune(tmp_path / "cache")) == 1
    assert not list((tmp_path / "cache").glob(".removed-*"))


def test_a_cache_of_another_environment_is_stale_once_nobody_uses_it(
    roots: list[Path], tmp_path: Path
) -> None:
    (file,) = (tmp_path / "cache").glob("one-roi8-*/cache.json")
    described = json.loads(file.read_text())
    described["recipe"]["opencv"] = "another"
    file.write_text(json.dumps(described))
    assert prune(tmp_path / "cache") == []
    month_ago = time.time() - 31 * 86_400
    os.utime(file.with_name("used"), (month_ago, month_ago))
    (removed,) = prune(tmp_path / "cache")
    assert "another environment" in removed.stale


def test_a_cache_that_a_job_has_opened_meanwhile_is_kept(
    roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    month_ago = time.time() - 31 * 86_400
    for used in (tmp_path / "cache").glob("*/used"):
        os.utime(used, (month_ago, month_ago))

    @contextmanager
    def used_meanwhile(folder: Path, wait: bool = True) -> Iterator[bool]:
        (folder / "used").touch()
        yield True

    monkeypatch.setattr("galaxy.data.cache_folders.locked", used_meanwhile)
    assert prune(tmp_path / "cache", older_than_days=30) == []


def test_an_interrupted_removal_is_finished(roots: list[Path], tmp_path: Path) -> None:
    (made,) = (path.parent for path in (tmp_path / "cache").glob("_two_*/cache.json"))
    made.rename(tmp_path / "cache" / ".removed-0")
    assert len(list_caches(tmp_path / "cache")) == 2
    assert prune(tmp_path / "cache") == []
    assert not (tmp_path / "cache" / ".removed-0").exists()


def test_caches_are_pruned_where_there_are_no_locks(
    roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    shutil.rmtree(roots[1])
    assert len(prune(tmp_path / "cache")) == 1


def test_files_that_vanish_while_caches_are_listed_do_not_count(roots: list[Path], tmp_path: Path) -> None:
    for file in (tmp_path / "cache").glob("*/cache.json"):
        (file.parent / "gone.shard").symlink_to("nowhere")
    assert [info.images for info in list_caches(tmp_path / "cache")] == [5, 5, 5]


def test_images_in_a_forbidden_folder_are_not_gone(
    roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    before = list_caches(tmp_path / "cache")
    monkeypatch.setattr("galaxy.data.cache_folders.os", SimpleNamespace(stat=forbid))
    assert list_caches(tmp_path / "cache") == before


def test_the_command_lists_and_removes(
    roots: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    folder = tmp_path / "cache"
    assert main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert str(roots[1]) in printed  # with its brackets
    assert "one-roi8-" in printed
    assert f"3 cache(s) in {folder}" in printed
    shutil.rmtree(roots[1])
    assert main([str(folder), "--prune"]) == 0
    printed = capsys.readouterr().out
    assert f"removed {folder}/_two_-center16-" in printed
    assert f"2 cache(s) in {folder}" in printed
    assert main([str(folder), "--older-than", "0"]) == 0
    assert f"0 cache(s) in {folder}" in capsys.readouterr().out
    assert main([str(tmp_path / "none")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--older-than", "-1"])


def test_the_cache_of_a_hidden_folder_is_listed(tmp_path: Path) -> None:
    root = write_survey(tmp_path / ".mine", 2)
    open_cache(sorted(root.rglob("*.jpg")), CenterCrop(16), tmp_path / "cache", "error", root=root)
    assert names(tmp_path / "cache") == ["mine-center16"]


def test_a_crop_is_known_by_the_code_of_those_that_it_builds_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base_crop.py").write_text(
        "from galaxy.images.crops.center import CenterCrop\nclass Base(CenterCrop): pass\n"
    )
    (tmp_path / "own_crop.py").write_text("from base_crop import Base\nclass Own(Base): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    crop = importlib.import_module("own_crop").Own(16)
    before = cache_folder(tmp_path, tmp_path, crop)
    assert cache_folder(tmp_path, tmp_path, crop) == before
    with (tmp_path / "base_crop.py").open("a") as file:
        file.write("# another region\n")
    assert cache_folder(tmp_path, tmp_path, crop) != before
    crop.centre = tmp_path
    with pytest.raises(UserError, match=r"^crop: Own\.centre is a PosixPath; the attributes of a crop"):
        cache_folder(tmp_path, tmp_path, crop)
