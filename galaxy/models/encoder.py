"""The base of all encoders, and what encoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from galaxy.system.errors import listing

# The mean and the standard deviation of each channel.
Normalisation = tuple[Sequence[float], Sequence[float]]


class Encoder(nn.Module, ABC):
    """A network from images to features; a head turns the features into answers.

    A new encoder sets `num_features` and writes `forward`. An encoder of which others publish weights may
    also set `normalisation`, and write `pretrained` and `translated`. One of large blocks may write
    `layer_numbers`.

    Attributes:
        num_features: The width of the features.
        normalisation: The mean and the standard deviation of the channels that published weights expect, of
            images in [0, 1]; None where nobody publishes weights.
    """

    num_features: int
    normalisation: Normalisation | None = None

    def layer_numbers(self) -> dict[str, int]:
        """Numbers the layers from the input on, by the names of their weights; the first layer is 0.

        Here each matrix or kernel called `weight` begins a layer; biases and norms belong to the layer that
        they follow.
        """
        numbers, number = {}, -1
        for name, parameter in self.named_parameters():
            number += name.endswith("weight") and parameter.ndim > 1
            numbers[name] = max(number, 0)
        return numbers

    def pretrained(self, name: str) -> Mapping[str, Tensor]:
        """Returns published weights, in any form that `translated` understands.

        Args:
            name: `imagenet`, or `hf_hub:` with the name of a repository.

        Raises:
            ValueError: Nobody publishes such weights of this network.
            UserError: The weights cannot be had.
        """
        raise ValueError(f"{type(self).__name__} has no weights called {name}")

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the weights of a state dict under this encoder's own names.

        Args:
            state: The weights. Their names may have one prefix, such as `encoder.`. The state dict may hold
                weights without this prefix, such as those of a head; they are left out.

        Raises:
            ValueError: The state dict holds this network twice.
        """
        return without_prefix(state, self.state_dict())

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Starts the encoder from the weights of a state dict.

        Args:
            state: The weights, in any form that `translated` understands.

        Raises:
            ValueError: The weights are not those of such a network. Nothing has been loaded.
        """
        expected, given = self.state_dict(), self.translated(state)
        # Files from before PyTorch 0.4.1 hold no count of batches, and nothing here uses it.
        missing = [key for key in expected if key not in given and not key.endswith("num_batches_tracked")]
        problems = [f"missing: {key}" for key in missing]
        problems += [f"unexpected: {key}" for key in given if key not in expected]
        for key in given.keys() & expected.keys():
            if given[key].shape != expected[key].shape:
                shapes = tuple(given[key].shape), tuple(expected[key].shape)
                problems.append(f"{key}: {shapes[0]}, the network has {shapes[1]}")
            elif not torch.isfinite(given[key]).all():
                problems.append(f"{key}: not all of its numbers are finite")
        if problems:
            raise ValueError(f"the weights do not fit {type(self).__name__}:\n{listing(problems)}")
        self.load_state_dict(given, strict=False)

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            images: (B, channels, size, size) float32. Each channel has mean 0 and standard deviation 1, or is
                normalised as the published weights expect.

        Returns:
            Features (B, num_features).
        """


def check_size(name: str, size: int, smallest: int) -> None:
    """Raises ValueError where the network `name` would leave no pixel of an image."""
    if size < smallest:
        raise ValueError(f"size is {size}; {name} needs {smallest} or more")


def check_widths(name: str, *widths: int) -> None:
    """Raises ValueError where a layer would have no unit; `name` is that of the parameter."""
    if min(widths) < 1:
        raise ValueError(f"{name} is {', '.join(map(str, widths))}; a layer needs 1 or more")


def check_dropout(dropout: float) -> None:
    """Raises ValueError unless dropout is a share that leaves some features."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; it must be 0 or more and less than 1")


def without_prefix(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Returns the part of a state dict whose names have one prefix, without this prefix.

    Args:
        state: The weights.
        names: The names that a network has. The prefix is the one with which the most of them are there.

    Raises:
        ValueError: All names are there with two prefixes.
    """
    counts: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in names:
                counts["".join(f"{part}." for part in parts[:place])] += 1
    whole = [prefix for prefix, count in counts.items() if count == len(names)]
    if len(whole) > 1:
        raise ValueError(
            f"the state dict holds this network {len(whole)} times ({', '.join(whole)}): save one of them"
        )
    prefix = max(counts, key=counts.__getitem__, default="")
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """Returns the weights of a first convolution for another number of channels.

    They are summed over their input channels and divided by the new number. A grey image repeated over the
    new channels then gives exactly what the same image gave as red = green = blue.

    Args:
        weight: (filters, old channels, height, width).
        channels: The number of channels of the images.
    """
    if weight.ndim != 4 or weight.shape[1] == channels:
        return weight
    return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels


def keras_initialised(module: nn.Module) -> None:
    """Starts a layer as Keras does: Glorot uniform weights, biases of 0. It is meant for `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
