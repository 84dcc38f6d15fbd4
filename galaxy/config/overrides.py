"""Values in the notation of Hydra's overrides."""

from __future__ import annotations

import json
import re
from typing import Any


def quoted(value: Any) -> str:
    """A plain value in the notation of Hydra's overrides."""
    if isinstance(value, str):
        # Backslashes count only in front of a quote, where they are doubled.
        return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
    if isinstance(value, list):
        return "[" + ",".join(quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        # Keys cannot be quoted, so what would end one is escaped; of quotes and accents they can have none.
        keys = [re.sub(r"[\\()\[\]{}:=, ]", r"\\\g<0>", str(key)) for key in value]
        return (
            "{"
            + ",".join(f"{key}:{quoted(item)}" for key, item in zip(keys, value.values(), strict=True))
            + "}"
        )
    return json.dumps(value)  # numbers, true, false and null are written as in JSON
