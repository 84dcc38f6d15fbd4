"""The telescope: seeing, sky noise and the colour picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from galaxy.surveys.simulated.profiles import FRAME, Array

# Non-linearity of the colour pictures of SDSS (Lupton et al. 2004, PASP 116, 133).
_SOFTENING = 2.25
# Fitted to the corners of 300 images of the Galaxy Challenge: median level and scatter of each channel.
_SKY = np.array([0.016, 0.012, 0.006], np.float32)
_NOISE = 0.028 * np.array([1.0, 0.8, 1.1], np.float32)


def blur(light: Array, rng: np.random.Generator) -> Array:
    """Blurs (n, n, 3) light as the air does: a core with 1.0 to 1.9 pixels' standard deviation, and wings."""
    seeing = min(1.9, max(1.0, 1.35 * math.exp(0.12 * rng.standard_normal())))
    core, wings = (cv2.GaussianBlur(light, (0, 0), width * seeing) for width in (1.0, 2.6))
    return 0.88 * core + 0.12 * wings


def expose(seen: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Takes the picture: (n, n, 3) light to (424, 424, 3) uint8 RGB, enlarged with its noise."""
    sky_noise = math.exp(0.25 * rng.standard_normal()) * _NOISE
    noise = np.sqrt(np.square(sky_noise) + 0.0006 * np.maximum(seen, 0))
    measured = seen + noise * rng.standard_normal(seen.shape, dtype=np.float32)
    measured += _SKY + 0.003 * rng.standard_normal(3, dtype=np.float32)
    picture = cv2.resize(_compress(measured), (FRAME, FRAME), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _compress(light: Array) -> Array:
    """Compresses brightness and keeps colour: (n, n, 3) light to RGB in 0 to 255."""
    mean = np.maximum(light.mean(-1, keepdims=True), 1e-6)
    picture = light * (np.arcsinh(_SOFTENING * mean) / (_SOFTENING * mean))
    brightest = np.maximum(picture.max(-1, keepdims=True), 1.0)
    return np.clip(255 * picture / brightest, 0, 255)
