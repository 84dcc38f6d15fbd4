"""A sweeper for `galaxy train -m`. Hydra takes sweepers from the namespace `hydra_plugins` only."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override


class Grid(BasicSweeper):
    """Hydra's own sweeper, without the jobs that differ only in what their model ignores."""

    def split_arguments(  # type: ignore[override]  # Hydra's needs no sweeper, so it is static.
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Lists the jobs of each batch."""
        # Hydra imports this module for every program in the environment.
        from galaxy.cli.sweep import Sweep  # noqa: PLC0415

        left_out = Sweep.plan.left_out if Sweep.plan is not None else ()
        [jobs] = BasicSweeper.split_arguments(overrides, None)
        kept = [job for place, job in enumerate(jobs) if place not in left_out]
        return list(self.split_overrides_to_chunks(kept, max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Does nothing: all jobs were checked with the command line, and Hydra would compose each anew."""
