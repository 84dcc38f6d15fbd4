"""Lists the packages of a wheel, because pyproject.toml cannot add a folder to the packages that it finds."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["galaxy*"]), "galaxy.conf"])
