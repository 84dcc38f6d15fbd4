"""Crops: which part of the frame a model sees, and at what size. Each way of choosing it has one module."""

from galaxy.images.crops.crop import Crop, Pixels

__all__ = ["Crop", "Pixels"]
