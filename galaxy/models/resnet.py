"""Residual networks of torchvision."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_size, without_prefix
from galaxy.system.errors import UserError

# The weights are named one by one, because torchvision's "DEFAULT" may mean others in its next version.
_IMAGENET = {18: "IMAGENET1K_V1", 34: "IMAGENET1K_V1", 50: "IMAGENET1K_V2"}


class ResNet(Encoder):
    """torchvision's ResNet without its last layer (He et al. 2016, arXiv:1512.03385).

    It can start from torchvision's weights, those of ImageNet among them, which expect three channels. For
    any other number C the first convolution's weights are summed over their input channels and divided by C.
    A grey image repeated over C channels then gives exactly the features that the same image gives as
    red = green = blue.

    Args:
        depth: The number of layers.
        channels: The channels of the images.
        size: The side of the images in pixels, 32 or more, because the network halves it five times.
    """

    def __init__(self, depth: Literal[18, 34, 50], channels: int, size: int) -> None:
        super().__init__()
        if depth not in _IMAGENET:
            raise ValueError(f"depth is {depth}; it must be one of {', '.join(map(str, _IMAGENET))}")
        check_size(f"resnet{depth}", size, 32)
        self.depth = depth
        self.body: nn.Module = torchvision.models.get_model(f"resnet{depth}", weights=None)
        self.num_features = self.body.fc.in_features
        self.body.fc = nn.Identity()
        if channels != 3:
            self.body.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            # This is how torchvision starts its convolutions.
            nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, 512), or (B, 2048) for depth 50."""
        return self.body(images)

    def pretrained(self, name: str) -> Mapping[str, Tensor]:
        """Returns torchvision's weights of ImageNet, for the name `imagenet`."""
        if name != "imagenet":
            return super().pretrained(name)
        weights = torchvision.models.get_model_weights(f"resnet{self.depth}")[_IMAGENET[self.depth]]
        try:
            return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            file = Path(urlparse(weights.url).path).name
            raise UserError(
                f"model.weights=imagenet: cannot get {weights.url} ({error}).\n"
                f"torchvision looks for {folder / file} first: put the file there, or anywhere and name it "
                f"with model.weights=/path/to/{file}. Neither needs a network."
            ) from error

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Takes torchvision's names as well, with or without the last layer, and any number of channels."""
        expected = self.body.state_dict()
        found = without_prefix(state, expected)
        found = {key: value for key, value in found.items() if not key.startswith("fc.")}
        first, channels = found.get("conv1.weight"), expected["conv1.weight"].shape[1]
        if first is not None and first.ndim == 4 and first.shape[1] != channels:
            found["conv1.weight"] = first.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
        return {f"body.{key}": value for key, value in found.items()}
