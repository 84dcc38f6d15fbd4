"""The optimizer of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import Optimizer

from galaxy.models.encoder import Encoder
from galaxy.system.errors import UserError


def build_optimizer(
    make: Callable[..., Optimizer], encoder: Encoder, head: Iterable[nn.Parameter]
) -> Optimizer:
    """Makes the optimizer; the encoder may learn at its own rate, the head learns at the optimizer's.

    Args:
        make: Called with the groups of parameters.
        encoder: Says by which factor of the learning rate it learns.
        head: What else learns.

    Raises:
        UserError: The optimizer refuses its settings, such as a learning rate below 0.
    """
    factor = encoder.body_lr_factor
    groups = [
        {"name": "encoder", "params": list(encoder.parameters())},
        {"name": "head", "params": list(head)},
    ]
    if factor == 1:  # an optimizer goes through its groups one by one
        groups = [{"name": "network", "params": [*groups[0]["params"], *groups[1]["params"]]}]
    try:
        optimizer = make(groups)
    except (ValueError, RuntimeError, TypeError) as error:
        settings = getattr(make, "keywords", {}).items()
        given = " ".join(f"optimizer.{name}={value}" for name, value in settings)
        raise UserError(f"the optimizer refuses its settings: {error} ({given})") from error
    optimizer.param_groups[0]["lr"] *= factor
    return optimizer
