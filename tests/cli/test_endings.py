"""How the command ends: what nobody foresaw, and times that are none."""

import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import click
import pytest

import headwater.cli
from headwater.cli._times import instant


def ending(monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    """The exit code of a command that raises something."""

    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setitem(headwater.cli._COMMANDS, "fail", ("_fail", "fail"))
    monkeypatch.setitem(sys.modules, "headwater.cli._fail", SimpleNamespace(fail=fail))
    monkeypatch.setattr(sys, "argv", ["headwater", "fail"])
    with pytest.raises(SystemExit) as ended:
        headwater.cli.main()
    return int(str(ended.value.code))


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), BrokenPipeError("of a server")])
def test_a_crash_is_an_error_and_no_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    """It ended with 1, which says that the command found something."""
    assert ending(monkeypatch, error) == 2
    told = capfd.readouterr().err
    assert ("Traceback" in told, str(error) in told) == (True, True)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00", "yesterday", "2013-13"])
def test_a_time_that_is_none_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.UsageError, match="--since"):
        instant(text, "--since")


def test_a_time_is_told_in_utc() -> None:
    wanted = datetime(2013, 7, 1, 10, tzinfo=UTC)
    found = [instant(text, "--since") for text in ("2013-07-01T12:00:00+02:00", "2013-07-01T10:00")]
    assert [(one, one.utcoffset()) for one in found] == [(wanted, wanted.utcoffset())] * 2
