"""Encoders."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import nn

from galaxy.config.check import READ_BY_PROGRAM
from galaxy.labels.galaxy_zoo_2 import GALAXY_ZOO_2
from galaxy.models.deep_cnn import DeepCNN
from galaxy.models.dieleman import Dieleman, Maxout, UntiedBias
from galaxy.models.encoder import Encoder
from galaxy.models.heads.sigmoid import SigmoidHead
from galaxy.models.mlp import MLP
from galaxy.models.resnet import ResNet
from galaxy.models.sirressi_cnn import SirressiCNN
from galaxy.models.small_cnn import SmallCNN
from galaxy.system.errors import UserError

OPTIONS = {
    path.stem: OmegaConf.load(path)
    for path in sorted((Path(__file__).parents[2] / "conf/model").glob("*.yaml"))
}
# Every option that is an encoder; baselines are left partial, to be told the labels.
NAMES = [name for name, option in OPTIONS.items() if not option.get("_partial_")]
# In place of the tens of millions of weights that would take most of the tests' time.
SMALLER = {
    "small_cnn": {"filters": [4, 4]},
    "mlp": {"hidden": [64, 32]},
    "dieleman": {"filters": [4, 4, 4, 4], "dense": [256, 256]},
    "timm": {"name": "test_convnext"},
}


def encoder(name: str, channels: int, size: int) -> Encoder:
    torch.manual_seed(0)
    node = OmegaConf.merge(OPTIONS[name], {"input_size": size})
    config = OmegaConf.create({"model": node, "crop": {"channels": channels, "size": size}})
    arguments = {**config.model, **SMALLER.get(name, {})}
    for key in READ_BY_PROGRAM["model"]:
        arguments.pop(key, None)
    return get_class(arguments.pop("_target_"))(**arguments)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [64, 106, 128, 212])
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name: str, size: int, channels: int) -> None:
    model = encoder(name, channels, size)
    features = model(torch.randn(2, channels, size, size))
    assert features.shape == (2, model.num_features)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert features.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_gradient_steps_fit_a_batch(name: str) -> None:
    model = encoder(name, 3, 64)
    network = nn.Sequential(model, SigmoidHead(model.num_features, GALAXY_ZOO_2))
    images, targets = torch.randn(4, 3, 64, 64), torch.rand(4, GALAXY_ZOO_2.size)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (network(images).fractions - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_too_small_images_are_refused_and_the_smallest_work(name: str) -> None:
    with pytest.raises(ValueError, match=r"^size is 3; .* needs \d+ or more") as refusal:
        encoder(name, 3, 3)
    smallest = int(str(refusal.value).split(" or more")[0].split()[-1])
    model = encoder(name, 3, smallest).eval()
    assert model(torch.randn(2, 3, smallest, smallest)).shape == (2, model.num_features)
    with pytest.raises(ValueError, match=r"^size is"):
        encoder(name, 3, smallest - 1)


def test_small_cnn_is_the_articles() -> None:
    model = SmallCNN(channels=3, size=64)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(21600, 2700), (2700, 675)]
    assert model.num_features == 675
    assert not any(isinstance(m, nn.AdaptiveMaxPool2d) for m in model.modules())


def test_small_cnn_has_the_same_weights_at_every_size() -> None:
    shapes = {
        tuple((k, tuple(v.shape)) for k, v in SmallCNN(3, size, (4, 4)).state_dict().items())
        for size in (32, 64, 128, 212)
    }
    assert len(shapes) == 1


def test_deep_cnn_is_the_keras_projects() -> None:
    model = DeepCNN(channels=1, size=106)
    first, second = (m for m in model.modules() if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features, second.out_features) == (128 * 11 * 11, 128, 64)
    # Keras' start: zero biases, Glorot uniform weights.
    assert not first.bias.any()
    bound = (6 / (128 * 11 * 11 + 128)) ** 0.5
    assert 0.95 * bound < first.weight.abs().max() <= bound


def test_sirressi_cnn_is_the_reports() -> None:
    model = SirressiCNN(channels=3, size=212)
    (dense,) = (m for m in model.modules() if isinstance(m, nn.Linear))
    assert (dense.in_features, dense.out_features) == (10 * 23 * 23, 128)


def test_mlp_is_the_notebooks() -> None:
    model = MLP(channels=1, size=106, pixels=64)
    first, second = (m for m in model.modules() if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features, second.out_features) == (4096, 2053, 2053)


def test_mlp_sees_the_image_reduced_by_area() -> None:
    model = MLP(channels=2, size=32, pixels=16, hidden=(8,)).eval()
    images = torch.rand(3, 2, 32, 32)
    blocks = images.reshape(3, 2, 16, 2, 16, 2).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(model(images), model.layers(blocks))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixels": 0}, "^pixels is 0; it must be 1 or more"),
        ({"pixels": 65}, "^size is 64; mlp with pixels=65 needs 65 or more"),
        ({"hidden": ()}, r"^hidden is \[\]; it must hold at least one width"),
        ({"hidden": (8, 0)}, r"^hidden is \[8, 0\]"),
    ],
)
def test_mlp_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(channels=3, size=64, **arguments)


def test_dieleman_is_the_winners() -> None:
    model = Dieleman(channels=3, size=97)
    first, second = (m.linear for m in model.modules() if isinstance(m, Maxout))
    assert (first.in_features, first.out_features) == (16 * 128 * 2 * 2, 2 * 2048)
    assert (second.in_features, second.out_features) == (2048, 2 * 2048)
    assert model.num_features == 2048
    biases = [tuple(m.bias.shape) for m in model.modules() if isinstance(m, UntiedBias)]
    assert biases == [(32, 40, 40), (64, 16, 16), (128, 6, 6), (128, 4, 4)]


def test_the_parts_are_corners_turned_to_the_centre() -> None:
    image = torch.zeros(1, 1, 97, 97)
    image[..., 44:53, 44:53] = 1  # the galaxy
    image[..., 20, 48] = 5  # north of it
    parts = Dieleman(1, 97, (4, 4, 4, 4), (4, 4)).parts(image)[0, :, 0]
    assert parts.shape == (16, 45, 45)
    for part in parts:  # the centre of a view of 69 px is pixel 34 of a part
        assert part[31:38, 31:38].mean() > 0.95
    straight, turned = parts[:8], parts[8:]
    assert straight[0, 20 - 14, 48 - 14] == 5
    # Turned by 45 degrees, what was north lies in a corner: in one of the four parts of each view.
    assert sorted((part[:28, :28].max() > 1).item() for part in turned[:4]) == [False, False, False, True]


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
@pytest.mark.parametrize("network", [SmallCNN, DeepCNN, MLP, Dieleman])
def test_dropout_is_checked(network: type[SmallCNN | DeepCNN | MLP | Dieleman], dropout: float) -> None:
    with pytest.raises(ValueError, match=r"^dropout is"):
        network(3, 64, dropout=dropout)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_resnet_takes_the_names_of_torchvision(pretrained: Path) -> None:
    model = ResNet(18, channels=3, size=64)
    before = model.body.state_dict()["conv1.weight"].clone()
    state = torch.load(pretrained, weights_only=True)
    model.load_weights(state)
    assert not torch.equal(before, state["conv1.weight"])
    for key, value in model.body.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_grey_image_gives_the_same_features_in_any_number_of_channels(
    pretrained: Path, channels: int
) -> None:
    grey = torch.randn(2, 1, 64, 64)
    features = []
    for number in (3, channels):
        model = ResNet(18, number, 64).eval()
        model.load_weights(torch.load(pretrained, weights_only=True))
        with torch.no_grad():
            features.append(model(grey.expand(-1, number, -1, -1)))
    torch.testing.assert_close(features[0], features[1], rtol=1e-4, atol=1e-4)


def test_resnet_takes_old_files_and_files_without_the_last_layer(pretrained: Path) -> None:
    state = torch.load(pretrained, weights_only=True)
    old = {k: v for k, v in state.items() if not k.startswith("fc.") and "num_batches" not in k}
    model = ResNet(18, 3, 64)
    model.load_weights(old)
    assert torch.equal(model.body.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "model.encoder."])
@pytest.mark.parametrize("network", [DeepCNN, MLP, partial(ResNet, 18)])
def test_names_may_have_a_prefix(network: Callable[[int, int], Encoder], prefix: str) -> None:
    trained, model = network(3, 32), network(3, 32)
    state = {f"{prefix}{key}": value for key, value in trained.state_dict().items()}
    if prefix:
        state |= {"head.linear.weight": torch.zeros(2, 2), "mean": torch.zeros(3)}
    model.load_weights(state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key])


def test_a_network_that_is_there_twice_is_refused() -> None:
    state = {
        f"{who}.{key}": x for who in ("student", "teacher") for key, x in MLP(3, 32).state_dict().items()
    }
    with pytest.raises(ValueError, match=r"2 times \(student\., teacher\.\)"):
        MLP(3, 32).load_weights(state)


def test_weights_that_do_not_fit_are_named(pretrained: Path) -> None:
    state = torch.load(pretrained, weights_only=True)
    state["extra"] = state.pop("bn1.weight")
    state["layer1.0.conv1.weight"] = torch.zeros(2, 2)
    state["bn1.bias"] = state["bn1.bias"] * torch.nan
    model = ResNet(18, 3, 64)
    before = model.body.state_dict()["conv1.weight"].clone()
    with pytest.raises(ValueError, match="do not fit ResNet") as error:
        model.load_weights(state)
    for part in ("missing: body.bn1.weight", "unexpected: body.extra", "layer1.0.conv1.weight: (2, 2)"):
        assert part in str(error.value)
    assert "bn1.bias: not all of its numbers are finite" in str(error.value)
    assert torch.equal(model.body.state_dict()["conv1.weight"], before)
    with pytest.raises(ValueError, match=r"missing: body.layer1.2.conv1.weight"):
        ResNet(34, 3, 64).load_weights(torch.load(pretrained, weights_only=True))


def test_imagenet_weights_come_from_torchs_own_folder(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    model = ResNet(18, 3, 64)
    with pytest.raises(UserError) as error:
        model.pretrained("imagenet")
    expected = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    assert str(expected) in str(error.value)
    assert "model.weights=" in str(error.value)
    expected.parent.mkdir(exist_ok=True)
    expected.write_bytes(pretrained.read_bytes())
    state = torch.load(pretrained, weights_only=True)
    assert torch.equal(model.pretrained("imagenet")["conv1.weight"], state["conv1.weight"])


def _no_network(*args: object, **kwargs: object) -> None:
    raise OSError("no network")


@pytest.mark.parametrize("name", ["imagenet", "hf_hub:someone/something"])
def test_weights_that_nobody_publishes_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"MLP has no weights called {name}"):
        MLP(3, 32).pretrained(name)


def test_resnet_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^depth is 20; it must be one of 18, 34, 50"):
        ResNet(20, 3, 64)  # type: ignore[arg-type]


def test_the_bases_import_neither_scikit_learn_nor_torchvision() -> None:
    check = "import sys, galaxy.models; assert not {'sklearn', 'torchvision', 'timm'} & set(sys.modules)"
    project = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", check], cwd=project, check=True)
