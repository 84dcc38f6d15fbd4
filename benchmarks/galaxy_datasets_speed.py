"""Measures the images/s of `CatalogDataModule` of galaxy-datasets (PyPI).

galaxy-datasets need not be installed beside Galaxy. bench_loader.py starts this program with the Python that
has it, and writes the list of image files to its standard input.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pandas as pd

# mypy finds galaxy_datasets only where it is installed.
from galaxy_datasets import transforms  # type: ignore[import-not-found, import-untyped, unused-ignore]
from galaxy_datasets.pytorch import galaxy_datamodule  # type: ignore[import-not-found, import-untyped, unused-ignore]


def main() -> None:
    """Prints the speed of the second epoch, when the workers have started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("view", choices=("default", "fast"), help="the view of galaxy_datasets.transforms")
    for name in ("side", "batch", "workers"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    view = getattr(transforms, f"{options.view}_view_config")()
    view.output_size = options.side
    transform = transforms.get_galaxy_transform(view)
    files = sys.stdin.read().splitlines()
    catalog = pd.DataFrame({"id_str": [Path(file).stem for file in files], "file_loc": files})
    data = galaxy_datamodule.CatalogDataModule(
        label_cols=None,
        train_transform=transform,
        test_transform=transform,
        train_catalog=catalog,
        val_catalog=catalog,
        batch_size=options.batch,
        num_workers=options.workers,
    )
    data.setup("fit")
    loader = data.train_dataloader()
    for _ in loader:
        pass
    started = time.perf_counter()
    count = sum(len(batch["image"]) for batch in loader)
    print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
