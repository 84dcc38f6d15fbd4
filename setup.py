"""Lists the packages of a wheel, because pyproject.toml cannot add a folder to the packages that it finds."""

from setuptools import find_packages, setup

# Hydra looks for plugins in `hydra_plugins`, a package that has parts in several distributions.
setup(packages=[*find_packages(include=["galaxy*"]), "galaxy.conf", "hydra_plugins"])
