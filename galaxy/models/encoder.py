"""The base of all encoders, and what encoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A network from images to features; a head turns the features into answers.

    A new encoder sets `num_features` and writes `forward`. An encoder that may start from pretrained weights
    also writes `load_pretrained`, and may ask for a gentler training by the two attributes below.

    Attributes:
        num_features: The width of the features.
        frozen_epochs: The number of epochs at the start in which only the head learns. The encoder then keeps
            its weights and its batch-norm statistics.
        body_lr_factor: The encoder's learning rate divided by the head's.
    """

    num_features: int
    frozen_epochs: int = 0
    body_lr_factor: float = 1.0

    def load_pretrained(self) -> None:
        """Loads pretrained weights, if the constructor was asked for any.

        The program calls this once when a training starts. The constructor reads no weights, because an
        encoder is also built to be filled from a checkpoint.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            images: (B, channels, size, size) float32, each channel with mean 0 and standard deviation 1.

        Returns:
            Features (B, num_features).
        """


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises ValueError where the network `name` would leave no pixel of an image."""
    if size < smallest:
        raise ValueError(f"size is {size}; {name} needs {smallest} or more")


def check_dropout(dropout: float) -> None:
    """Raises ValueError unless dropout is a share that leaves some features."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; it must be 0 or more and less than 1")


def check_body_lr_factor(factor: float) -> None:
    """Raises ValueError unless the encoder learns at all."""
    if factor <= 0:
        raise ValueError(f"body_lr_factor is {factor}; it must be more than 0")


def keras_initialised(module: nn.Module) -> None:
    """Starts a layer as Keras does: Glorot uniform weights, biases of 0. It is meant for `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
