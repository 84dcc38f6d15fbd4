"""The templates of pages, which share one look: `base.html`, `page.css` and `marks.html`."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(*packages: str) -> Environment:
    """Finds the templates of this package, and those of others before them.

    Args:
        *packages: The packages whose folders hold further templates, such as `galaxy.reports.explore`.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name, "") for name in (*packages, "galaxy.reports.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
