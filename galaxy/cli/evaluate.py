"""`galaxy evaluate` and `python evaluate.py`: score a trained model, or predict galaxies without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from galaxy.cli.arguments import checkpoints_of, with_inherited_data
from galaxy.cli.program import reporting, run
from galaxy.config import plain
from galaxy.config.paths import CONF
from galaxy.images.views import check_views
from galaxy.runs.folder import RunFolder
from galaxy.system.errors import UserError

if TYPE_CHECKING:
    from galaxy.runs.parts import Part
    from galaxy.runs.request import Request


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
@reporting
def evaluate(config: DictConfig) -> None:
    """Evaluates once."""
    evaluate_from_settings(**plain(config), choice=HydraConfig.get().runtime.choices.get("data"))


def evaluate_from_settings(
    choice: str | None = None,
    data: dict[str, Any] | None = None,
    run: str | list[str] | None = None,
    checkpoint: str | None = None,
    split: Literal["train", "val", "test", "all"] = "test",
    tta: int = 1,
    out: str | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    report: bool = False,
    embeddings: bool = False,
    similar: list[str | int] | None = None,
    shard: str | None = None,
) -> None:
    """Evaluates as `conf/evaluate.yaml` says, and prints what was found.

    Args:
        choice: The name of the data, as in `data=`; None for that of the run.
        data: The configuration of the data. It is None only where the command line names neither data nor a
            run folder.
        run: The folder of a run, whose best checkpoint is taken, or several whose predictions are put
            together.
        checkpoint: A checkpoint, instead of a run.
        split: Which galaxies. Galaxies without labels are always all predicted.
        tta: The number of views whose predictions are averaged.
        out: The folder of the results, the file of a table of predictions, or the folder of its parts.
        accelerator: Where to compute.
        report: Whether to write a page about the evaluation.
        embeddings: Whether to write the features of the galaxies, and a page of the oddest.
        similar: The ids of galaxies whose nearest this page shows as well.
        shard: The part of a catalogue that is made, as K/N; None for all of it.
    """
    try:
        check_views(tta)
    except ValueError as error:
        raise UserError(str(error)) from None
    files = checkpoints_of(run, checkpoint, "evaluate")
    if data is None:
        raise UserError(
            f"{files[0]} is not in a run folder, so give the data as well: data=... data.root=..."
        )
    choice = RunFolder.of(files[0]).choices()["data"] if choice is None else choice
    place = None if out is None else _checked(Path(out).expanduser())
    part = None if shard is None else _part(shard, place, report)

    # torch takes seconds to import; a mistake above is said at once.
    from galaxy.runs.request import Request  # noqa: PLC0415

    request = Request(files, data, choice, split, tta, place, accelerator, part)
    if part is not None and place is not None and part.is_made(place, request.facts()):
        print(f"{part.file(place)} is there already, and is left as it is")
        return
    names = None if not (embeddings or similar) else [str(name) for name in similar or []]
    _carry_out(request, report, names)


def _carry_out(request: Request, report: bool, similar: list[str] | None) -> None:
    """Evaluates or makes a catalogue, writes the pages that are asked for, and prints what was found.

    Args:
        request: What is asked.
        report: Whether to write the page about the evaluation.
        similar: The ids of the galaxies whose nearest are shown; None without embeddings.
    """
    from galaxy.reports.tables import print_evaluation  # noqa: PLC0415
    from galaxy.runs.evaluate import check_scored  # noqa: PLC0415
    from galaxy.runs.evaluate import evaluate as evaluate_once  # noqa: PLC0415

    if report:
        check_scored(request.galaxies)
    if similar is not None:
        from galaxy.reports.similar.similar import check_similar  # noqa: PLC0415

        check_similar(request, similar)
    if request.part is not None or not request.galaxies.labelled:
        _make_catalogue(request)
    else:
        found = evaluate_once(request)
        print_evaluation(found)
    if similar is not None:
        from galaxy.reports.similar.similar import write_similar  # noqa: PLC0415

        print(*write_similar(request, similar), sep="\n")
    if report:
        from galaxy.reports.evaluation.report import write_report  # noqa: PLC0415

        print(*write_report(found, request), sep="\n")


def _make_catalogue(request: Request) -> None:
    """Predicts galaxies without scoring them, and prints what there is to say."""
    from galaxy.reports.evaluation.appraisal import find_appraisal  # noqa: PLC0415
    from galaxy.reports.tables import print_catalogue  # noqa: PLC0415
    from galaxy.runs.catalogues import make_catalogue  # noqa: PLC0415

    appraiser = find_appraisal(request)
    print_catalogue(make_catalogue(request, appraiser), appraised=appraiser is not None)


def _checked(out: Path) -> Path:
    """Returns the place of the results, unless it is a table that cannot be written."""
    from galaxy.runs.catalogue_files import check_catalogue, is_catalogue  # noqa: PLC0415  imports pandas

    if is_catalogue(out):
        check_catalogue(out)
    return out


def _part(shard: str, folder: Path | None, report: bool) -> Part:
    """Reads `shard=K/N`, which needs `out=DIR`."""
    from galaxy.runs.catalogue_files import is_catalogue  # noqa: PLC0415  imports pandas
    from galaxy.runs.parts import Part  # noqa: PLC0415

    part = Part.parse(shard)
    if folder is None or is_catalogue(folder):
        raise UserError(f"shard={shard} makes one file of a Parquet dataset: give its folder, out=DIR")
    if report:
        raise UserError(
            "report=true compares predictions with labels, and shard=K/N predicts without scoring"
        )
    return part


def main() -> None:
    """Runs the program."""
    run(evaluate, str(CONF), "evaluate", prepare=with_inherited_data)


if __name__ == "__main__":
    main()
