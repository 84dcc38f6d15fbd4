"""How an encoder learns that may have learned before: slower than the head, later, or in part."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from galaxy.models.encoder import Encoder
from galaxy.system.errors import UserError


@dataclass(frozen=True)
class Transfer:
    """How gently an encoder learns. The defaults let all weights learn alike.

    Attributes:
        frozen_epochs: The number of epochs at the start in which only the head learns.
        trained_layers: The number of the encoder's last layers that ever learn; None for all, 0 for a head
            on fixed features.
        body_lr_factor: The encoder's learning rate divided by the head's.
        layer_decay: The learning rate of each layer divided by that of the next one, the head being the last
            (Bao et al. 2021, arXiv:2106.08254).
        normalisation: `training` gives each channel mean 0 and standard deviation 1 over the training images,
            `pretrained` normalises as the published weights of the encoder expect.

    Raises:
        ValueError: A value is out of its range.
    """

    frozen_epochs: int = 0
    trained_layers: int | None = None
    body_lr_factor: float = 1.0
    layer_decay: float = 1.0
    normalisation: Literal["training", "pretrained"] = "training"

    def __post_init__(self) -> None:
        if self.frozen_epochs < 0:
            raise ValueError(f"frozen_epochs is {self.frozen_epochs}; it must be 0 or more")
        if self.trained_layers is not None and self.trained_layers < 0:
            raise ValueError(
                f"trained_layers is {self.trained_layers}; it must be 0 or more, or null for all"
            )
        if self.body_lr_factor <= 0:
            raise ValueError(f"body_lr_factor is {self.body_lr_factor}; it must be more than 0")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; it must be more than 0 and at most 1")
        if self.normalisation not in ("training", "pretrained"):
            raise ValueError(f"normalisation is {self.normalisation}; it must be training or pretrained")

    def check(self, encoder: Encoder) -> None:
        """Raises ValueError where this encoder has fewer layers, or no published weights."""
        if self.trained_layers is not None and self.trained_layers > (layers := count_layers(encoder)):
            name = type(encoder).__name__
            raise ValueError(f"trained_layers is {self.trained_layers}, but this {name} has {layers} layers")
        if self.normalisation == "pretrained" and encoder.normalisation is None:
            raise ValueError(
                f"normalisation is pretrained, but nobody publishes weights of {type(encoder).__name__}; it "
                "must be training"
            )

    def check_processes(self, number: int) -> None:
        """Raises UserError where the encoder is frozen at first or in part, and several processes train."""
        if self.freezes and number > 1:
            raise UserError(
                "model.frozen_epochs and model.trained_layers work in one process only, because the others "
                "would wait for gradients of frozen weights: use trainer.devices=1, or model.frozen_epochs=0 "
                "and model.trained_layers=null"
            )

    @property
    def freezes(self) -> bool:
        """Whether some weights of the encoder do not learn for some time."""
        return self.frozen_epochs > 0 or self.trained_layers is not None

    def freeze(self, encoder: Encoder, allowed: Collection[nn.Parameter], epoch: int) -> None:
        """Lets those weights learn that learn in this epoch, and no others.

        Layers that do not learn keep their batch-norm statistics, and drop nothing. Modules without weights,
        such as dropout, go with the weights before them.

        Args:
            encoder: The encoder.
            allowed: The weights that may learn at all.
            epoch: The number of the epoch from 0 on.
        """
        if not self.freezes:
            return
        last = 0 if epoch < self.frozen_epochs else self.trained_layers
        first = 0 if last is None else count_layers(encoder) - last
        numbers, names = encoder.layer_numbers(), dict(encoder.named_parameters())
        kept = {id(parameter) for parameter in allowed}
        for name, parameter in names.items():
            parameter.requires_grad_(id(parameter) in kept and numbers[name] >= first)
        learns = first == 0  # whether the weights before a module do
        for module in encoder.modules():
            own = list(module.parameters(recurse=False))
            if own:
                learns = any(parameter.requires_grad for parameter in own)
            inside = own or list(module.parameters())
            # The mode of this module alone: its children may have another.
            module.training = any(parameter.requires_grad for parameter in inside) if inside else learns

    def groups(
        self, encoder: Encoder, head: Collection[nn.Parameter], exclude_1d: bool = False
    ) -> list[dict[str, Any]]:
        """Divides the weights into the groups of an optimizer, from the input to the head.

        Args:
            encoder: The encoder.
            head: All other weights that learn.
            exclude_1d: Whether biases and weights of one dimension, such as those of norms, get no weight
                decay.

        Returns:
            Groups with "name" and "params". "lr_scale" is the group's learning rate divided by the head's,
            and groups without weight decay say so. Weights that learn alike are in one group, because an
            optimizer goes through its groups one by one.
        """
        numbers = encoder.layer_numbers()
        layers = count_layers(encoder)
        parts: list[tuple[str, float, str, nn.Parameter]] = []
        for name, parameter in encoder.named_parameters():
            scale = self.body_lr_factor * self.layer_decay ** (layers - numbers[name])
            part = f"layer_{numbers[name]}" if self.layer_decay < 1 else "encoder"
            parts.append((part, scale, name, parameter))
        parts += [("head", 1.0, "", parameter) for parameter in head]
        alike = self.layer_decay == 1 and self.body_lr_factor == 1
        groups: dict[str, dict[str, Any]] = {}
        for part, scale, name, parameter in parts:
            # A bias may differ from place to place of a map, and then has three dimensions.
            undecayed = exclude_1d and (parameter.ndim <= 1 or name.endswith("bias"))
            key = ("network" if alike else part) + ("_no_decay" if undecayed else "")
            group = groups.setdefault(key, {"name": key, "params": [], "lr_scale": scale})
            group["params"].append(parameter)
            if undecayed:
                group["weight_decay"] = 0.0
        return list(groups.values())

    def statistics(self, encoder: Encoder, channels: int) -> tuple[Tensor, Tensor]:
        """Returns the mean and the standard deviation that the encoder's weights expect, (C, 1, 1) each.

        Where the weights were published for another number of channels, each channel gets their mean.
        """
        assert encoder.normalisation is not None  # `check` has seen to it
        values = (torch.tensor(list(numbers)) for numbers in encoder.normalisation)
        mean, std = (v if len(v) == channels else v.mean().expand(channels) for v in values)
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)


def count_layers(encoder: Encoder) -> int:
    """Counts the layers of an encoder."""
    return max(encoder.layer_numbers().values(), default=-1) + 1
