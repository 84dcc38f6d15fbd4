"""The network that won the Kaggle challenge in 2014."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_dropout, check_size, check_widths

_VIEW = 69  # side in pixels of a view, which shows the central 207 of the frame's 424 pixels
_SIDE = 97  # side in pixels of the image that also holds a view turned by 45 degrees: 69 times the root of 2
_PART = 45  # side in pixels of a part, a corner of a view
_PARTS = 16  # four views of four corners
_POOL = 2  # numbers of which a maxout takes the largest


class Dieleman(Encoder):
    """Four convolutions on sixteen parts of an image, and two maxout layers: RMSE 0.07693 on Kaggle.

    Dieleman, Willett and Dambre 2015 (arXiv:1503.07077) and github.com/benanne/kaggle-galaxies, the best
    single network of the winner, with 60 views of each test image. It sees an image and its mirror image,
    each as it is and turned by 45 degrees. Each of these four views is cut into four overlapping corners,
    which are turned so that the galaxy's centre always lies in the same corner. All sixteen parts go through
    the same convolutions. Biases differ from place to place ("untied"). Weights start as in his code.

    What differs from the code:

    - The head comes after this encoder. `head=tree` is a softmax for each question, times the probability of
      being asked. The code divides what is above 0 by its sum instead, which cannot learn where all answers
      of a question are below 0, and so begins with 10,000 images without that rule. The winner found little
      difference.
    - The views are cut from one crop of 97 px, whose corners only the turned views see. The code cuts both
      from the whole frame. Crops of other sizes are resized to 97 px.
    - The images have mean 0 and standard deviation 1; the code leaves them in [0, 1].

    Args:
        channels: The channels of the images.
        size: The side of the images in pixels, 49 or more; smaller ones would be magnified more than twice.
        filters: The numbers of filters of the convolutions of 6x6, 5x5, 3x3 and 3x3.
        dense: The widths of the two maxout layers.
        dropout: The share of the features dropped in training, before each maxout layer and after the second.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        filters: tuple[int, int, int, int] = (32, 64, 128, 128),
        dense: tuple[int, int] = (2048, 2048),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_size("dieleman", size, math.ceil(_SIDE / 2))
        check_dropout(dropout)
        check_widths("filters", *filters)
        check_widths("dense", *dense)
        one, two, three, four = filters
        # 45 -> 40 -> 20 -> 16 -> 8 -> 6 -> 4 -> 2
        self.convolutions = nn.Sequential(
            *_convolution(channels, one, 6, side=40, std=0.01),
            nn.MaxPool2d(2),
            *_convolution(one, two, 5, side=16, std=0.01),
            nn.MaxPool2d(2),
            *_convolution(two, three, 3, side=6, std=0.01),
            *_convolution(three, four, 3, side=4, std=0.1),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        first, second = dense
        self.dense = nn.Sequential(
            nn.Dropout(dropout),
            Maxout(_PARTS * four * 2**2, first),
            nn.Dropout(dropout),
            Maxout(first, second),
            nn.Dropout(dropout),
        )
        self.num_features = second
        self.register_buffer("turned", _turned_grid(), persistent=False)
        self.turned: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, width of the last layer)."""
        features = self.convolutions(self.parts(images).flatten(0, 1))
        return self.dense(features.reshape(images.shape[0], -1))

    def parts(self, images: Tensor) -> Tensor:
        """Cuts images (B, C, size, size) into their parts (B, 16, C, 45, 45).

        The centre of the galaxy is always in the lower right corner of a part.
        """
        if images.shape[-1] != _SIDE:
            mode = "area" if images.shape[-1] > _SIDE else "bilinear"
            images = F.interpolate(images, size=(_SIDE, _SIDE), mode=mode)
        margin = (_SIDE - _VIEW) // 2
        straight = images[..., margin : margin + _VIEW, margin : margin + _VIEW]
        grid = self.turned.to(images.dtype).expand(images.shape[0], -1, -1, -1)
        turned = F.grid_sample(images, grid, padding_mode="border", align_corners=True)
        views = [straight, straight.flip(3), turned, turned.flip(3)]
        corners = [view.rot90(turns, (2, 3))[..., :_PART, :_PART] for view in views for turns in range(4)]
        return torch.stack(corners, dim=1)


class Maxout(nn.Module):
    """A dense layer with two candidates for each feature, of which the larger one counts.

    Args:
        in_features: The width of the input.
        out_features: The width of the output.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, _POOL * out_features)
        nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.constant_(self.linear.bias, 0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Turns features (B, in_features) into features (B, out_features)."""
        return self.linear(features).unflatten(1, (-1, _POOL)).amax(dim=2)


class UntiedBias(nn.Module):
    """Adds a bias of its own to each place of a map.

    Args:
        channels: The channels of the map.
        side: The side of the map in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((channels, side, side), 0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Adds the biases to maps (B, channels, side, side)."""
        return features + self.bias


def _convolution(channels: int, filters: int, kernel: int, side: int, std: float) -> list[nn.Module]:
    """Makes a convolution without padding, whose maps have the given side, and what follows it."""
    layer = nn.Conv2d(channels, filters, kernel, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return [layer, UntiedBias(filters, side), nn.ReLU()]


def _turned_grid() -> Tensor:
    """Returns where a view turned by 45 degrees takes its pixels from, (1, 69, 69, 2) as (x, y) in [-1, 1].

    The values are for `grid_sample` with aligned corners, on images of 97 px.
    """
    place = torch.arange(_VIEW) - _VIEW // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x - y, x + y], dim=2)[None] / math.sqrt(2) / (_SIDE // 2)
