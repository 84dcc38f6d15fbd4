"""A module of somebody else, which leaves a file behind when it is imported or called."""

from pathlib import Path
from textwrap import dedent

NAME = "strangers_code"
CODE = """
    from pathlib import Path

    Path(__file__).with_name("imported").touch()


    class Anything:
        def __init__(self, *args, **settings):
            Path(__file__).with_name("called").touch()


    def call(*args, **settings):
        Path(__file__).with_name("called").touch()
"""


def write_stranger(root: Path) -> Path:
    """Writes the package into a folder that has to be on Python's path; returns the package's folder."""
    package = root / NAME
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(dedent(CODE).lstrip(), encoding="utf-8")
    return package


def traces(root: Path) -> list[str]:
    """What the module has left behind."""
    return [name for name in ("imported", "called") if (root / NAME / name).exists()]
