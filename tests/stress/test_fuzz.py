"""Some cases of tests/stress/fuzz_readers.py: damaged files are refused or named, and never believed."""

from pathlib import Path

import pytest

from tests.stress.fuzz_readers import Fuzz, Outcome


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    return Fuzz(tmp_path_factory.mktemp("fuzz"), seed=1)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_damaged_files_are_never_believed(
    fuzz: Fuzz, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [fuzz.run(number) for number in range(first, first + 20)]
    failures = [case for case in cases if case.outcome == Outcome.FAILURE]
    assert not failures
    assert any(case.outcome == Outcome.REFUSED for case in cases)


def test_a_case_is_always_the_same(fuzz: Fuzz) -> None:
    drawn = [fuzz.damaged(number) for number in (3, 5, 3)]
    assert drawn[0] == drawn[2] != drawn[1]
