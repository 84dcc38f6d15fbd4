"""Images in FITS files."""

from __future__ import annotations

from galaxy.catalogs.catalog import FitsImage
from galaxy.images.crops import Pixels


def read_fits(source: FitsImage) -> Pixels:
    """To follow."""
    raise NotImplementedError(source)
