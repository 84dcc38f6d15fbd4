"""Residual networks of torchvision, from random weights, ImageNet's or a file's."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_body_lr_factor, check_size
from galaxy.system.errors import UserError, listing

# The weights are named one by one, because torchvision's "DEFAULT" may mean others in its next version.
_IMAGENET = {18: "IMAGENET1K_V1", 34: "IMAGENET1K_V1", 50: "IMAGENET1K_V2"}


class ResNet(Encoder):
    """torchvision's ResNet without its last layer (He et al. 2016, arXiv:1512.03385).

    Pretrained weights expect three channels. For any other number C the first convolution's weights are
    summed over their input channels and divided by C. A grey image repeated over C channels then gives
    exactly the features that the same image gives as red = green = blue.

    Args:
        depth: The number of layers.
        channels: The channels of the images.
        size: The side of the images in pixels, 32 or more, because the network halves it five times.
        weights: None to start from random weights, `imagenet` to start from torchvision's, or the path of a
            state dict (.pt or .pth) of a torchvision ResNet of this depth, with or without its last layer.
        frozen_epochs: The number of epochs at the start in which only the head learns.
        body_lr_factor: The encoder's learning rate divided by the head's.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50],
        channels: int,
        size: int,
        weights: str | None = None,
        frozen_epochs: int = 0,
        body_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if depth not in _IMAGENET:
            raise ValueError(f"depth is {depth}; it must be one of {', '.join(map(str, _IMAGENET))}")
        check_size(f"resnet{depth}", size, 32)
        if frozen_epochs < 0:
            raise ValueError(f"frozen_epochs is {frozen_epochs}; it must be 0 or more")
        check_body_lr_factor(body_lr_factor)
        self.depth = depth
        self.weights = weights
        self.frozen_epochs = frozen_epochs
        self.body_lr_factor = body_lr_factor
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

    def load_pretrained(self) -> None:
        """Loads the weights that the constructor was asked for.

        Raises:
            UserError: The weights cannot be had or do not fit.
        """
        if self.weights is None:
            return
        imagenet = self.weights == "imagenet"
        state = _imagenet(self.depth) if imagenet else _read(Path(self.weights).expanduser())
        expected = self.body.state_dict()
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        first, channels = state.get("conv1.weight"), expected["conv1.weight"].shape[1]
        if first is not None and first.ndim == 4 and first.shape[1] != channels:
            state["conv1.weight"] = first.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
        # Files from before PyTorch 0.4.1 hold no count of batches, and nothing here uses it.
        missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
        problems = [f"missing: {key}" for key in missing]
        problems += [f"unexpected: {key}" for key in state if key not in expected]
        problems += [
            f"{key}: {tuple(value.shape)}, the network has {tuple(expected[key].shape)}"
            for key, value in state.items()
            if key in expected and value.shape != expected[key].shape
        ]
        if problems:
            raise UserError(
                f"model.weights={self.weights} does not fit this network:\n{listing(problems)}\n"
                "It must be the state dict of a torchvision ResNet of the same depth."
            )
        self.body.load_state_dict(state, strict=False)


def _imagenet(depth: int) -> Mapping[str, Tensor]:
    weights = torchvision.models.get_model_weights(f"resnet{depth}")[_IMAGENET[depth]]
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        name = Path(urlparse(weights.url).path).name
        raise UserError(
            f"model.weights=imagenet: cannot get {weights.url} ({error}).\n"
            f"torchvision looks for {folder / name} first: put the file there, or anywhere and name it with "
            f"model.weights=/path/to/{name}. Neither needs a network."
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError(
            f"model.weights={path} is not a file; it must be null, imagenet or the path of a state dict"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"model.weights={path} cannot be read: {reason}\n"
            "It must be a state dict written with torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"model.weights={path} holds something else than a state dict (names and tensors); "
            "write it with torch.save(model.state_dict(), path)."
        )
    return state
