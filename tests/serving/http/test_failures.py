"""What could not be answered is counted for the version that was drawn, and written down once."""

from pathlib import Path
from typing import Any

import pytest

from serving.engine import Asked
from serving.http._failures import Failures
from serving.prediction_log import FailureRecord, LogError, LogWriter, decode_failure, read_frames, segments


class Drawn:
    """What counting needs of an engine: odd orders go to another version."""

    product = "toy"

    class deployment:  # noqa: N801
        commit = "c"

    def variant(self, one: Asked) -> str:
        return "2.0.0" if one.fields["order"] % 2 else "1.0.0"


def asked(order: int, version: str = "") -> Asked:
    return Asked(id=str(order), fields={"order": order}, at=0, received=0, started=0, version=version)


def written(folder: Path) -> list[FailureRecord]:
    frames = (frame for segment in segments(folder) for frame in read_frames(segment))
    return [decode_failure(data) for frame in frames for data in frame.records]


def note(failures: Failures, *requests: Asked, code: str = "failed") -> None:
    engine: Any = Drawn()
    failures.note(engine, requests, code)


def test_failures_are_counted_by_version_and_kind_and_written_once(tmp_path: Path) -> None:
    failures = Failures(lambda product: LogWriter(tmp_path / product, segment_bytes=2**14))
    failures.prepare(["toy"])
    note(failures, asked(1), asked(2), asked(3))
    note(failures, asked(5), code="deadline")
    note(failures, asked(7, version="2.0.0"))
    failures.write()
    failures.write()
    found = {(one.version, one.code): one.count for one in written(tmp_path / "toy")}
    assert found == {("1.0.0", "failed"): 1, ("2.0.0", "failed"): 2, ("2.0.0", "deadline"): 1}, (
        "who names a version is drawn for none"
    )
    note(failures, asked(4))
    failures.close()
    assert sum(one.count for one in written(tmp_path / "toy")) == 5, "what is left is written at the end"


def test_what_cannot_be_written_now_is_written_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "toy"
    blocked.write_text("in the way")
    failures = Failures(lambda product: LogWriter(tmp_path / product, segment_bytes=2**14))
    note(failures, asked(1))
    failures.write()
    assert "failures cannot be written" in caplog.text
    blocked.unlink()
    note(failures, asked(1))
    failures.write()
    assert [one.count for one in written(tmp_path / "toy")] == [2]
    failures.close()


def test_a_full_disk_is_told_and_kept() -> None:
    class Full:
        def append(self, records: Any) -> None:
            raise LogError(path="x", action="written", reason="no room")

        def close(self) -> None:
            raise LogError(path="x", action="written", reason="no room")

    opened: Any = lambda product: Full()  # noqa: E731
    failures = Failures(opened)
    note(failures, asked(1))
    failures.write()
    failures.close()
    assert sum(count for count, _ in failures._counts.values()) == 1


def test_without_a_log_nothing_is_kept() -> None:
    failures = Failures()
    failures.prepare(["toy"])
    note(failures, asked(1))
    failures.write()
    failures.close()
