"""Jobs of a sweep that differ only in what their model ignores run once."""

import re

import pytest
from hydra.core.utils import setup_globals

from galaxy.config import check_command_line
from galaxy.config.overrides import key_of
from galaxy.config.paths import CONF
from galaxy.config.plan import Plan
from tests.config.test_every_option import composed
from tests.docs.pages import PAGES

SLOW = pytest.mark.slow


def planned(*arguments: str) -> Plan:
    flag = [] if any(argument.startswith("sweep=") for argument in arguments) else ["-m"]
    plan = check_command_line(composed, str(CONF), "train", [*flag, *arguments])
    assert plan is not None
    return plan


def test_the_jobs_of_a_model_that_ignores_what_varies_run_once() -> None:
    plan = planned("model=mean,decision_tree,mlp", "loss=mse,huber", "seed=0,1,2")
    jobs = [" ".join(job) for job in plan.jobs]
    assert jobs[:4] == [
        "model=mean loss=mse seed=0",
        *(f"model=decision_tree loss=mse seed={seed}" for seed in range(3)),
    ]
    assert len(jobs) == 1 + 3 + 6
    assert plan.left_out == {1, 2, 3, 4, 5, 9, 10, 11}
    assert plan.notes == (
        "Of 6 jobs with model=mean 1 is run: the others differ only in what mean ignores (loss, seed)",
        "Of 6 jobs with model=decision_tree 3 are run: the others differ only in what decision_tree ignores "
        "(loss)",
    )


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        (["model=mean", "crop=center64,roi64"], 1),
        (["model=center_pixel", "crop=center64,roi64"], 2),
        (["model=knn", "trainer.max_epochs=1,2", "callbacks=default,ema"], 1),
        (["model=knn", "model.pixels=8,16", "optimizer.lr=1e-3,1e-4"], 2),
        (["model=mean", "data.split_seed=0,1", "head=tree,linear"], 2),
        (["model=mean,mlp", "data.cache=cache${hydra:job.num}", "loss=mse,huber"], 4),
        (["model=mlp", "model.ignores=[loss]", "loss=mse,huber"], 1),
    ],
)
def test_what_is_not_ignored_makes_another_job(arguments: list[str], jobs: int) -> None:
    setup_globals()  # Hydra registers the resolver that knows the number of the job.
    plan = planned(*arguments)
    assert len(plan.jobs) == jobs
    assert plan.complete


# The groups that each ready sweep varies beside the seed, its settings, and its jobs.
READY = {
    "crops": ("crop", 7, 21),
    "models": ("model", 8, 20),
    "losses": ("loss", 4, 12),
    "heads": ("head", 3, 9),
    "augmentation": ("augment", 4, 12),
    "galaxy10_baselines": ("model", 8, 18),
    "questions": ("target target.question", 11, 11),
    "grid": ("crop model loss", 27, 81),
}


def test_every_ready_sweep_is_known_here() -> None:
    files = list((CONF / "sweep").glob("*.yaml"))
    # Searches, which choose another sweeper, have no jobs that are known before.
    assert {file.stem for file in files if "/hydra/sweeper" not in file.read_text("utf-8")} == set(READY)


@pytest.mark.parametrize("name", [*list(READY)[:-1], pytest.param("grid", marks=SLOW)])
def test_every_setting_of_a_ready_sweep_is_right(name: str) -> None:
    groups, settings, jobs = READY[name]
    plan = planned(f"sweep={name}", "data=kaggle", "data.root=somewhere", "seed=0")
    keys = {key_of(override) for job in plan.jobs for override in job}
    assert keys == {"sweep", "data", "data.root", "seed", *groups.split()}
    assert len(plan.jobs) == settings
    assert f"{jobs} runs" in (CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{name}` \| .* \| {jobs} \|$", PAGES["docs/training.md"], re.MULTILINE)


@SLOW
@pytest.mark.parametrize("name", READY)
def test_a_ready_sweep_has_so_many_jobs(name: str) -> None:
    assert len(planned(f"sweep={name}", "data=kaggle", "data.root=somewhere").jobs) == READY[name][-1]


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        (["sweep=losses", "model=mlp", "seed=0"], 4),
        (["sweep=losses", "loss=mse"], 3),
        (["sweep=losses", "loss=mse", "seed=4"], 1),
        (["sweep=losses", "model=mean,mlp", "seed=0"], 5),
        (["sweep=[heads,losses]", "seed=0", "loss=mse,huber"], 6),
        (["sweep=losses", "data=gz2", "data.counts=true", "loss=mse,dirichlet_multinomial", "seed=0"], 2),
        pytest.param(["sweep=grid", "crop=center64", "seed=0"], 9, marks=SLOW),
        (["sweep=models", "model=deep_cnn,mlp", "optimizer.lr=1e-3,1e-4", "seed=0"], 4),
    ],
)
def test_what_the_command_line_gives_wins_over_a_ready_sweep(arguments: list[str], jobs: int) -> None:
    plan = planned(*arguments, "data.root=somewhere")
    assert len(plan.jobs) == jobs
    assert all(argument in plan.jobs[0] or "," in argument for argument in arguments)


def test_a_single_run_has_no_plan() -> None:
    assert check_command_line(composed, str(CONF), "train", ["model=mean"]) is None
