"""Views of an image, whose predictions are averaged: test-time augmentation (`tta`).

| views | what they are |
| --- | --- |
| 1 | the image as it is |
| 4 | four quarter turns |
| 8 | these, and their mirror images |
| 24, 30, 36, ... | as many angles as a sixth of the number, each mirrored or not, at three magnifications |

Sixty views (ten angles) are those of the winner of the Galaxy Challenge (Dieleman, Willett & Dambre 2015,
MNRAS 450, 1441). They are sampled bilinearly, with the same sky beyond the edge as the augmentation `affine`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FEW = (1, 4, 8)
ZOOMS = (1.0, 1.2, 1 / 1.2)
# Mirrored or not, at each magnification.
_OF_AN_ANGLE = 2 * len(ZOOMS)
# Fewer angles than the quarter turns would leave some of these out.
_LEAST = 4 * _OF_AN_ANGLE


def check_views(count: int) -> None:
    """Refuses a number of views that is not in the table above.

    Raises:
        ValueError: The message names the nearest numbers that are allowed.
    """
    allowed = [*FEW, *range(_LEAST, max(count, _LEAST) + _OF_AN_ANGLE, _OF_AN_ANGLE)]
    if count in allowed:
        return
    near = [n for n in allowed if n < count][-1:] + [n for n in allowed if n > count][:1]
    raise ValueError(
        f"tta is {count}; it must be 1, 4 or 8, or a multiple of {_OF_AN_ANGLE} from {_LEAST} on (angles x 2 "
        f"mirror images x {len(ZOOMS)} zooms), such as {' or '.join(map(str, near))}"
    )


def views(images: Tensor, count: int) -> Iterator[Tensor]:
    """Yields one view of all images after the other; the first is the images as they are.

    Args:
        images: (B, C, S, S) float32 in [0, 1].
        count: The number of views; see `check_views`.

    Yields:
        (B, C, S, S) float32.
    """
    if count in FEW:
        for seen in (images, images.flip(-1)) if count == FEW[-1] else (images,):
            yield seen  # no copy
            for turns in range(1, 1 if count == 1 else 4):
                yield seen.rot90(turns, (-2, -1))
        return
    import torch  # noqa: PLC0415  `check_views` has no time for it

    from galaxy.images.augment import resampled, turned  # noqa: PLC0415

    angles = count // _OF_AN_ANGLE
    for zoom in ZOOMS:
        for mirror in (1.0, -1.0):
            for turn in range(angles):
                if (zoom, mirror, turn) == (1, 1, 0):
                    yield images
                    continue
                change = torch.tensor([[2 * math.pi * turn / angles], [mirror], [zoom]], dtype=torch.float64)
                inverse = torch.cat([turned(*change), torch.zeros(1, 2, 1)], dim=2)
                yield resampled(images, inverse.float().to(images.device))
