"""Lists the packages of a wheel, because pyproject.toml cannot add a folder to the packages that it finds."""

from setuptools import find_packages, setup

# hydra_plugins is a namespace that other packages share, so it has no __init__.py.
setup(packages=[*find_packages(include=["galaxy*"]), "galaxy.conf", "hydra_plugins"])
