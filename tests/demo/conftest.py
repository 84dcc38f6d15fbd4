"""Two tiny runs, and the server of the page about them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from galaxy.demo.gallery import Gallery, open_gallery
from galaxy.demo.server import build_app
from galaxy.images.decode import Decoder
from galaxy.runs.folder import RunFolder
from tests.conftest import quick_settings, run_program


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, survey: Path, cache: Path) -> dict[str, Path]:
    """The folders of a run of a network, and of one of the training mean."""
    folder = tmp_path_factory.mktemp("demo")
    settings = [one for one in quick_settings(survey, cache) if not one.startswith("model=")]
    with pytest.MonkeyPatch.context() as patch:
        for model in ("mlp", "mean"):
            short = [f"model={model}", "trainer.max_epochs=1", f"hydra.run.dir={folder / model}"]
            assert run_program(patch, "train.py", *settings, *short) == 0
    return {model: folder / model for model in ("mlp", "mean")}


def gallery_of(*folders: Path) -> Gallery:
    """Opens runs as the command line does."""
    first = RunFolder(folders[0])
    data = first.config()["data"] | first.split_settings()
    files = [RunFolder(folder).best_checkpoint() for folder in folders]
    return open_gallery(files, data, "kaggle", "test", "cpu")


@pytest.fixture(scope="session")
def gallery(runs: dict[str, Path]) -> Gallery:
    """The galaxies of the network's test split."""
    return gallery_of(runs["mlp"])


@pytest.fixture(scope="session")
def client(gallery: Gallery) -> Iterator[TestClient]:
    """Asks the server as a browser on this machine would."""
    with Decoder() as decode:
        app = build_app(gallery, decode, ["localhost"])
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client
