"""The page in a browser, served by the command line: what visitors do, at the sizes of phones and desks."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT
from tests.demo.hostile import PIXELS, fits_file, picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
# The checker of accessibility of Deque, if somebody has it: GALAXY_TEST_AXE=node_modules/axe-core/axe.min.js
AXE = os.environ.get("GALAXY_TEST_AXE", "")


@pytest.fixture(scope="module")
def served(runs: dict[str, Path]) -> Iterator[str]:
    """The address of two runs side by side."""
    both = f"run=[{runs['mlp']},{runs['mean']}]"
    command = [sys.executable, "-m", "galaxy", "demo", both, "port=0", "accelerator=cpu"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "The page is at" in line)
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None
        yield found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served: str):
    """A page on which a galaxy is shown; a message of the browser's console fails the test."""
    messages: list[str] = []
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(served)
    page.wait_for_selector("#models article")
    yield page
    page.close()
    # The browser reports each refusal itself.
    assert [text for text in messages if "Failed to load resource" not in text] == []


def shown(page) -> str:
    return page.locator("#name").inner_text()


def test_another_galaxy_comes_and_its_link_shows_it_again(page, served: str) -> None:
    assert page.locator("#models article").count() == 2
    for name in ("Another galaxy", "Surprise me"):
        with page.expect_response(re.compile("/api/(random|surprising)")):
            page.get_by_role("button", name=name).click()
        playwright.expect(page.locator("#main")).to_have_attribute("aria-busy", "false")
    name = shown(page)
    page.goto(served + page.locator("#permalink").get_attribute("href"))
    page.wait_for_selector("#models article")
    assert shown(page) == name
    assert name in page.get_by_role("status").first.inner_text()


def test_a_visitor_guesses_first_by_keyboard_and_gets_a_score(page) -> None:
    page.get_by_role("switch", name="I guess first").press("Space")
    page.wait_for_selector("#game .choice")
    assert page.locator("#revealed").is_hidden()
    while page.locator("#game").is_visible():
        page.locator("#game .choice").first.press("Enter")
    assert page.locator("#result").is_visible()
    assert re.fullmatch(r"you \d+, model \d+, of \d+", page.locator("#score").inner_text())
    assert page.locator("#models article").count() == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "FITS"])
def test_an_own_image_gets_answers(page, kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"mine.{kind.lower()}"
    content = fits_file(np.asarray(PIXELS[..., 0], np.float32)) if kind == "FITS" else picture(kind)
    file.write_bytes(content)
    page.set_input_files("#own", file)
    playwright.expect(page.locator("#name")).to_contain_text("mine")
    playwright.expect(page.locator("#hero")).to_have_js_property("naturalWidth", 64)
    playwright.expect(page.locator("#own")).to_have_value("")  # the same file may be chosen again
    looks = page.get_by_role("button", name="Where A looks")
    looks.press("Enter")
    page.wait_for_selector("#views li:nth-child(3) button[aria-pressed=true]")
    playwright.expect(looks).to_be_focused()
    assert page.locator("#trouble").is_hidden()


def test_what_is_no_image_is_refused_in_words_and_the_page_goes_on(page, tmp_path: Path) -> None:
    file = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    file.write_bytes(b"<script>alert(1)</script>")
    page.set_input_files("#own", file)
    page.wait_for_selector("#trouble:not([hidden])")
    assert "the file is no JPEG, PNG, TIFF or FITS image" in page.locator("#trouble").inner_text()
    page.locator("#id").fill("nobody")
    page.get_by_role("button", name="Show", exact=True).click()
    playwright.expect(page.locator("#trouble")).to_contain_text("nobody")
    page.get_by_role("button", name="Another galaxy").click()
    page.wait_for_selector("#trouble", state="hidden")


@pytest.mark.parametrize("name", ["nobody", "%zz", "a/../b"])
def test_a_link_to_no_galaxy_is_answered_in_words(page, served: str, name: str) -> None:
    page.goto(f"{served}/galaxy/{name.replace('/', '%2F')}")
    playwright.expect(page.locator("#trouble")).to_contain_text(f"no galaxy here is called {name}")
    assert page.locator("#loading").is_hidden()
    page.get_by_role("button", name="Another galaxy").click()
    page.wait_for_selector("#models article")


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_nothing_is_wider_than_the_screen(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not AXE, reason="GALAXY_TEST_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_checker_of_accessibility_finds_nothing(page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_huge_headers_are_refused_and_the_server_goes_on(served: str) -> None:
    with (
        closing(http.client.HTTPConnection(served.removeprefix("http://"), timeout=10)) as connection,
        suppress(ConnectionError),  # the server closes while this is still sending
    ):
        connection.request("GET", "/api/about", headers={"X-Large": "a" * 4_000_000})
        assert connection.getresponse().status in (400, 431)
    with urllib.request.urlopen(f"{served}/api/about", timeout=10) as answer:
        assert answer.status == 200
