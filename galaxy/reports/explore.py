"""Contact sheets of a survey: each image beside what a model would see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galaxy.config.instantiation import instantiate, naming
from galaxy.data.splits import sample_rows
from galaxy.images.sheet import contact_sheet
from galaxy.system.errors import UserError, listing


def explore(data: dict[str, Any], crops: dict[str, Any], count: int, out: str) -> str:
    """Writes a picture of crops beside the images they were cut from.

    Args:
        data: The node `data` of a configuration.
        crops: The nodes of the crops to show, by their names.
        count: The number of galaxies, a sample that a larger count contains.
        out: The picture, whose ending says its format.

    Returns:
        What was shown and what was left out, in words.

    Raises:
        UserError: The count is below 1, a crop refuses its settings, or the data or the picture cannot be
            used.
    """
    if count < 1:
        raise UserError(f"count is {count}; it must be 1 or more")
    made = {name: instantiate(node, f"crop={name}") for name, node in crops.items()}
    reader = instantiate(data["catalog"], "data.catalog")
    with naming("data.catalog"):
        catalog = reader(root=Path(data["root"]).expanduser(), on_bad=data["on_bad"])
    rows = sample_rows(catalog.ids, count)
    path = Path(out).expanduser()
    names = map(str, catalog.identifiers[rows])
    images = [catalog.images[row] for row in rows.tolist()]
    skipped = contact_sheet(dict(zip(names, images, strict=True)), made, path, data["on_bad"])
    lines = []
    for what, cases in (("rows or files of the survey", list(catalog.skipped)), ("image(s)", skipped)):
        if cases:
            lines.append(f"{len(cases)} {what} left out:\n{listing(cases)}")
    lines.append(f"{len(rows) - len(skipped)} galaxies of {catalog.name}: {path}")
    return "\n".join(lines)
