"""Crops: which part of the frame a model sees, and at what size. One module per way of choosing it."""

from galaxy.images.crops.crop import Crop, Pixels

__all__ = ["Crop", "Pixels"]
