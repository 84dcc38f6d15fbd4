"""Downloading surveys from a server in this process: whole, continued, cut off, refused, damaged."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import sys
import threading
import types
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from filelock import FileLock

from galaxy.cli.fetch import main
from galaxy.surveys import fetch as fetching
from galaxy.surveys import gz2, kaggle
from galaxy.surveys.fetch import SURVEYS, Download, PublishedSurvey, fetch
from galaxy.system.errors import UserError

TABLE = b"dr7objid,t01\n" + b"587722981742084144,0.5\n" * 100
# Larger than one read from the network, and with nothing to compress.
BIG = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """Serves `files` by name; what it does wrong can be set, and what it was asked is in `ranges`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.cut_after: int | None = None  # bytes of each answer
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.silent = threading.Event()  # set when a silent server may go
        self.stay_silent = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, content = self.server, self.server.files.get(self.path.rpartition("/")[2])
        asked = self.headers["Range"]
        server.ranges.append(asked)
        self.close_connection = True
        if server.stay_silent:
            server.silent.wait()
            return
        if server.status or content is None:
            self.send_error(server.status or 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[start:][: server.cut_after])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.silent.set()
        server.shutdown()
        thread.join()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def survey(server: Server) -> PublishedSurvey:
    """One file of each kind."""
    images = {f"images/{i}.jpg": f"picture {i}".encode() for i in range(5)}
    server.files = {
        "table.csv.gz": gzip.compress(TABLE, mtime=0),
        "images.zip": zipped(
            {"images/": b"", **images, "__MACOSX/images/._1.jpg": b"", "images/._1.jpg": b""}
        ),
        "big.h5": BIG,
    }
    return PublishedSurvey(
        (
            Download(f"{server.url}/a/table.csv.gz", "table.csv", 1000),
            Download(f"{server.url}/b/images.zip", "images", 1000, sha256(server.files["images.zip"])),
            Download(f"{server.url}/c/big.h5", "big.h5", 1000, sha256(BIG)),
        )
    )


@pytest.fixture
def big(survey: PublishedSurvey) -> PublishedSurvey:
    return PublishedSurvey(survey.files[2:])


def error(survey: PublishedSurvey, root: Path, mirror: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        fetch(survey, root, mirror)
    return str(caught.value)


def names(root: Path) -> list[str]:
    """What a user sees in the folder."""
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def assert_whole(root: Path) -> None:
    assert names(root) == ["big.h5", "images", "table.csv"]
    assert sorted(path.name for path in (root / "images").iterdir()) == [f"{i}.jpg" for i in range(5)]
    assert (root / "images" / "3.jpg").read_bytes() == b"picture 3"
    assert (root / "table.csv").read_bytes() == TABLE
    assert (root / "big.h5").read_bytes() == BIG


def test_a_survey_comes_in_the_readers_layout(
    survey: PublishedSurvey, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data" / "survey"
    fetch(survey, root)
    assert_whole(root)
    server.ranges.clear()
    capsys.readouterr()
    fetch(survey, root)
    assert server.ranges == []
    assert capsys.readouterr().out.count("already there") == 3
    assert_whole(root)


def test_only_what_is_missing_is_downloaded(survey: PublishedSurvey, server: Server, tmp_path: Path) -> None:
    fetch(survey, tmp_path)
    (tmp_path / "table.csv").unlink()
    server.files = {"table.csv.gz": server.files["table.csv.gz"]}
    fetch(survey, tmp_path)
    assert_whole(tmp_path)


def test_a_mirror_takes_the_place_of_every_address(
    survey: PublishedSurvey, server: Server, tmp_path: Path
) -> None:
    files = tuple(
        Download(f"https://unreachable.invalid/{file.name}", file.becomes, file.size, file.checksum)
        for file in survey.files
    )
    fetch(PublishedSurvey(files), tmp_path, f"{server.url}/mirror/")
    assert_whole(tmp_path)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_was_cut_off_is_continued(
    big: PublishedSurvey, server: Server, tmp_path: Path, knows_ranges: bool
) -> None:
    server.knows_ranges = knows_ranges
    server.cut_after = 2_500_000
    message = error(big, tmp_path)
    part = tmp_path / "big.h5.part"
    kept = part.stat().st_size
    assert 0 < kept <= 2_500_000
    assert f"{server.url}/c/big.h5" in message
    assert f"{kept:,} bytes are kept in {part}" in message
    assert "--mirror" in message
    server.cut_after = None
    fetch(big, tmp_path)
    assert server.ranges == [None, f"bytes={kept}-"]
    assert (tmp_path / "big.h5").read_bytes() == BIG
    assert names(tmp_path) == ["big.h5"]


def test_a_part_that_is_too_long_is_dropped(big: PublishedSurvey, server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.h5.part").write_bytes(BIG + b"more")
    fetch(big, tmp_path)
    assert server.ranges == [f"bytes={len(BIG) + 4}-", None]
    assert (tmp_path / "big.h5").read_bytes() == BIG


def test_a_part_of_another_file_does_not_pass(big: PublishedSurvey, server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.h5.part").write_bytes(b"another")
    assert "does not match" in error(big, tmp_path)
    assert names(tmp_path) == []
    fetch(big, tmp_path)
    assert (tmp_path / "big.h5").read_bytes() == BIG


def test_bytes_are_kept_as_they_are_published(
    survey: PublishedSurvey, server: Server, tmp_path: Path
) -> None:
    server.headers = {"Content-Encoding": "gzip"}  # as some servers call .gz files
    fetch(PublishedSurvey(survey.files[:1]), tmp_path)
    assert (tmp_path / "table.csv").read_bytes() == TABLE


@pytest.mark.parametrize(("status", "text"), [(404, "404"), (500, "500"), (429, "429")])
def test_a_refusal_says_what_and_where(
    big: PublishedSurvey, server: Server, tmp_path: Path, status: int, text: str
) -> None:
    server.status = status
    message = error(big, tmp_path)
    assert text in message
    assert f"{server.url}/c/big.h5 cannot be downloaded" in message
    assert names(tmp_path) == []


def test_no_connection(big: PublishedSurvey, tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    assert f"{url}/big.h5 cannot be downloaded" in error(big, tmp_path, url)
    assert "No scheme" in error(big, tmp_path, "mirror.org")


def test_a_server_that_does_not_answer(
    big: PublishedSurvey, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    server.stay_silent = True
    assert "timed out" in error(big, tmp_path)


def test_wrong_bytes_are_deleted(big: PublishedSurvey, server: Server, tmp_path: Path) -> None:
    server.files["big.h5"] = BIG[::-1]
    message = error(big, tmp_path)
    assert f"{server.url}/c/big.h5 does not give the published file" in message
    assert sha256(BIG)[7:] in message
    assert names(tmp_path) == []


def test_a_file_of_the_users_own_is_not_replaced(
    big: PublishedSurvey, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "big.h5").write_bytes(b"a hundred of them")
    message = error(big, tmp_path)
    assert str(tmp_path / "big.h5") in message
    assert sha256(b"a hundred of them")[7:] in message
    assert (tmp_path / "big.h5").read_bytes() == b"a hundred of them"
    assert server.ranges == []


def flipped(content: bytes) -> bytes:
    """With a mistake in the middle, where the data are."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


STORED = zipped({"images/1.jpg": BIG}, zipfile.ZIP_STORED)


@pytest.mark.parametrize(
    ("name", "becomes", "content"),
    [
        ("images.zip", "images", STORED[:-1000]),
        ("images.zip", "images", flipped(STORED)),
        ("images.zip", "images", b"<html>"),
        ("table.csv.gz", "table.csv", gzip.compress(BIG, mtime=0)[:-1000]),
        ("table.csv.gz", "table.csv", flipped(gzip.compress(BIG, mtime=0))),
        ("table.csv.gz", "table.csv", b"<html>"),
    ],
)
def test_a_damaged_archive_leaves_nothing(
    server: Server, tmp_path: Path, name: str, becomes: str, content: bytes
) -> None:
    server.files[name] = content
    survey = PublishedSurvey((Download(f"{server.url}/{name}", becomes, 1000),))
    assert "is damaged and was deleted" in error(survey, tmp_path)
    assert names(tmp_path) == []


def test_an_archive_of_something_else(server: Server, tmp_path: Path) -> None:
    server.files["images.zip"] = zipped({"pictures/1.jpg": b"1"})
    survey = PublishedSurvey((Download(f"{server.url}/images.zip", "images", 1000),))
    assert "holds no images" in error(survey, tmp_path)


def test_nothing_is_unpacked_outside_of_the_folder(server: Server, tmp_path: Path) -> None:
    evil = dict.fromkeys(("../a.jpg", "images/../../b.jpg", f"{tmp_path}/c.jpg", "images/1.jpg"), b"")
    server.files["images.zip"] = zipped(evil)
    root = tmp_path / "data" / "survey"
    fetch(PublishedSurvey((Download(f"{server.url}/images.zip", "images", 1000),)), root)
    assert names(root) == ["images"]
    assert names(tmp_path / "data") == ["survey"]
    assert names(tmp_path) == ["data"]


def test_a_half_unpacked_archive_is_not_taken_for_a_whole_one(
    survey: PublishedSurvey, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle; and killed, which leaves what lay there."""
    extract = zipfile.ZipFile.extract

    def stop_at_3(self: zipfile.ZipFile, member: str, path: Path) -> str:
        if member == "images/3.jpg":
            raise KeyboardInterrupt
        return extract(self, member, path)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", stop_at_3)
        with pytest.raises(KeyboardInterrupt):
            fetch(survey, tmp_path)
    assert "images" not in names(tmp_path)
    left = tmp_path / "images.part" / "images"
    left.mkdir(parents=True)
    (left / "left.jpg").touch()
    server.ranges.clear()
    fetch(survey, tmp_path)
    assert server.ranges == []  # the archives were there
    assert_whole(tmp_path)


def test_the_disk_is_too_small(big: PublishedSurvey, server: Server, tmp_path: Path) -> None:
    survey = PublishedSurvey((Download(f"{server.url}/big.zip", "big", 10**18),))
    assert "2000000000.0 GB are needed" in error(survey, tmp_path)
    assert server.ranges == []


def test_one_download_at_a_time(big: PublishedSurvey, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".fetch.lock"):
        assert "Another process" in error(big, tmp_path)


# The command line


def test_main_prints_the_command_to_train(
    survey: PublishedSurvey,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SURVEYS, "gz2", survey)
    assert main(["gz2", "--mirror", server.url]) == 0
    assert_whole(tmp_path / "data" / "gz2")
    assert "galaxy train data=gz2 data.root=data/gz2\n" in capsys.readouterr().out
    server.files = {}
    assert main(["gz2", "--mirror", server.url, "--root", "elsewhere"]) == 1
    assert "404" in capsys.readouterr().err


def test_main_on_a_folder_that_is_a_file(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    survey: PublishedSurvey,
) -> None:
    monkeypatch.setitem(SURVEYS, "gz2", survey)
    (tmp_path / "file").touch()
    assert main(["gz2", "--root", str(tmp_path / "file")]) == 1
    assert "--root" in capsys.readouterr().err


def test_ctrl_c_keeps_the_part(
    big: PublishedSurvey,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(SURVEYS, "gz2", big)
    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "fsync", interrupt)  # after the last byte
        assert main(["gz2", "--root", str(tmp_path)]) == 130
    assert str(tmp_path) in capsys.readouterr().err
    assert (tmp_path / "big.h5.part").read_bytes() == BIG
    assert main(["gz2", "--root", str(tmp_path)]) == 0
    assert (tmp_path / "big.h5").read_bytes() == BIG


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_simulated_galaxies_need_no_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulated"]) == 0
    assert "data=simulated" in capsys.readouterr().out


def test_help_lists_what_comes_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name, survey in SURVEYS.items():
        assert name in text
        for file in survey.files:
            assert file.becomes in text
    assert "3.8 GB into data/gz2" in text


def test_the_published_files_are_what_the_readers_want() -> None:
    for survey in SURVEYS.values():
        for file in survey.files:
            assert file.url.startswith("https://")
            assert Path(file.name).suffix in (".gz", ".zip") or not file.packed
            assert file.checksum is None or file.checksum.partition(":")[0] in hashlib.algorithms_available
    assert {file.becomes for file in SURVEYS["kaggle"].files} >= {kaggle.TABLE, *kaggle.FOLDERS.values()}
    assert {file.becomes for file in SURVEYS["gz2"].files} == {gz2.TABLE, gz2.MAPPING, gz2.IMAGES}


# Kaggle, whose client is replaced: it wants an account


class Client:
    """As kaggle.api of version 2: downloads by name into a folder."""

    def __init__(self, get: Callable[[str, Path], None], known: bool = True) -> None:
        self.get, self.known = get, known
        self.asked: list[tuple[str, str]] = []

    def authenticate(self) -> None:
        if not self.known:
            print("advice of its own")
            sys.exit(1)

    def competition_download_file(self, competition: str, file_name: str, path: str) -> None:
        self.asked.append((competition, file_name))
        self.get(file_name, Path(path))


def members(name: str) -> dict[str, bytes]:
    becomes = next(file.becomes for file in SURVEYS["kaggle"].files if file.name == name)
    return {becomes: b"GalaxyID"} if becomes.endswith(".csv") else {f"{becomes}/100008.jpg": b"picture"}


def give(name: str, folder: Path) -> None:
    (folder / name).write_bytes(zipped(members(name)))


def refuse(status: int) -> Callable[[str, Path], None]:
    def get(name: str, folder: Path) -> None:
        response = requests.Response()
        response.status_code = status
        response.raise_for_status()

    return get


def install(monkeypatch: pytest.MonkeyPatch, client: Client | None) -> None:
    """Puts a package in the place of kaggle's; None: it is not installed."""
    package = None if client is None else types.SimpleNamespace(api=client)
    monkeypatch.setitem(sys.modules, "kaggle", package)
    tiny = tuple(Download(file.url, file.becomes, 1000) for file in SURVEYS["kaggle"].files)
    monkeypatch.setitem(SURVEYS, "kaggle", PublishedSurvey(tiny, SURVEYS["kaggle"].competition))


def run(root: Path) -> tuple[int, str]:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main(["kaggle", "--root", str(root)])
    return status, errors.getvalue()


def test_kaggle_comes_in_the_readers_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(give)
    install(monkeypatch, client)
    # One that was downloaded by hand.
    give("images_test_rev1.zip", tmp_path)
    assert run(tmp_path)[0] == 0
    folders = list(kaggle.FOLDERS.values())
    assert names(tmp_path) == sorted([kaggle.TABLE, "central_pixel_benchmark.csv", *folders])
    assert (tmp_path / kaggle.FOLDERS["test"] / "100008.jpg").read_bytes() == b"picture"
    challenge = "galaxy-zoo-the-galaxy-challenge"
    asked = ["training_solutions_rev1.zip", "images_training_rev1.zip", "central_pixel_benchmark.zip"]
    assert client.asked == [(challenge, name) for name in asked]
    client.asked.clear()
    assert run(tmp_path)[0] == 0
    assert client.asked == []


@pytest.mark.parametrize(
    ("client", "advice"),
    [
        (None, "pip install 'galaxy-morphology[kaggle]'"),
        (Client(give, known=False), "https://www.kaggle.com/settings"),
        (Client(refuse(401)), "not valid"),
        (Client(refuse(403)), "/competitions/galaxy-zoo-the-galaxy-challenge/rules"),
        (Client(refuse(500)), "500"),
    ],
)
def test_kaggle_gives_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    client: Client | None,
    advice: str,
) -> None:
    install(monkeypatch, client)
    status, message = run(tmp_path)
    assert status == 1
    assert advice in message
    assert "advice of its own" not in capsys.readouterr().out
    assert names(tmp_path) == []


def test_kaggle_from_a_mirror_needs_no_account(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, None)
    server.files = {file.name: zipped(members(file.name)) for file in SURVEYS["kaggle"].files}
    assert main(["kaggle", "--root", str(tmp_path), "--mirror", server.url]) == 0
    assert (tmp_path / kaggle.TABLE).read_bytes() == b"GalaxyID"
