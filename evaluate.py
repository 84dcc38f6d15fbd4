"""Scores a trained model, or predicts galaxies without labels: `python evaluate.py run=DIR`."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from galaxy.cli.main import reporting, run
from galaxy.config import plain
from galaxy.runs.folder import with_inherited_data


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@reporting
def main(config: DictConfig) -> None:
    """Evaluates once."""
    from galaxy.runs.evaluation import evaluate  # noqa: PLC0415  torch takes seconds to import

    evaluate(**plain(config), choice=HydraConfig.get().runtime.choices.get("data"))


if __name__ == "__main__":
    run(main, prepare=with_inherited_data)
