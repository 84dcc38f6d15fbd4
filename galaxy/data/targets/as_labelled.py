"""Predicts all labels of a survey, as the survey has them."""

from __future__ import annotations

from typing import Literal

from galaxy.labels.labels import Kind
from galaxy.surveys import Catalog
from galaxy.system.errors import UserError


class AsLabelled:
    """Keeps the labels as the survey has them.

    Args:
        kind: The kind that the labels must have, "fractions" or "classes"; None to accept either.
    """

    def __init__(self, kind: Literal["fractions", "classes"] | None = None) -> None:
        self.kind: Kind | None = kind

    def __call__(self, catalog: Catalog) -> Catalog:
        """Returns the same catalog.

        Raises:
            UserError: The labels are of the other kind.
        """
        labels = catalog.labels
        if labels is not None and self.kind not in (None, labels.kind):
            has = labels.kind
            other = " or target=question1" if self.kind == "classes" else ""
            raise UserError(f"target={self.kind}, but data={catalog.name} has {has}: use target={has}{other}")
        return catalog
