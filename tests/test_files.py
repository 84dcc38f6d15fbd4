"""Files are whole or absent."""

from pathlib import Path

import pytest

from galaxy.files import replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.txt"
    write_text(path, "old")

    def cut_short() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cut_short()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with replacing(path) as temporary:
        temporary.write_text("{")
        assert not path.exists()
    write_json(path, {"status": "done"})
    assert path.read_text() == '{\n  "status": "done"\n}\n'
    assert path.stat().st_mode & 0o444 == 0o444
