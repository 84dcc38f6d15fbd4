"""The contract of an encoder, and what encoders share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from torch import Tensor, nn

from galaxy.errors import UserError


class Encoder(nn.Module):
    """Images to features; a head turns the features into answers.

    A new encoder sets `num_features` and writes `forward`. One that starts from pretrained weights may also set
    the two attributes below it, which ask for a gentler training.

    Attributes:
        num_features: The width of the features.
        frozen_epochs: The number of epochs, from the first, for which the task keeps the encoder frozen.
        body_lr_factor: The learning rate of `body_parameters` over the head's.
    """

    num_features: int
    frozen_epochs: int = 0
    body_lr_factor: float = 1.0
    _frozen = False

    def forward(self, images: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            images: (B, channels, size, size) float32, each channel with mean 0 and standard deviation 1.

        Returns:
            (B, num_features).
        """
        raise NotImplementedError

    def body_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that learn at `body_lr_factor` times the head's rate: all of the encoder's."""
        return self.parameters()

    def freeze(self, frozen: bool) -> None:
        """Keeps weights and batch-norm statistics as they are and dropout off, or lets all of them go."""
        self._frozen = frozen
        self.requires_grad_(not frozen)
        self.train(not frozen)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self._frozen)


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises UserError where a network would leave no pixel of an image."""
    if size < smallest:
        raise UserError(f"crop.size is {size}; {name} needs {smallest} or more")


def check_dropout(dropout: float) -> None:
    """Raises UserError unless dropout leaves any feature."""
    if not 0 <= dropout < 1:
        raise UserError(f"model.dropout is {dropout}; it must be 0 or more and less than 1")


def keras_initialised(module: nn.Module) -> None:
    """Gives a layer Keras' default start, for `nn.Module.apply`: Glorot uniform weights, biases of 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
