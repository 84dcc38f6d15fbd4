"""`galaxy explore`: a report on a survey in a folder, or one contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galaxy.config.instantiation import instantiate, naming
from galaxy.data.split_settings import SplitSettings
from galaxy.data.splits import sample_rows
from galaxy.images.crops import Crop
from galaxy.images.sheet import contact_sheet
from galaxy.reports.explore.folder import check_folder
from galaxy.reports.explore.report import write_report
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError, listing

_SPLIT_KEYS = ("val_fraction", "test_fraction", "split_seed", "stratify", "folds", "fold")


def explore(data: dict[str, Any], crops: dict[str, Any], count: int, pictures: int | None, out: str) -> str:
    """Writes a report into a folder, or a contact sheet into a picture.

    Args:
        data: The node `data` of a configuration.
        crops: The nodes of the crops to show, by their names.
        count: The number of galaxies on the contact sheet, a sample that a larger count contains.
        pictures: The number of images that the report looks at, such a sample too; None for all.
        out: A folder, or a picture whose ending says its format.

    Returns:
        What was found and where it is, in words.

    Raises:
        UserError: A number is below 1, a crop refuses its settings, or the data or `out` cannot be used.
    """
    for name, number in (("count", count), ("pictures", pictures), ("data.limit", data["limit"])):
        if number is not None and number < 1:
            raise UserError(f"{name} is {number}; it must be 1 or more")
    made = {name: instantiate(node, f"crop={name}") for name, node in crops.items()}
    path = Path(out).expanduser()
    # Any other ending is one of a picture, which the contact sheet knows or refuses.
    folder = path.is_dir() or out.endswith("/") or not path.suffix or path.suffix[1:].isdigit()
    if folder:
        check_folder(path)
    reader = instantiate(data["catalog"], "data.catalog")
    with naming("data.catalog"):
        catalog = reader(root=Path(data["root"]).expanduser(), on_bad=data["on_bad"])
    if not folder:
        shown = count if data["limit"] is None else min(count, data["limit"])
        return _sheet(catalog, made, shown, path, data["on_bad"])
    catalog, splits = _split(catalog, data)
    return write_report(catalog, splits, made, count, pictures, data["workers"], path)


def _sheet(catalog: Catalog, crops: dict[str, Crop], count: int, path: Path, on_bad: Any) -> str:
    rows = sample_rows(catalog.ids, count)
    names = map(str, catalog.identifiers[rows])
    images = [catalog.images[row] for row in rows.tolist()]
    skipped = contact_sheet(dict(zip(names, images, strict=True)), crops, path, on_bad)
    lines = []
    for what, cases in (("rows or files of the survey", list(catalog.skipped)), ("image(s)", skipped)):
        if cases:
            lines.append(f"{len(cases)} {what} left out:\n{listing(cases)}")
    lines.append(f"{len(rows) - len(skipped)} galaxies of {catalog.name}: {path}")
    return "\n".join(lines)


def _split(catalog: Catalog, data: dict[str, Any]) -> tuple[Catalog, NDArray[np.int8]]:
    """Returns the galaxies that a training would use, and their splits."""
    file = data["split_file"]
    with naming("data"):
        settings = SplitSettings(
            **{key: data[key] for key in _SPLIT_KEYS}, split_file=None if file is None else Path(file)
        )
    splits, _ = settings.split(catalog)
    rows = sample_rows(catalog.ids, data["limit"])
    return catalog.take(rows), splits[rows]
