"""What the documents name exists, and README.md lists every option."""

import re

import pytest

from tests.config.test_every_option import OPTIONS
from tests.conftest import PROJECT
from tests.docs.pages import PAGES

PROSE = {**PAGES, "CONTRIBUTING.md": (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")}
PATH = re.compile(r"`((?:galaxy|conf|tests|benchmarks)/[\w/.]*)`")


@pytest.mark.parametrize("page", PROSE)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PROSE[page])
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not ((PROJECT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PROSE)
def test_every_path_exists(page: str) -> None:
    # The worked example's own files are followed by a colon.
    example = re.findall(r"^`([\w/.]+)`:$", PROSE[page], re.MULTILINE)
    named = set(PATH.findall(PROSE[page])) - set(example)
    assert [path for path in sorted(named) if not (PROJECT / path).exists()] == []


def test_readme_lists_every_option() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", PAGES["README.md"], re.MULTILINE)
    listed = {
        f"{group}={option}"
        for groups, options in rows
        for group in re.findall(r"`(\w+)`", groups)
        for option in re.findall(r"`(\w+)`", options)
    }
    assert sorted(set(OPTIONS) - listed) == []


def test_readme_is_a_screen_and_a_half() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 110
