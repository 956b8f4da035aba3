"""`headwater replay` before anything is played: what it refuses, and what it would do."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from headwater.cli._replay import replay
from headwater.cli._replay_run import ReplayError, _begun
from headwater.errors import HeadwaterError


def run(monkeypatch: pytest.MonkeyPatch, state: Path, *words: str) -> tuple[int, str]:
    monkeypatch.setenv("HEADWATER_STATE", str(state))
    done = CliRunner().invoke(replay, list(words))
    said = str(done.exception) if isinstance(done.exception, HeadwaterError) else done.output
    return done.exit_code, said


@pytest.mark.parametrize("words", [("--from", "July", "--to", "2013-08"), ("--from", "2013-07", "--to", "2013-13-01")])
def test_a_time_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", *words)
    assert code == 2
    assert "neither a day" in said


def test_an_end_before_the_begin_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", "--from", "2013-08", "--to", "2013-07")
    assert code == 2
    assert "is before" in said


def test_without_a_lake_it_says_to_build_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", "--from", "2013-07", "--to", "2013-07")
    assert code != 0
    assert "make run" in said


def test_another_begin_than_the_one_half_played_is_refused(tmp_path: Path) -> None:
    from datetime import date

    from headwater.replay import ReplayProgress, write_progress

    half = ReplayProgress(product="flights", first=date(2013, 7, 1), last=date(2013, 7, 9), commit="c", version="1.0.0")
    write_progress(half, tmp_path)
    with pytest.raises(ReplayError, match="--from 2013-07-01, or begin anew with --restart"):
        _begun(None, None, None, tmp_path, date(2013, 8, 1), date(2013, 8, 9), restart=False)  # type: ignore[arg-type]
    longer = _begun(None, None, None, tmp_path, date(2013, 7, 1), date(2013, 7, 31), restart=False)  # type: ignore[arg-type]
    assert longer.last == date(2013, 7, 31)
