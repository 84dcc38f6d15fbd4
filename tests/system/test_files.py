"""Files are whole or absent."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from filelock import Timeout

from galaxy.runs.folder import RunFolder
from galaxy.runs.result import Result
from galaxy.system.errors import UserError
from galaxy.system.files import explained, locked, replacing, write_bytes, write_json, write_text
from tests.helpers.full_disk import file_size_limit


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.txt"
    write_text(path, "old")

    def cut_short() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cut_short()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with replacing(path) as temporary:
        temporary.write_text("{")
        assert not path.exists()
    write_json(path, {"status": "done"})
    assert path.read_text() == '{\n  "status": "done"\n}\n'
    assert path.stat().st_mode & 0o444 == 0o444


def test_a_file_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "result.json", os.fsync
    flushed = []

    def recorded(handle: int) -> None:
        flushed.append((os.fstat(handle).st_ino, path.exists()))
        fsync(handle)

    monkeypatch.setattr("os.fsync", recorded)
    write_bytes(path, b"{}")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def _die_while_writing(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_text(path, "old")
    process = multiprocessing.get_context("spawn").Process(target=_die_while_writing, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(path) as temporary:
        temporary.write_text("slow")
        write_text(path, "new")  # another process's, say, which must leave this one's alone
        assert temporary.exists()
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def _table() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 8))).rename(columns=str)


def _picture() -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure()
    figure.subplots().imshow(np.random.default_rng(0).normal(size=(200, 200)))
    return figure


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * 100_000),
    "predictions.parquet": lambda path: _table().to_parquet(path),
    "predictions.csv": lambda path: _table().to_csv(path),
    "confusion.png": lambda path: _picture().savefig(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_whatever_writes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / name
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            WRITERS[name](temporary)

    with file_size_limit(10_000), pytest.raises(UserError) as caught:
        write()
    message = str(caught.value)
    assert f"{path} cannot be written: File too large" in message
    assert f"are free in {path.parent}" in message
    assert "Raise the limit" in message
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
    write()
    assert path.stat().st_size > 10_000


def test_a_result_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_result(Result("interrupted", epochs=3))
    full = pytest.raises(UserError, match=r"result\.json cannot be written: .* It needs 100\.\d kB")
    with file_size_limit(10_000), full:
        run.write_result(Result("failed", error="x" * 100_000))
    assert run.result() == Result("interrupted", epochs=3)
    assert list(run.path.iterdir()) == [run.result_file]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "Ask for the right"),
        (errno.EROFS, "Choose another folder"),
    ],
)
def test_what_stands_in_the_way_is_said(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "missing" / "deep" / "result.json"
    with pytest.raises(UserError) as caught, explained(path, size=3_000_000):
        raise OSError(number, os.strerror(number))
    message = str(caught.value)
    assert words in message
    assert "It needs 3.0 MB" in message
    assert f"free in {tmp_path}" in message


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), explained(tmp_path / "result.json"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_cannot_flush_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("os.fsync", failing(number))
    write_bytes(tmp_path / "result.json", b"{}")
    assert (tmp_path / "result.json").read_bytes() == b"{}"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_fails_while_it_is_flushed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        write_bytes(tmp_path / "result.json", b"{}")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_without_locks_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr("fcntl.flock", failing(number))
    write_bytes(tmp_path / "a", b"{}")
    with locked(tmp_path / ".lock") as alone:
        assert not alone
    assert "has no locks" in caplog.text


def test_one_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock") as alone:
        assert alone
        with pytest.raises(Timeout), locked(tmp_path / ".lock", wait=False):
            pass
    with locked(tmp_path / ".lock", wait=False) as alone:
        assert alone


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"too long.*\n.*shorter"):
        write_bytes(tmp_path / ("x" * 300), b"{}")


def test_the_key_of_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.cache=DIR"), explained(tmp_path / "a", key="data.cache"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
