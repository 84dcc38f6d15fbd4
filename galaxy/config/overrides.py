"""Writes values in the notation of Hydra's overrides."""

from __future__ import annotations

import json
import re
from typing import Any


def quoted(value: Any) -> str:
    """Writes a plain value so that Hydra reads the same value from the command line."""
    if isinstance(value, str):
        # A backslash has a meaning only in front of a quote, where it is doubled.
        return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
    if isinstance(value, list):
        return "[" + ",".join(quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        # A key cannot be quoted, so the characters that would end it are escaped. It cannot hold quotes.
        keys = [re.sub(r"[\\()\[\]{}:=, ]", r"\\\g<0>", str(key)) for key in value]
        return (
            "{"
            + ",".join(f"{key}:{quoted(item)}" for key, item in zip(keys, value.values(), strict=True))
            + "}"
        )
    return json.dumps(value)  # Numbers, true, false and null are written as in JSON.
