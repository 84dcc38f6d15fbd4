"""Encoders, heads, models that are fitted in one go, and the bases for one's own."""

from galaxy.models.encoder import Encoder
from galaxy.models.fitted import Fitted
from galaxy.models.heads import Head, Output

__all__ = ["Encoder", "Fitted", "Head", "Output"]
