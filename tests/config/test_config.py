"""Mistakes in the configuration: all named in one message, before the program or a folder is started."""

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

PROJECT = {
    "train.py": """
        import hydra
        from galaxy.cli.program import run
        from galaxy.config import plain

        @hydra.main(version_base="1.3", config_path="conf", config_name="train")
        def main(config):
            import toy_survey
            toy_survey.train(plain(config))

        if __name__ == "__main__":
            run(main, "conf", "train")
    """,
    "toy_survey.py": """
        from __future__ import annotations
        from collections.abc import Callable
        from pathlib import Path
        from typing import Literal
        from galaxy.system.errors import UserError
        from toy_parts import Trainer as Trainer

        def read(root: Path, on_bad: Literal["error", "skip"] = "error", seed: int = 0) -> None: ...

        class Net:
            def __init__(self, channels: int, width: int = 8, dropout: float = 0.0,
                         kernel: tuple[int, int] = (3, 3), activation: Literal["relu", "gelu"] = "relu",
                         name: str | None = None, norm: Callable[..., Net] | None = None) -> None: ...

        class Late:
            def __init__(self, weights: object, schedule: list[int], rate: float = 1.0) -> None: ...

        class MSE: ...
        class Counts: ...
        class Tree: ...
        class Sigmoid: ...
        class Stop:
            def __init__(self, patience: int) -> None: ...

        def score(data: dict, split: Literal["train", "val", "test"], models: list[str]) -> None: ...

        def train(config):
            print("trained", config)
            if config["seed"] == 13:
                raise UserError("13 brings bad luck")
            if config["seed"] == 14:
                raise KeyError("a bug")
    """,
    "toy_parts.py": """
        class Base:
            def __init__(self, max_epochs: int = 10, accelerator: str = "auto", precision: str = "auto",
                         detect_anomaly: bool = False) -> None: ...

        class Trainer(Base): ...
    """,
    "conf/train.yaml": """
        defaults:
          - data: simulated
          - model: net
          - head: sigmoid
          - loss: mse
          - trainer: auto
          - callbacks: default
          - _self_
          - experiment: null
          - override hydra/job_logging: stdout
        seed: 0
        hydra:
          run:
            dir: runs/single
          sweep:
            dir: runs/sweep
          output_subdir: null
    """,
    "conf/score.yaml": """
        defaults:
          - data: simulated
          - _self_
        _target_: toy_survey.score
        split: test
        models: [net]
    """,
    "conf/data/simulated.yaml": "_target_: toy_survey.read\nroot: data\non_bad: error\n",
    "conf/data/kaggle.yaml": "# labels\n_target_: toy_survey.read\nroot: ???\non_bad: error\nseed: 1\n",
    "conf/model/net.yaml": """
        _target_: toy_survey.Net
        channels: 3
        width: 8
        dropout: 0.5
        kernel: [3, 3]
        activation: relu
        name: null
        norm: null
    """,
    "conf/model/narrow.yaml": "defaults:\n  - net\nwidth: 2\n",
    "conf/model/misspelt.yaml": "_target_: toy_survey.Net\nchannels: 3\n\ndropuot: 0.5\n",
    "conf/model/mistyped.yaml": "_target_: toy_survey.Net\nchannels: three\nkernel: [3, 3, 3]\nwidth: true\n",
    "conf/model/unfinished.yaml": "_target_: toy_survey.Net\nwidth: 4\n",
    "conf/model/partial.yaml": "_target_: toy_survey.Net\n_partial_: true\nwidth: 4\n",
    "conf/model/later.yaml": "_target_: toy_survey.Late\n_partial_: true\nrate: 4\n",
    "conf/model/nowhere.yaml": "_target_: toy_survey.Nett\n",
    "conf/model/broken.yaml": "_target_: toy_survey.Net\nchannels: [3\nwidth: 8\n",
    "conf/model/empty.yaml": "# nothing yet\n",
    "conf/model/deep.yaml": "_target_: toy_survey.Net\nchannels: " + "[" * 3000 + "\n",
    "conf/model/halved.yaml": "defaults:\n",
    "conf/model/latin.yaml": "_target_: toy_survey.Net\nchannels: 3\nname: caf\xe9\n",
    "conf/model/twice.yaml": "_target_: toy_survey.Net\nchannels: 3\nchannels: 4\n",
    "conf/model/lost.yaml": "_target_: toy_survey.Net\nchannels: ${crop.channels}\n",
    "conf/head/sigmoid.yaml": "_target_: toy_survey.Sigmoid\n",
    "conf/head/tree.yaml": "_target_: toy_survey.Tree\n",
    "conf/loss/mse.yaml": "_target_: toy_survey.MSE\n",
    "conf/loss/counts.yaml": "_target_: toy_survey.Counts\nrequires:\n  head: [tree]\n",
    "conf/trainer/auto.yaml": """
        _target_: toy_survey.Trainer
        max_epochs: 10
        accelerator: auto
        precision: auto
        requires:
          trainer.precision: [auto, 32-true, 16-mixed]
          trainer.precision=16-mixed:
            trainer.accelerator: [auto, gpu]
    """,
    "conf/callbacks/default.yaml": "stop:\n  _target_: toy_survey.Stop\n  patience: ${seed}\n",
    "conf/experiment/typo.yaml": "# @package _global_\nmodel:\n  activaton: gelu\nsed: 3\n",
    "conf/experiment/idle.yaml": "# @package _global_\ncallbacks:\n  stopp:\n    patience: 3\n",
    "conf/experiment/options.yaml": "# @package _global_\ndefaults:\n  - override /loss: msee\n",
    "conf/experiment/groups.yaml": "# @package _global_\ndefaults:\n  - override /losss: mse\n",
    "conf/experiment/swept.yaml": """
        # @package _global_
        hydra:
          mode: MULTIRUN
          sweeper:
            params:
              loss: mse,msee
    """,
    "conf/experiment/fine.yaml": "# @package _global_\ndefaults:\n  - override /head: tree\nseed: 3\n",
}

MISTAKES = {
    "misspelt key": (
        ["model.widht=4"],
        ["model.widht", "did you mean model.width?", "dropout", "model.widht=4"],
    ),
    "unknown key at the top": (["sede=4"], ["sede does not exist", "did you mean seed?"]),
    "group that is no key": (["experimnt=fine"], ["experimnt does not exist", "mean experiment?"]),
    "key of an unknown node": (["modl.width=4"], ["modl.width", "did you mean model.width?"]),
    "parameter that no file lists": (["trainer.detect_anomaly=true"], ["write +trainer.detect_anomaly=true"]),
    "plus does not hide a typo": (["+model.widht=4"], ["model.widht is unknown to toy_survey.Net", "width?"]),
    "plus does not hide a typo at the top": (["+sede=4"], ["sede is unknown", "did you mean seed?"]),
    "names that the program gives itself": (
        ["model=partial", "model.widht=3"],
        ["did you mean model.width?", "allowed: activation, dropout, kernel, name, norm, width\n"],
    ),
    "names that the program gives itself, with a plus": (
        ["model=partial", "+model.widht=3"],
        ["did you mean width?", "dropout, frozen_epochs, ignores, input_size, kernel,"],
    ),
    "names of keys that do not exist": (
        ["+model.ignores=[los,loss,model.width,model.wide]"],
        ["has 2 mistakes", "names los, which is no key; did you mean loss?", "ignores names model.wide"],
    ),
    "a slash for a dot": (["model/width=3"], ["model/width does not exist; did you mean model.width?"]),
    "misspelt key in an option": (
        ["model=misspelt"],
        ["dropuot", "mean dropout?", "model/misspelt.yaml, line 4"],
    ),
    "misspelt key in an experiment": (
        ["experiment=typo"],
        ["model.activaton", "mean activation?", "experiment/typo.yaml, line 3", "sed is", "seed?", "line 4"],
    ),
    "wrong type": (
        ["model.width=4.5"],
        ["model.width is 4.5, but must be a whole number", "model.width=4.5"],
    ),
    "null where nothing allows it": (["model.width=null"], ["model.width is null"]),
    "wrong types in a file": (
        ["model=mistyped"],
        ["model.channels is three", "line 2", "model.kernel", "line 3", "model.width is true", "line 4"],
    ),
    "wrong type at the top": (["seed=abc"], ["seed is abc, but must be a whole number"]),
    "copies of a wrong value": (["seed=abc"], ["has a mistake"]),
    "value out of a list": (
        ["data.on_bad=skipp"],
        ["data.on_bad is skipp, but must be error or skip; did you mean skip?"],
    ),
    "a key of an unknown option": (["loss=msee", "loss.delta=1"], ["has a mistake", "no option msee"]),
    "unknown option": (["loss=msee"], ["loss has no option msee", "did you mean mse?", "counts, mse"]),
    "unknown option in an experiment": (["experiment=options"], ["no option msee", "options.yaml, line 3"]),
    "unknown group": (["los=mse"], ["los does not exist", "did you mean loss?"]),
    "unknown group in an experiment": (
        ["experiment=groups"],
        ["losss", "did you mean loss?", "groups.yaml, line 3"],
    ),
    "several options": (["loss=[mse,counts]"], ["loss is given several options", "counts, mse"]),
    "sweep without -m": (["loss=mse,counts"], ["loss=mse,counts gives several values", "-m"]),
    "sweep of values without -m": (
        ["optimizer.lr=0.1,0.2"],
        ["optimizer.lr=0.1,0.2 gives several values", "set in: optimizer.lr=0.1,0.2"],
    ),
    "missing value": (["data=kaggle"], ["data.root is required", "data/kaggle.yaml, line 3"]),
    "group taken out": (["~loss"], ["loss is required: leave out ~loss"]),
    "missing parameter": (
        ["model=unfinished"],
        ["model.channels is required by toy_survey.Net", "unfinished.yaml"],
    ),
    "options that do not go together": (
        ["loss=counts"],
        ["head is sigmoid", "with loss=counts", "allowed: tree"],
    ),
    "value that an option refuses": (
        ["trainer.precision=16-mixd"],
        ["16-mixd", "did you mean 16-mixed?", "32-true"],
    ),
    "values that do not go together": (
        ["trainer.precision=16-mixed", "trainer.accelerator=cpu"],
        ["trainer.accelerator is cpu, which does not work with trainer.precision=16-mixed", "auto, gpu"],
    ),
    "key of another option": (
        ["data.seed=3"],
        ["data.seed does not exist with data=simulated, but with data=kaggle", "set in: data.seed=3"],
    ),
    "group of another program": (
        ["-cn", "score", "model=net"],
        ["model is not a group of score", "did you mean 'models=[net]'?", "allowed: data, models, split"],
    ),
    "not an override": (["a=[b=c"], ["a=[b=c is not an override", "set in: a=[b=c", "key=value"]),
    "a space around =": (["seed", "=", "3"], ["= is not an override: = has no space around it"]),
    "broken file": (["model=broken"], ["model/broken.yaml, line 3", "is not YAML"]),
    "empty file": (["model=empty"], ["model is empty", "model/empty.yaml sets nothing"]),
    "file nested too deeply": (["model=deep"], ["model/deep.yaml cannot be used", "recursion"]),
    "defaults that are no list": (["model=halved"], ["model/halved.yaml cannot be used", "must be a list"]),
    "value where a node is needed": (
        ["model.norm=batch"],
        ["model.norm is batch, but must be something with a _target_ or null"],
    ),
    "file in another encoding": (["model=latin"], ["model/latin.yaml is not UTF-8"]),
    "key given twice in a file": (["model=twice"], ["model/twice.yaml, line 3", "duplicate key"]),
    "unknown target": (["model=nowhere"], ["model._target_", "toy_survey has no Nett", "did you mean Net?"]),
    "reference to nothing": (
        ["model=lost"],
        ["model.channels cannot be resolved", "crop.channels", "line 2"],
    ),
    "value that nothing reads": (
        ["experiment=idle"],
        ["callbacks.stopp.patience is read by nothing", "line 4"],
    ),
    "value that the program's function refuses": (
        ["-cn", "score", "split=tset"],
        ["split is tset, but must be train or val or test", "did you mean test?"],
    ),
    "key of another program": (["-cn", "score", "+loss=mse"], ["loss"]),
    "unknown configuration": (["-cn", "trian"], ["no option trian", "did you mean train?"]),
    "unknown folder": (["-cd", "nowhere"], ["--config-dir", "nowhere"]),
    "everything at once": (
        ["loss=msee", "model.widht=4", "seed=abc", "a=[b=c", "data=kaggle"],
        ["has 5 mistakes", "msee", "widht", "seed is abc", "a=[b=c", "data.root"],
    ),
    "one job of a sweep": (
        ["-m", "loss=mse,counts", "head=tree,sigmoid", "seed=1,2"],
        ["has a mistake", "head is sigmoid", "in: loss=counts head=sigmoid seed=1, and 1 more of 8 jobs"],
    ),
    "jobs that are the same": (
        ["-m", "model=net,narrow", "model.width=4", "seed=1,2"],
        ["has a mistake", "model=narrow makes the same job as model=net", "seed=1, and 1 more of 4 jobs"],
    ),
    "a job twice": (["-m", "seed=1,2,1"], ["has a mistake", "seed=1 is given more than once: seed=1,2,1"]),
    "a wrong job is not the same as another": (["-m", "loss=mse,msee"], ["has a mistake", "option msee"]),
    "wrong jobs are not the same": (["-m", "model.widht=1,2"], ["has 2 mistakes", "widht=1", "widht=2"]),
    "what a partial call needs beside the first": (
        ["model=later", "model.schedul=3"],
        ["did you mean model.schedule?", "allowed: rate, schedule\n"],
    ),
    "what a partial call needs beside the first, known": (
        ["model=later", "model.schedule=3"],
        ["toy_survey.Late takes it: write +model.schedule=3"],
    ),
    "a value in a sweep": (["-m", "model.width=4,wide"], ["model.width is wide", "in: model.width=wide"]),
    "a sweep in a file": (
        ["experiment=swept"],
        ["loss has no option msee", "in: loss=msee"],
    ),
    "a sweep over settings of Hydra": (
        ["-m", "hydra.verbose=true,false"],
        ["has a mistake", "hydra.verbose=true,false gives several values, but a sweep cannot vary"],
    ),
    "mistakes in what is only shown": (
        ["--cfg", "job", "loss=msee", "sede=1"],
        ["has 2 mistakes", "did you mean mse?", "did you mean seed?"],
    ),
    "jobs where one is shown": (
        ["-m", "loss=mse,counts", "--cfg", "job"],
        ["--cfg does not go with --multirun: leave one of them out"],
    ),
    "an option that lacks another": (["--resolve"], ["--resolve belongs to --cfg"]),
    "all jobs of a sweep": (["-m", "loss=mse,counts", "head=tree", "+sede=1"], ["has a mistake", "sede"]),
}

Program = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text), encoding="latin-1" if "latin" in name else "utf-8")
    return root


@pytest.fixture
def program(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    """Calls the toy train.py in this process, from an empty folder; returns the exit status and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(project)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # put back afterwards

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        status = 0
        try:
            runpy.run_path(str(project / "train.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_named_before_anything_starts(program: Program, case: str) -> None:
    arguments, said = MISTAKES[case]
    status, message = program(*arguments)
    assert status == 2, message
    for words in said:
        assert words in message
    assert "Traceback" not in message
    assert "append" not in message  # Hydra's advice to add the misspelt key
    assert not list(Path().iterdir())  # no folder
    assert "toy_survey" not in sys.modules  # the program did not start


def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The configurations that the toy program is called with from now on."""
    started: list[dict[str, Any]] = []
    spec = importlib.util.find_spec("toy_survey")
    assert spec is not None
    stand_in = importlib.util.module_from_spec(spec)
    stand_in.train = started.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_survey", stand_in)
    return started


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["experiment=fine", "loss=counts"],
        ["+trainer.detect_anomaly=true", "model.dropout=1", "model.kernel=[5,5]", "model.name=net"],
        ["trainer.precision=16-mixed", "data=kaggle", "data.root=/data"],
        ["callbacks.stop=null"],
        ["~callbacks.stop"],
    ],
)
def test_good_configuration_runs(
    program: Program, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = trainings(monkeypatch)
    assert program(*arguments) == (0, "")
    assert len(started) == 1
    assert "requires" not in started[0]["trainer"]


def test_good_sweep_runs_every_job(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    started = trainings(monkeypatch)
    assert program("-m", "loss=counts", "head=tree", "seed=1,2,3") == (0, "")
    assert [config["seed"] for config in started] == [1, 2, 3]
    started.clear()
    assert program("-m", "loss=counts,mse", "head=tree", "seed=${hydra:job.num}") == (0, "")
    assert [config["seed"] for config in started] == [0, 1]


@pytest.mark.parametrize("option", [["--help"], ["--cfg", "job"]])
def test_hydra_options_still_work(program: Program, option: list[str]) -> None:
    assert program(*option) == (0, "")
    assert not list(Path().iterdir())


def shell(project: Path, folder: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the toy train.py, or code that does, in a process of its own."""
    command = [sys.executable, *(["-c", code] if code else [str(project / "train.py")]), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["model.width=wide"], ["loss=msee"], ["-m", "loss=mse,msee"]]
)
def test_nothing_heavy_is_imported(project: Path, tmp_path: Path, arguments: list[str]) -> None:
    code = f"""
import runpy, sys
sys.argv[0] = {str(project / "train.py")!r}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    heavy = ["torch", "lightning", "pandas", "numpy", "cv2", "matplotlib", "rich", "toy_survey"]
    print("HEAVY", [name for name in heavy if name in sys.modules])
"""
    done = shell(project, tmp_path, *arguments, code=code)
    assert "HEAVY []" in done.stdout, done.stderr
    assert done.returncode == (0 if arguments == ["--help"] else 2)


def test_exit_status_and_traceback(project: Path, tmp_path: Path) -> None:
    mistake = shell(project, tmp_path, "seed=abc")
    unlucky = shell(project, tmp_path, "seed=13")
    bug = shell(project, tmp_path, "seed=14")
    assert (mistake.returncode, unlucky.returncode, bug.returncode) == (2, 1, 1)
    assert "13 brings bad luck" in unlucky.stderr
    assert "Traceback" not in mistake.stderr + unlucky.stderr
    assert "Traceback" in bug.stderr
    assert "KeyError: 'a bug'" in bug.stderr


def test_what_an_own_option_works_with_is_left_to_its_owner(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own/head"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: toy_survey.Sigmoid\n")
    started = trainings(monkeypatch)
    assert program("--config-dir", str(own.parent), "head=mine", "loss=counts") == (0, "")
    assert len(started) == 1
    assert program("--config-dir", str(own.parent), "head=sigmoid", "loss=counts")[0] == 2
