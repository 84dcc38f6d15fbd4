"""Standard streams that are closed, that lack letters, and that nobody reads any more."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import pytest

from galaxy.system.terminal import Console, standard_streams


def test_a_closed_stream_is_written_to_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with standard_streams():
        print("unheard")
        assert not sys.stdout.isatty()
    sys.stdout.close()


def test_a_letter_that_a_terminal_lacks_becomes_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "ascii"))
    with standard_streams():
        print("R², Größe")
    assert content.getvalue() == b"R?, Gr??e\n"


def test_log_records_that_nobody_reads_end_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        console = Console(stream)
        console.handle(logging.LogRecord("galaxy", logging.INFO, "", 0, "unheard", (), None))
        console.handle(logging.LogRecord("galaxy", logging.INFO, "", 0, "wrong %d", ("word",), None))
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # what is still buffered goes nowhere
    said = capsys.readouterr().err
    assert "BrokenPipeError" not in said
    assert "wrong %d" in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no disk that is always full")  # noqa: PTH110
def test_an_output_whose_disk_is_full_is_said() -> None:
    program = "from galaxy.system.terminal import standard_streams\nwith standard_streams(): print('x')"
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ran.returncode, ran.stderr) == (1, "the output cannot be written, because its disk is full\n")
