"""The contract of an encoder, and what encoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from galaxy.system.errors import UserError


class Encoder(nn.Module, ABC):
    """Images to features; a head turns the features into answers.

    A new encoder sets `num_features` and writes `forward`. One that may start from pretrained weights also
    writes `load_pretrained`, and may ask for a gentler training by the two attributes below.

    Attributes:
        num_features: The width of the features.
        frozen_epochs: The number of epochs, from the first, in which the encoder stays as it is, its
            batch-norm statistics included, and only the head learns.
        body_lr_factor: The encoder's learning rate over the head's.
    """

    num_features: int
    frozen_epochs: int = 0
    body_lr_factor: float = 1.0

    def load_pretrained(self) -> None:
        """Takes pretrained weights, if any are asked for.

        Called once when a training starts. Construction reads no weights, for a checkpoint may fill them in.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            images: (B, channels, size, size) float32, each channel with mean 0 and standard deviation 1.

        Returns:
            (B, num_features).
        """


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises UserError where a network would leave no pixel of an image."""
    if size < smallest:
        raise UserError(f"crop.size is {size}; {name} needs {smallest} or more")


def check_dropout(dropout: float) -> None:
    """Raises UserError unless dropout leaves any feature."""
    if not 0 <= dropout < 1:
        raise UserError(f"model.dropout is {dropout}; it must be 0 or more and less than 1")


def check_body_lr_factor(factor: float) -> None:
    """Raises UserError unless the encoder learns at all."""
    if factor <= 0:
        raise UserError(f"model.body_lr_factor is {factor}; it must be more than 0")


def keras_initialised(module: nn.Module) -> None:
    """Gives a layer Keras' default start, for `nn.Module.apply`: Glorot uniform weights, biases of 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
