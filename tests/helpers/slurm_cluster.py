"""A Slurm of one node on this machine: munged, slurmctld and slurmd in a temporary folder, without rights.

By hand, it runs until Ctrl-C:

    python -m tests.helpers.slurm_cluster

and another terminal uses it after the `export` that it prints. On Debian and Ubuntu the programs come with
`apt-get install --no-install-recommends slurmctld slurmd slurm-client munge`; no service needs to be enabled.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "scontrol", "setpriv")
# Seconds that the daemons have to start, and the jobs to end.
_PATIENCE = 60
# `low` jobs are queued again when a `high` one wants their place; those of `grace` get half a minute before.
# cred_expire and KillWait are short, so that a job that is queued again begins soon.
CONF = """
ClusterName=galaxy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
JobRequeue=1
KillWait=10
MaxArraySize=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1
PartitionName=grace Nodes={host} PriorityTier=1 GraceTime=30
PartitionName=high Nodes={host} PriorityTier=2
"""


def missing() -> list[str]:
    """The programs that this machine lacks."""
    return [program for program in PROGRAMS if _find(program) is None]


@contextmanager
def running(cores: int = 2) -> Iterator[Path]:
    """Runs the daemons within the block, and yields the path that SLURM_CONF must name."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o711)  # munged wants its socket to be within everybody's reach
        for name in ("state", "spool"):
            (folder / name).mkdir(mode=0o755)
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        conf = folder / "slurm.conf"
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        ports, host = _free_ports(), socket.gethostname().partition(".")[0]
        conf.write_text(CONF.format(folder=folder, ports=ports, host=host, user=user, cores=cores))
        files = [f"--{n}-file={folder}/munge.{n}" for n in ("key", "pid", "log", "seed")]
        stack.enter_context(
            _daemon(folder, "munged", "--foreground", f"--socket={folder}/munge.socket", *files)
        )
        _wait(folder, folder.joinpath("munge.socket").exists)
        stack.enter_context(_daemon(folder, "slurmctld", "-D", "-f", str(conf)))
        stack.enter_context(_daemon(folder, "slurmd", "-D", "-f", str(conf)))
        _wait(folder, lambda: "idle" in _said(conf, "sinfo", "--noheader", "--format=%T"))
        try:
            yield conf
        finally:
            _said(conf, "scancel", f"--user={user}")
            _wait(folder, lambda: not _said(conf, "squeue", "--noheader"))


@contextmanager
def _daemon(folder: Path, program: str, *arguments: str) -> Iterator[None]:
    """Runs a program, which ends with the block, and with this process if that is killed."""
    path = _find(program)
    assert path is not None
    with (folder / f"{program}.log").open("w") as log:
        command = ["setpriv", "--pdeathsig", "TERM", path, *arguments]
        # A session of its own, because Ctrl-C must not end it before its jobs have ended.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _find(program: str) -> str | None:
    """Finds a program, also where only root looks for it."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _said(conf: Path, *command: str) -> str:
    done = subprocess.run(
        command, env=os.environ | {"SLURM_CONF": str(conf)}, capture_output=True, text=True, check=False
    )
    return done.stdout


def _wait(folder: Path, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not happened():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-1500:]}" for log in folder.glob("*.log"))
            raise RuntimeError(f"Slurm did not start or end its jobs:\n{logs}")
        time.sleep(0.2)


def _free_ports() -> list[int]:
    """Finds two ports that nobody listens on."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def main() -> None:
    """Runs a Slurm until Ctrl-C."""
    if missing():
        raise SystemExit(f"this machine lacks {', '.join(missing())}")
    with suppress(KeyboardInterrupt), running() as conf:
        print(f"export SLURM_CONF={conf}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
