"""The embedded event log keeps the contract."""

from pathlib import Path

import pytest

from headwater.streams import EventLog, FileLog
from headwater.testing.stream_suite import EventLogSuite


class TestFileLog(EventLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path) -> FileLog:
        return FileLog(tmp_path / "log", partitions=4, segment_bytes=20_000)

    def reopen(self, log: EventLog) -> FileLog:
        assert isinstance(log, FileLog)
        return FileLog(log.folder, segment_bytes=20_000)

    def forget(self, log: EventLog, partition: int) -> None:
        assert isinstance(log, FileLog)
        for _ in range(3):
            log.append([b"x" * 15_000], partition=partition)
        oldest = min((log.folder / f"partition-{partition:04d}").glob("*.events"))
        oldest.unlink()
