"""Learning rates, weight decay and freezing, layer by layer."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from galaxy.learning.optim import build_optimizer
from galaxy.learning.transfer import Transfer, count_layers
from galaxy.models.dieleman import Dieleman
from galaxy.models.encoder import Encoder
from galaxy.models.resnet import ResNet

ADAMW = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5)


class Three(Encoder):
    """Three layers, the first with a norm."""

    num_features = 4
    normalisation = ((0.2, 0.3, 0.4), (0.1, 0.1, 0.4))

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class TokenFirst(Encoder):
    """A weight of the network's own in front of its layers, as in vision transformers."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.mean(dim=(2, 3)) + self.token)


def groups_of(transfer: Transfer, exclude_1d: bool = False) -> dict[str, dict[str, Any]]:
    head = nn.Linear(4, 2)
    made = build_optimizer(ADAMW, Three(), list(head.parameters()), transfer, exclude_1d)
    return {group["name"]: group for group in made.param_groups}


def test_one_group_learns_at_one_rate_by_default() -> None:
    (group,) = groups_of(Transfer()).values()
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1, 0.5, 10)


def test_each_layer_learns_slower_than_the_next_one() -> None:
    groups = groups_of(Transfer(layer_decay=0.5, body_lr_factor=0.1))
    rates = {name: group["lr"] for name, group in groups.items()}
    assert rates == pytest.approx({"layer_0": 0.00125, "layer_1": 0.0025, "layer_2": 0.005, "head": 0.1})
    assert [len(group["params"]) for group in groups.values()] == [4, 2, 2, 2]


def test_biases_and_norms_may_be_left_out_of_weight_decay() -> None:
    groups = groups_of(Transfer(body_lr_factor=0.1), exclude_1d=True)
    decays = {name: (group["weight_decay"], len(group["params"])) for name, group in groups.items()}
    assert decays == {
        "encoder": (0.5, 3),
        "encoder_no_decay": (0.0, 5),
        "head": (0.5, 1),
        "head_no_decay": (0.0, 1),
    }
    encoder = Dieleman(3, 49, (2, 2, 2, 2), (4, 4))
    undecayed = Transfer().groups(encoder, [], exclude_1d=True)[1]
    assert len(undecayed["params"]) == 6  # those of four convolutions have three dimensions
    assert groups["encoder_no_decay"]["lr"] == pytest.approx(0.01)


def test_the_layers_of_a_resnet_are_its_blocks() -> None:
    numbers = ResNet(18, 3, 32).layer_numbers()
    assert count_layers(ResNet(18, 3, 32)) == 1 + 8
    assert (numbers["body.bn1.weight"], numbers["body.layer1.0.conv1.weight"]) == (0, 1)
    assert numbers["body.layer4.1.conv2.weight"] == 8
    assert len(set(numbers.values())) == 9


def learning(encoder: Encoder) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def test_only_the_last_layers_learn_after_the_frozen_epochs() -> None:
    encoder = Three()
    transfer, all_weights = Transfer(frozen_epochs=1, trained_layers=1), list(encoder.parameters())
    transfer.freeze(encoder, all_weights, 0)
    assert not learning(encoder)
    assert not any(module.training for module in encoder.modules())
    transfer.freeze(encoder, all_weights, 1)
    assert learning(encoder) == ["layers.4.weight", "layers.4.bias"]
    assert [module.training for module in encoder.layers] == [False, False, False, False, True]
    Transfer(trained_layers=3).freeze(encoder, all_weights, 0)
    assert len(learning(encoder)) == 8
    assert all(module.training for module in encoder.modules())
    Transfer(trained_layers=0).freeze(encoder, all_weights, 5)
    assert not learning(encoder)


def test_modules_without_weights_go_with_the_weights_before_them() -> None:
    encoder, dropout = Three(), nn.Dropout()
    encoder.layers = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.Sequential(nn.Conv2d(4, 4, 3), dropout),
        nn.Flatten(),
        nn.Linear(64, 4),
        nn.Dropout(),
    )
    Transfer(trained_layers=1).freeze(encoder, list(encoder.parameters()), 0)
    assert [module.training for module in encoder.layers] == [False, False, False, False, True, True]
    assert not dropout.training
    Transfer(frozen_epochs=1).freeze(encoder, list(encoder.parameters()), 1)
    assert all(module.training for module in encoder.modules())


def test_a_frozen_weight_of_the_whole_network_leaves_its_layers_learning() -> None:
    encoder = TokenFirst()
    Transfer(trained_layers=1).freeze(encoder, list(encoder.parameters()), 0)
    assert [module.training for module in encoder.layers] == [False, True, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen_epochs": -1}, "frozen_epochs is -1; it must be 0 or more"),
        ({"trained_layers": -1}, "trained_layers is -1; it must be 0 or more, or null for all"),
        ({"body_lr_factor": 0.0}, "body_lr_factor is 0.0; it must be more than 0"),
        ({"layer_decay": 1.1}, "layer_decay is 1.1; it must be more than 0 and at most 1"),
        ({"normalisation": "imagenet"}, "normalisation is imagenet; it must be training or pretrained"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Transfer(**settings)


def test_settings_must_suit_the_encoder() -> None:
    Transfer(trained_layers=3, normalisation="pretrained").check(Three())
    with pytest.raises(ValueError, match=r"^trained_layers is 4, but this Three has 3 layers"):
        Transfer(trained_layers=4).check(Three())
    with pytest.raises(
        ValueError, match=r"^normalisation is pretrained, but nobody publishes weights of Token"
    ):
        Transfer(normalisation="pretrained").check(TokenFirst())


def test_published_statistics_are_averaged_for_other_numbers_of_channels() -> None:
    transfer = Transfer(normalisation="pretrained")
    mean, std = transfer.statistics(Three(), 3)
    assert mean.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    mean, std = transfer.statistics(Three(), 2)
    assert mean.shape == std.shape == (2, 1, 1)
    assert (mean.flatten().tolist(), std.flatten().tolist()) == (
        pytest.approx([0.3, 0.3]),
        pytest.approx([0.2, 0.2]),
    )
