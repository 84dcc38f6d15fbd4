"""Predict the vote fractions of Galaxy Zoo volunteers from galaxy images."""

__version__ = "0.1.0"
