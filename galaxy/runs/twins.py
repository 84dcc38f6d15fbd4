"""Warns of two surveys that show the same galaxies under other ids."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)

_TWINS = ("kaggle", "gz2")


def warn_of_twins(survey: str, trained: dict[str, Any], subject: str = "The run") -> None:
    """Warns where what was trained on one of two surveys meets the same galaxies in the other one.

    Args:
        survey: The name of the survey whose galaxies are scored.
        trained: The node `data` of the configuration that was trained with.
        subject: What was trained, in the words of the message.
    """
    catalog = trained.get("catalog")
    target = str(catalog.get("_target_")) if isinstance(catalog, dict) else ""
    other = next((name for name in _TWINS if target.endswith(f".read_{name}")), None)
    if other is not None and survey in _TWINS and survey != other:
        log.warning(
            "Kaggle's galaxies are galaxies of Galaxy Zoo 2 under other ids. %s was trained on data=%s, so "
            "it has probably seen many of these, and the figures are better than those of unseen galaxies.",
            subject,
            other,
        )
