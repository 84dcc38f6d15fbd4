"""Where pixels are kept changes how fast batches come, and nothing else."""

import errno
import os
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from galaxy.data.cache import CachedImages, open_cache
from galaxy.data.loader import BatchLoader, Order
from galaxy.data.pixels import InMemory, OnDisk, place_pixels
from galaxy.images.crops.center import CenterCrop
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError
from tests.conftest import Command, pixels_of
from tests.runs.test_independence import same_training

CPU = torch.device("cpu")


@pytest.fixture
def cached(survey: Path, cache: Path) -> CachedImages:
    images = sorted((survey / "images_training_rev1").glob("*.jpg"))
    return open_cache(images, CenterCrop(16), cache, "error")


def test_every_residence_gathers_the_same_pixels(cached: CachedImages) -> None:
    rows = torch.tensor([79, 0, 5, 5])
    for residence in ("auto", "disk", "memory", "device"):
        pixels = place_pixels(cached, residence, CPU)
        assert np.array_equal(pixels.gather(rows), pixels_of(cached)[rows])
        assert pixels.gather(rows[:0]).shape == (0, 16, 16, 3)
        assert np.array_equal(pixels.central_pixels(), pixels_of(cached)[:, 8:9, 8:9])


def test_another_process_opens_the_file_itself(cached: CachedImages) -> None:
    sent = pickle.dumps(OnDisk(cached))
    assert len(sent) < pixels_of(cached).nbytes / 10
    assert np.array_equal(pickle.loads(sent).gather(torch.tensor([3])), pixels_of(cached)[[3]])


def test_a_file_that_is_cut_off_is_named(cached: CachedImages, tmp_path: Path) -> None:
    path = tmp_path / "copy.shard"
    path.write_bytes(cached.shards[0].read_bytes())
    pixels = OnDisk(replace(cached, shards=(path,)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"copy\.shard"):
        pixels.gather(torch.tensor([79]))


def test_a_cache_that_is_gone_is_named(cached: CachedImages, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.shard cannot be read: No such file or directory"):
        OnDisk(replace(cached, shards=(tmp_path / "gone.shard",)))


def test_a_disk_that_fails_is_named(cached: CachedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(UserError, match=rf"{cached.shards[0].name} cannot be read: Input/output error"):
        OnDisk(cached).gather(torch.tensor([0]))


def test_batches_gathered_ahead_are_the_same(cached: CachedImages) -> None:
    order = Order(np.arange(80), 8, True, seed=3)
    columns = {"target": torch.arange(80.0)}
    plain = list(BatchLoader(OnDisk(cached), columns, order))
    ahead = list(BatchLoader(OnDisk(cached), columns, order, ahead=True))
    assert len(plain) == len(ahead) == 10
    for one, other in zip(plain, ahead, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("ahead", [False, True])
def test_an_epoch_goes_on_where_it_was_left(cached: CachedImages, ahead: bool) -> None:
    order = Order(np.arange(80), 8, True, seed=3)
    whole = list(BatchLoader(OnDisk(cached), {}, order))
    resumed = BatchLoader(OnDisk(cached), {}, order, ahead=ahead)
    resumed.load_state_dict({"position": 3})
    batches = iter(resumed)
    for number, expected in enumerate(whole[3:], start=4):
        assert torch.equal(next(batches)["image"], expected["image"])
        assert resumed.state_dict() == {"position": number}  # of what was handed out, not of what is ready
    assert next(batches, None) is None
    assert len(list(resumed)) == 10  # the epoch after it


def test_auto_takes_memory_where_all_processes_have_room_and_says_so(
    cached: CachedImages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def available() -> SimpleNamespace:
        return SimpleNamespace(available=8 * pixels_of(cached).nbytes)

    monkeypatch.setattr(psutil, "virtual_memory", available)
    assert isinstance(place_pixels(cached, "auto", CPU), InMemory)
    assert isinstance(place_pixels(cached, "auto", CPU, processes=4), InMemory)
    assert "are in memory" in caplog.messages[-1]
    assert isinstance(place_pixels(cached, "auto", CPU, processes=5), OnDisk)
    assert "are read from the disk, for they do not fit" in caplog.messages[-1]


@pytest.mark.parametrize(("times", "kind"), [(None, InMemory), (4, InMemory), (3, OnDisk)])
def test_auto_takes_no_more_than_its_container_has(
    cached: CachedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int | None, kind: type
) -> None:
    size = pixels_of(cached).nbytes
    # What a file that the system remembers takes counts as used, and can be taken.
    group = {"max": times * size if times else "max", "current": 3 * size, "stat": f"inactive_file {size}"}
    # The limit is that of a job of which this process is a step without a limit of its own.
    own = tmp_path / "own"
    own.write_text("1:cpu:/elsewhere\n0::/job/step\n")
    (tmp_path / "job" / "step").mkdir(parents=True)
    for name, text in group.items():
        (tmp_path / "job" / f"memory.{name}").write_text(f"{text}\n")
    monkeypatch.setattr("galaxy.system.machine._CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr("galaxy.system.machine._OWN_GROUP", own)
    assert isinstance(place_pixels(cached, "auto", CPU), kind)


def test_an_epoch_that_ends_early_leaves_no_thread(cached: CachedImages) -> None:
    loader = BatchLoader(OnDisk(cached), {}, Order(np.arange(80), 8, False, seed=0), ahead=True)
    batches = iter(loader)
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # a generator, as when a loop breaks off
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gather")]


def test_what_goes_wrong_ahead_is_raised(cached: CachedImages) -> None:
    cached = replace(cached, row=np.where(np.arange(80) == 79, 10**6, cached.row))
    loader = BatchLoader(OnDisk(cached), {}, Order(np.array([0, 79]), 2, False, seed=0), ahead=True)
    with pytest.raises(UserError, match="cut off"):
        list(loader)


def test_images_of_several_shards_are_gathered_alike(survey: Path, tmp_path: Path) -> None:
    images = sorted((survey / "images_training_rev1").glob("*.jpg"))
    crop, folder = CenterCrop(16), tmp_path / "cache"
    for some in (images[50:60], images[5:70], images):
        cached = open_cache(some, crop, folder, "error")
    assert len(cached.shards) == 3
    whole = open_cache(images, crop, tmp_path / "other", "error")
    for residence in ("disk", "memory"):
        pixels = place_pixels(cached, residence, CPU)  # type: ignore[arg-type]  # one of its places
        assert np.array_equal(pixels.gather(torch.arange(80)), pixels_of(whole))
        assert np.array_equal(pixels.central_pixels(), pixels_of(whole)[:, 8:9, 8:9])


def test_the_disk_trains_the_same_network_as_memory(
    command: Command, quick: list[str], tmp_path: Path
) -> None:
    runs = []
    for residence in ("memory", "disk"):
        folder = tmp_path / residence
        settings = [*quick, "augment=affine", f"data.residence={residence}", f"hydra.run.dir={folder}"]
        assert command("train.py", *settings) == 0
        runs.append(RunFolder(folder))
    same_training(*runs)
