"""The documents that tests read: their names and texts."""

import re

from tests.conftest import PROJECT

PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
}

# The files that a page tells the reader to write: their paths, and what they hold.
FILES = re.compile(r"^`([\w/]+\.\w+)`:\n\n```\w+\n(.*?)```\n", re.DOTALL | re.MULTILINE)
# These guides write files of the reader's own; their commands come one after the other.
OWN = [page for page in PAGES if page.startswith("docs/guides/") and FILES.search(PAGES[page])]
