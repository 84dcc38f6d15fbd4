"""Writes a package of a user's own with a class for each group, and installs it as a plugin if asked."""

from pathlib import Path
from textwrap import dedent

FILES = {
    "__init__.py": '''
        """This package notes that it was imported."""
        from pathlib import Path

        Path(__file__).with_name("imported").touch()
    ''',
    "models.py": """
        import torch
        from torch import nn

        from galaxy.models import Encoder, Fitted, Output


        class Tiny(Encoder):
            def __init__(self, channels: int, width: int = 8) -> None:
                super().__init__()
                self.layers = nn.Sequential(
                    nn.Conv2d(channels, width, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
                )
                self.num_features = width

            def forward(self, images):
                return self.layers(images)


        class Half(Fitted):
            def __init__(self, labels) -> None:
                super().__init__()
                self.columns = len(labels.columns)
                self.register_buffer("seen", torch.zeros(1))

            def fit(self, batches) -> None:
                self.seen += sum(len(images) for images, _ in batches)

            def forward(self, images):
                half = torch.full((len(images), self.columns), 0.5)
                return Output(half, half)
    """,
    "heads.py": """
        from galaxy.models import Head


        class Clamped(Head):
            def fractions(self, logits):
                return logits.clamp(0, 1)
    """,
    "losses.py": """
        from galaxy.learning.losses import Loss


        class Quartic(Loss):
            def __init__(self, power: int = 4) -> None:
                super().__init__()
                self.power = power

            def forward(self, output, batch):
                return ((output.fractions - batch["target"]) ** self.power).mean()
    """,
    "crops.py": """
        from galaxy.images.crops import Crop


        class Corner(Crop):
            def region(self, image):
                return image[: image.shape[0] // 2, : image.shape[1] // 2]
    """,
    "targets.py": """
        class Same:
            def __call__(self, catalog):
                return catalog
    """,
    "augments.py": """
        from galaxy.images.augment import Augment


        class Dim(Augment):
            def batch(self, images, plan):
                return super().batch(images, plan) * 0.5
    """,
    "surveys.py": """
        from dataclasses import replace
        from pathlib import Path

        from galaxy.surveys import Catalog
        from galaxy.surveys.kaggle import read_kaggle


        def read_own(root: Path, on_bad: str, part: str = "training") -> Catalog:
            return replace(read_kaggle(root, on_bad, part), name="own")
    """,
    "callbacks.py": """
        from pathlib import Path

        import lightning.pytorch as pl


        class Note(pl.Callback):
            def on_fit_end(self, trainer, pl_module):
                Path(__file__).with_name("fitted").touch()
    """,
    "loggers.py": """
        from lightning.pytorch.loggers import CSVLogger


        class Second(CSVLogger):
            def __init__(self, save_dir: str) -> None:
                super().__init__(save_dir, name="second", version="")
    """,
    "conf/model/own_tiny.yaml": "_target_: {name}.models.Tiny\nchannels: ${{crop.channels}}\nwidth: 8\n",
    "conf/model/own_half.yaml": "_target_: {name}.models.Half\n_partial_: true\n",
    "conf/head/own_clamped.yaml": "_target_: {name}.heads.Clamped\n_partial_: true\n",
    "conf/loss/own_quartic.yaml": "_target_: {name}.losses.Quartic\npower: 4\n",
    "conf/crop/own_corner.yaml": "_target_: {name}.crops.Corner\nsize: 48\nchannels: 3\n",
    "conf/target/own_same.yaml": "_target_: {name}.targets.Same\n",
    "conf/augment/own_dim.yaml": "defaults: [affine, _self_]\n_target_: {name}.augments.Dim\n",
    "conf/data/own_survey.yaml": """
        defaults:
          - /datamodule@_here_: default
        root: ???
        catalog:
          _target_: {name}.surveys.read_own
          _partial_: true
          part: training
    """,
    "conf/callbacks/own_note.yaml": "defaults: [default]\nnote:\n  _target_: {name}.callbacks.Note\n",
    "conf/logger/own_second.yaml": (
        "defaults: [tensorboard]\nsecond:\n  _target_: {name}.loggers.Second\n  _partial_: true\n"
    ),
}
# The option of each group that the package brings.
OPTIONS = {
    "data": "own_survey",
    "crop": "own_corner",
    "target": "own_same",
    "augment": "own_dim",
    "model": "own_tiny",
    "head": "own_clamped",
    "loss": "own_quartic",
    "callbacks": "own_note",
    "logger": "own_second",
}


def write_package(root: Path, name: str = "own_galaxies") -> Path:
    """Writes the package into a folder, and returns the package's own folder.

    Args:
        root: The folder, which has to be on Python's path.
        name: The name of the package. Python imports a package of one name only once.
    """
    for file, text in FILES.items():
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dedent(text).lstrip()
        path.write_text(content.format(name=name) if file.endswith(".yaml") else content, encoding="utf-8")
    return root / name


def install(root: Path, package: str, distribution: str = "") -> None:
    """Writes what pip would: a distribution whose entry point makes a package a plugin of Galaxy."""
    info = root / f"{distribution or package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[galaxy.plugins]\n{package} = {package}\n")
