"""Where the configuration files are."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# An installed wheel holds them inside the package, a checkout beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
