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

from galaxy.models.encoder import Encoder, check_size, for_channels, without_prefix
from galaxy.system.errors import UserError

# The weights are named one by one, because torchvision's "DEFAULT" may mean others in its next version.
_IMAGENET = {18: "IMAGENET1K_V1", 34: "IMAGENET1K_V1", 50: "IMAGENET1K_V2"}
# The numbers of torchvision's transforms for these weights.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet(Encoder):
    """torchvision's ResNet without its last layer (He et al. 2016, arXiv:1512.03385).

    It can start from torchvision's weights, those of ImageNet among them, which expect three channels. For
    any other number the first convolution is adapted as `for_channels` says.

    Args:
        depth: The number of layers.
        channels: The channels of the images.
        size: The side of the images in pixels, 32 or more, because the network halves it five times.
    """

    normalisation = (_MEAN, _STD)

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

    def layer_numbers(self) -> dict[str, int]:
        """Takes each residual block for a layer, and what comes before the first for one."""
        names = [name for name, _ in self.named_parameters()]
        blocks = [".".join(name.split(".")[1:3]) if "layer" in name else "" for name in names]
        order = list(dict.fromkeys(blocks))
        return {name: order.index(block) for name, block in zip(names, blocks, strict=True)}

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
        if "conv1.weight" in found:
            found["conv1.weight"] = for_channels(found["conv1.weight"], expected["conv1.weight"].shape[1])
        return {f"body.{key}": value for key, value in found.items()}
