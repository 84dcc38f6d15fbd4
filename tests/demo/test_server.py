"""The server of the page: what it answers, how it refuses, and that nothing of an upload stays."""

import asyncio
import io
import json
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

import galaxy
from galaxy.demo.gallery import Gallery
from galaxy.demo.server import build_app
from galaxy.demo.uploads import LARGEST_REQUEST, MOST_IMAGES
from galaxy.images.decode import Decoder
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.learning import checkpoint_files
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError
from tests.conftest import PROJECT
from tests.demo.conftest import gallery_of
from tests.demo.hostile import HOSTILE, SECRET, fits_file, picture

# What must not be read off a refusal: our code, our files, and those of others.
_PRIVATE = ("Traceback", "site-packages", "galaxy/", "/tmp", "data.catalog", SECRET)

# A batch of one file that is no image.
_BATCH = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--x--\r\n'
_FORM = (b"content-type", b"multipart/form-data; boundary=x")


def image_of(survey: Path, name: str) -> Path:
    return survey / "images_training_rev1" / f"{name}.jpg"


def test_says_what_models_questions_and_limits_there_are(client: TestClient, runs: dict[str, Path]) -> None:
    about = client.get("/api/about").json()
    assert [model["name"] for model in about["models"]] == ["mlp"]
    assert len(about["models"][0]["fingerprint"]) == 64
    assert [question["key"] for question in about["questions"]][:2] == ["q01", "q02"]
    assert about["questions"][0]["answers"][0]["leads_to"] == [6]
    assert about["limits"]["images"] == MOST_IMAGES
    assert str(runs["mlp"].parent) not in json.dumps(about)


def test_a_galaxy_has_answers_intervals_people_and_neighbours(client: TestClient, gallery: Gallery) -> None:
    name = gallery.names[3]
    answer = client.get(f"/api/galaxies/{name}").json()
    (model,) = answer["models"]
    assert answer["id"] == name
    assert answer["people"]["Class1.1"] == pytest.approx(gallery.catalog.targets[3, 0], abs=1e-4)
    assert sum(model["fractions"][f"Class1.{i}"] for i in (1, 2, 3)) == pytest.approx(1, abs=1e-3)
    assert model["walk"][0]["question"] == "q01"
    assert all(0 <= low <= high <= 1 for low, high in model["intervals"].values())
    assert model["gz2_class"]
    near = [one["id"] for one in answer["nearest"]]
    assert len(near) == 6
    assert name not in near
    assert set(near) <= set(gallery.names)


def test_random_galaxies_give_the_answer_that_is_asked_for(client: TestClient, gallery: Gallery) -> None:
    first = {client.get("/api/random").json()["id"] for _ in range(30)}
    assert len(first) > 3
    for _ in range(10):
        people = client.get("/api/random?class=Class1.2").json()["people"]
        assert people["Class1.2"] == max(people[f"Class1.{i}"] for i in (1, 2, 3))
    assert client.get("/api/random?class=Class99").status_code == 404


def test_surprising_galaxies_come_one_after_the_other(client: TestClient, gallery: Gallery) -> None:
    count = len(gallery.names)
    found = [client.get(f"/api/surprising?rank={rank}").json()["id"] for rank in range(count + 1)]
    assert len(set(found)) == count
    assert found[count] == found[0]
    for rank in ("-1", "x", "1e3", "9" * 50, "٣"):
        assert client.get("/api/surprising", params={"rank": rank}).status_code == 400


def test_an_upload_gets_the_answers_of_the_model(
    client: TestClient, gallery: Gallery, runs: dict[str, Path], survey: Path
) -> None:
    file = image_of(survey, gallery.names[0])
    answer = client.post("/api/predict?details=1", content=file.read_bytes()).json()
    assert answer["format"] == 1
    (prediction,) = answer["predictions"]
    expected = galaxy.load(runs["mlp"]).predict(file).drop(columns="id").iloc[0]
    assert list(prediction["models"][0]["fractions"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert prediction["nearest"][0]["id"] == gallery.names[0]
    assert prediction["nearest"][0]["distance"] < 0.1
    assert prediction["other_frame"] is False
    assert prediction["picture"].startswith("data:image/jpeg;base64,")
    looks = client.post("/api/attention", content=file.read_bytes()).json()["attention"]
    assert looks == client.get(f"/api/attention/{gallery.names[0]}").json()["attention"]
    assert looks[0].startswith("data:image/jpeg;base64,")


def test_every_format_is_taken_also_in_a_batch(client: TestClient, gallery: Gallery, survey: Path) -> None:
    pixels = np.asarray(Image.open(image_of(survey, gallery.names[0])))
    stretched = io.BytesIO()
    fits.PrimaryHDU(pixels[::-1].mean(axis=2).astype(np.float32)).writeto(stretched)
    sent = [
        ("a.jpg", picture("JPEG", pixels)),
        ("b.png", picture("PNG", pixels)),
        ("c.tif", picture("TIFF", pixels)),
        ("../../etc/passwd", picture("TIFF", pixels, compression="tiff_lzw")),
        ("e.fits", stretched.getvalue()),
        ("cmyk.jpg", cmyk(pixels)),
        ("grey.png", picture("PNG", pixels[..., 0])),
        ("deep.png", picture("PNG", (255 - pixels[..., 0]).astype(np.uint16) * 257)),
        ("bad.jpg", b"no image"),
    ]
    files = [("image", (name, content)) for name, content in sent]
    answer = client.post("/api/predict", files=files).json()
    assert [one["name"] for one in answer["predictions"]] == [name for name, _ in sent]
    *good, bad = answer["predictions"]
    assert [set(one) for one in good] == [{"name", "models", "other_frame"}] * 8
    assert bad == {"name": "bad.jpg", "error": "the file is no JPEG, PNG, TIFF or FITS image"}
    assert good[1]["models"] == good[2]["models"] == good[3]["models"]


def cmyk(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_permalink_is_the_page_and_images_are_jpeg(client: TestClient, gallery: Gallery) -> None:
    name = gallery.names[1]
    page = client.get(f"/galaxy/{name}")
    assert page.status_code == 200
    assert page.text == client.get("/").text
    assert client.get("/galaxy/nobody").status_code == 404
    image = client.get(f"/api/image/{name}")
    assert image.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(image.content)).size == (64, 64)


@pytest.mark.parametrize(
    "address",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/words.json",
        "/static//etc/passwd",
        "/api/image/../../../../etc/passwd",
        "/api/image/%2fetc%2fpasswd",
        "/api/image/..%5c..%5cetc%5cpasswd",
        "/api/galaxies/%00",
        "/api/attention/file:%2f%2f%2fetc%2fpasswd",
        "/etc/passwd",
        "/.git/config",
    ],
)
def test_no_address_leads_to_a_file(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_every_answer_has_the_headers_of_a_careful_site(client: TestClient, gallery: Gallery) -> None:
    answers = [
        client.get("/"),
        client.get("/static/demo.js"),
        client.get("/api/random"),
        client.get("/nowhere"),
        client.get("/api/predict"),
        client.post("/api/predict", content=b"no image"),
        client.get("/", headers={"Host": "evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 405, 422, 400]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "permissions-policy" in answer.headers
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_the_page_needs_nothing_inline_and_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text
    assert "<style" not in page
    assert "style=" not in page
    assert "onclick" not in page
    assert "https://" not in page
    assert '<script type="module" src="/static/demo.js"></script>' in page


def test_there_are_a_hundred_hostile_files() -> None:
    assert len(HOSTILE) >= 100


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_words(client: TestClient, name: str) -> None:
    answer = client.post("/api/predict", content=HOSTILE[name])
    assert answer.status_code == 422, (name, answer.text[:300])
    reason = answer.json()["error"]
    assert len(reason) > 10
    assert not [word for word in _PRIVATE if word in reason], reason
    assert client.get("/api/about").status_code == 200


def test_a_batch_of_hostile_files_says_what_is_wrong_with_each(client: TestClient) -> None:
    some = list(HOSTILE.items())[:MOST_IMAGES]
    answer = client.post("/api/predict", files=[("image", one) for one in some])
    assert all("error" in one for one in answer.json()["predictions"])


def test_requests_that_are_too_large_or_no_form_are_refused(client: TestClient) -> None:
    large = bytes(LARGEST_REQUEST + 1)
    assert client.post("/api/predict", content=large).status_code == 413
    assert client.post("/api/predict", files=[("image", ("a", large))]).status_code == 413
    assert client.post("/api/attention", content=large).status_code == 413
    many = [("image", (str(i), b"x")) for i in range(MOST_IMAGES + 1)]
    assert client.post("/api/predict", files=many).status_code == 413
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = client.post("/api/predict", content=b"--y\r\nnothing", headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert "form" in answer.json()["error"]
    kind = "multipart/form-data; boundary=x; charset=undefined"
    assert client.post("/api/predict", content=_BATCH, headers={"Content-Type": kind}).status_code == 400


def test_fits_files_are_refused_where_astropy_is_missing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = fits_file(np.zeros((64, 64), np.float32))
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    answer = client.post("/api/predict", content=content)
    assert answer.json() == {"error": "FITS files are not read here: send a JPEG, PNG or TIFF image"}


def test_uploads_never_touch_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("an upload was written to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    large = picture("PNG", np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8))
    assert len(large) > 5_000_000
    answer = client.post("/api/predict", files=[("image", ("a.png", large)), ("image", ("b.png", large))])
    assert [set(one) for one in answer.json()["predictions"]] == [{"name", "models", "other_frame"}] * 2


def test_a_flood_is_answered_with_429_and_nothing_worse(gallery: Gallery, survey: Path) -> None:
    content = image_of(survey, gallery.names[0]).read_bytes()

    async def flood() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(build_app(gallery, decode, ["*"]))
        async with httpx2.AsyncClient(transport=transport, base_url="http://any") as client:
            posts = (client.post("/api/predict", content=content) for _ in range(50))
            return list(await asyncio.gather(*posts))

    with Decoder() as decode:
        answers = asyncio.run(flood())
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 16
    assert all(int(one.headers["retry-after"]) > 0 for one in answers if one.status_code == 429)


async def asked(
    app: ASGIApp, method: str, path: str, body: bytes, then: Callable[[], Awaitable[Message]]
) -> int:
    """Sends the first part of a request; `then` makes what the server receives next. Returns the status."""
    parts = [{"type": "http.request", "body": body, "more_body": True}]
    statuses = []

    async def receive() -> Message:
        return parts.pop() if parts else await then()

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [_FORM]}
    await app(scope, receive, send)
    return int(statuses[0])


def test_slow_uploads_keep_nobody_from_the_galaxies(gallery: Gallery) -> None:
    async def ask(app: ASGIApp) -> tuple[int, list[int]]:
        ended = asyncio.Event()

        async def slowly() -> Message:
            await ended.wait()
            return {"type": "http.disconnect"}

        posts = [asyncio.create_task(asked(app, "POST", "/api/predict", b"--x", slowly)) for _ in range(17)]
        galaxy = await asked(app, "GET", "/api/random", b"", slowly)
        assert not any(post.done() for post in posts)
        ended.set()
        return galaxy, await asyncio.gather(*posts)

    with Decoder() as decode:
        galaxy, uploads = asyncio.run(ask(build_app(gallery, decode, ["*"])))
    assert galaxy == 200
    assert sorted(uploads) == [400] * 16 + [429]


def test_nothing_is_computed_for_a_batch_whose_sender_has_gone(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galaxy.demo.server.read_upload", lambda *arguments: pytest.fail("it was read"))
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b""}]

    async def gone() -> Message:
        return messages.pop()

    with Decoder() as decode:
        app = build_app(gallery, decode, ["*"])
        assert asyncio.run(asked(app, "POST", "/api/predict", _BATCH, gone)) == 400


def test_two_models_are_shown_side_by_side_also_one_without_features(
    runs: dict[str, Path], survey: Path
) -> None:
    gallery = gallery_of(runs["mean"], runs["mlp"])
    content = image_of(survey, gallery.names[0]).read_bytes()
    with Decoder() as decode:
        client = TestClient(build_app(gallery, decode, ["localhost"]), base_url="http://localhost")
        about = client.get("/api/about").json()
        assert [model["name"] for model in about["models"]] == ["mean", "mlp"]
        assert about["nearest"] is False
        mean, mlp = client.get("/api/random").json()["models"]
        assert "unusual" not in mean
        assert mlp["unusual"] in (True, False)
        answer = client.post("/api/predict?details=1", content=content).json()["predictions"][0]
        assert len(answer["models"]) == 2
        looks = client.get(f"/api/attention/{gallery.names[0]}").json()["attention"]
        assert looks[0] is None
        assert looks[1] is not None


def test_two_models_that_see_other_pictures_in_a_file_are_not_shown_side_by_side(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    softer = shutil.copytree(runs["mean"], tmp_path / "softer")
    checkpoint = RunFolder(softer).best
    content = checkpoint_files.load(checkpoint)
    content["hyper_parameters"]["config"]["data"]["catalog"]["softening"] = 5
    checkpoint_files.save(content, checkpoint)
    with pytest.raises(UserError, match=r"data\.catalog\.softening is 10\.0 in .*mlp and 5 in .*softer"):
        gallery_of(runs["mlp"], softer)


def test_every_word_of_the_page_is_there_and_used() -> None:
    folder = PROJECT / "galaxy" / "demo" / "page"
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    script, page = ((folder / name).read_text(encoding="utf-8") for name in ("demo.js", "demo.html"))
    assert set(re.findall(r"\btalk\.(\w+)", script)) == set(words["talk"])
    used = re.findall(r"\bpage\.(\w+)", script) + re.findall(r"\bwords\.(\w+)", page)
    assert set(used) == set(words["page"])
    assert len(words["phrases"]) == GALAXY_ZOO_2.size
