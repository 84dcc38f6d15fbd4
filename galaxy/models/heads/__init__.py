"""Heads turn the features of an encoder into vote fractions: one file each."""

from galaxy.models.heads.head import Head, Output

__all__ = ["Head", "Output"]
