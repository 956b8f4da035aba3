"""Counts of refused calls: added up over processes, kept through failures, read back."""

import logging
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.retired_calls import RetiredCalls, RetiredCallsError, read_retired_calls

ROOT = Path(__file__).parents[2]
_MANY = """
import sys
from pathlib import Path
from serving.retired_calls import RetiredCalls
calls = RetiredCalls(Path(sys.argv[1]))
for _ in range(50):
    calls.note("toy", "1.0.0", "desk")
    calls.keep()
while calls._counts:
    calls.keep()
"""


def test_counts_of_several_processes_add_up(tmp_path: Path) -> None:
    file = tmp_path / "log" / "calls.db"
    file.parent.mkdir()
    started = [subprocess.Popen([sys.executable, "-c", _MANY, str(file)], cwd=ROOT) for _ in range(3)]
    assert [process.wait(300) for process in started] == [0, 0, 0]
    found = read_retired_calls(file, "toy")
    assert sum(one.calls for one in found) == 150
    assert all(one.first <= one.last <= datetime.now(UTC) + timedelta(seconds=1) for one in found)
    assert read_retired_calls(file, "other") == ()


def test_what_cannot_be_written_is_kept_for_the_next_time_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "in the way" / "calls.db"
    file.parent.write_text("no folder")
    calls = RetiredCalls(file)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            calls.note("toy", "1.0.0", "desk")
            calls.keep()
    assert len(caplog.records) == 1
    file.parent.unlink()
    calls.keep()
    calls.keep()
    assert [one.calls for one in read_retired_calls(file, "toy")] == [3]


def test_calls_of_versions_that_are_not_served_stand_apart_also_beside_an_older_file(tmp_path: Path) -> None:
    """Services of two Headwaters may write to one file, and the older one has but the first table."""
    file = tmp_path / "calls.db"
    calls = RetiredCalls(file)
    calls.note("toy", "1.0.0", "desk")
    calls.keep()
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE not_served")
    connection.close()
    assert [one.is_retired for one in read_retired_calls(file, "toy")] == [True]
    for _ in range(2):
        calls.note("toy", "1.0.0", "desk", is_retired=False)
    calls.keep()
    found = [(one.version, one.caller, one.calls, one.is_retired) for one in read_retired_calls(file, "toy")]
    assert found == [("1.0.0", "desk", 1, True), ("1.0.0", "desk", 2, False)]


def test_before_any_refusal_there_is_nothing_to_read(tmp_path: Path) -> None:
    RetiredCalls(tmp_path / "calls.db").keep()
    assert not (tmp_path / "calls.db").exists()
    assert read_retired_calls(tmp_path / "calls.db", "toy") == ()
    (tmp_path / "calls.db").touch()
    assert read_retired_calls(tmp_path / "calls.db", "toy") == ()


def test_a_damaged_file_is_named_and_counting_goes_on_once_it_is_away(tmp_path: Path) -> None:
    file = tmp_path / "calls.db"
    file.write_bytes(b"no database" * 100)
    calls = RetiredCalls(file)
    calls.note("toy", "1.0.0", "desk")
    calls.keep()
    with pytest.raises(
        RetiredCallsError, match=r"calls\.db cannot be read: file is not a database.*move a damaged file away"
    ):
        read_retired_calls(file, "toy")
    file.unlink()
    calls.keep()
    assert [one.calls for one in read_retired_calls(file, "toy")] == [1]
