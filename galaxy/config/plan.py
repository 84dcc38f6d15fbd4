"""The jobs of a sweep, of which those that would only repeat another one are left out.

A model says in `model.ignores` which groups and keys do not change its result. Jobs that differ in nothing
else would all end alike, so only the first of them is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from galaxy.config.check import leaves
from galaxy.config.overrides import is_within, key_of

# Hydra's record of the command, in the folder of a sweep.
SWEEP_FILE = "multirun.yaml"


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep.

    Attributes:
        jobs: The overrides of each job that is run, or of jobs that have all settings of a sweeper that
            chooses as it goes.
        complete: Whether these are the jobs. Other sweepers than Hydra's own choose as they go.
        count: The number of jobs that are run; None if it is not known.
        left_out: The places, among all combinations, of the jobs that are not run.
        notes: A line for each model that ignores what a sweep varies.
    """

    jobs: Sequence[Sequence[str]]
    complete: bool = True
    count: int | None = None
    left_out: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A job of a sweep, which has been composed and checked.

    Attributes:
        overrides: Its overrides.
        model: The option of the model; empty in a program without models.
        decisive: What decides about its result, as text.
    """

    overrides: Sequence[str]
    model: str
    decisive: str

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Job:
        """Reads what decides from a composed configuration."""
        content: dict[Any, Any] = {
            key: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
            for key, node in config.items_ex(resolve=False)
            if key != "hydra"
        }
        model = content.get("model")
        ignored = model.get("ignores", ()) if isinstance(model, dict) else ()
        decisive = {key: value for key, value in leaves(content) if not is_within(key, ignored)}
        return cls(overrides, str(config.hydra.runtime.choices.get("model", "")), str(decisive))


def distinct(jobs: Sequence[Job]) -> Plan:
    """Plans a sweep that runs the first of all jobs that decide alike."""
    alike: dict[str, list[int]] = {}
    for place, job in enumerate(jobs):
        # The number of a job may set it apart.
        key = f"{place} {job.decisive}" if "${hydra:" in job.decisive else job.decisive
        alike.setdefault(key, []).append(place)
    repeated = [[jobs[place] for place in places] for places in alike.values() if len(places) > 1]
    left_out = frozenset(place for places in alike.values() for place in places[1:])
    kept = [job.overrides for place, job in enumerate(jobs) if place not in left_out]
    return Plan(kept, True, len(kept), left_out, tuple(_notes(repeated)))


def _notes(repeated: Sequence[Sequence[Job]]) -> Iterator[str]:
    """Says for each model how many of its jobs are run."""
    for model in dict.fromkeys(same[0].model for same in repeated):
        groups = [same for same in repeated if same[0].model == model]
        count = sum(map(len, groups))
        varied = {
            key_of(override)
            for same in groups
            for override in set().union(*(job.overrides for job in same))
            if not all(override in job.overrides for job in same)
        }
        run = "1 is run" if len(groups) == 1 else f"{len(groups)} are run"
        yield (
            f"Of {count} jobs with model={model} {run}: the others differ only in what {model} ignores "
            f"({', '.join(sorted(varied))})"
        )
