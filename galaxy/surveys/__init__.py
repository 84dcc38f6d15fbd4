"""Surveys as `Catalog` objects: one module per survey turns files on disk into ids, images and targets."""

from galaxy.surveys.catalog import Catalog

__all__ = ["Catalog"]
