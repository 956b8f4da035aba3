"""What was appended is there after anything: a kill, a torn end, a full disk, a changed byte, two that begin at once."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headwater.streams import FileLog, Limits
from headwater.streams.errors import (
    DamagedEventLogError,
    EventLogError,
    EventLogFullError,
    LostEventsError,
    NoZoneError,
)
from headwater.testing.stream_suite import everything

WRITER = """
import sys
from pathlib import Path
from headwater.streams import FileLog

log, number = FileLog(Path(sys.argv[1]), segment_bytes=20_000), int(sys.argv[3])
while True:
    batch = [f"{sys.argv[2]}:{number + k}".encode() * 3 for k in range(1 + number % 7)]
    log.append(batch, partition=0)
    number += len(batch)
    print(number, flush=True)
"""


def words(folder: Path) -> list[bytes]:
    return [event.data for event in everything(FileLog(folder))]


def newest(folder: Path) -> Path:
    return max((folder / "partition-0000").glob("*.events"))


@pytest.mark.parametrize("seed", range(2))
def test_what_was_appended_before_a_kill_is_there_once_and_in_order(tmp_path: Path, seed: int) -> None:
    """Two processes on one partition, both killed at a random instant, and again."""
    draw, names, begin = random.Random(seed), ("left", "right"), {"left": 0, "right": 0}
    FileLog(tmp_path)
    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        writers = [
            subprocess.Popen([*command, name, str(begin[name])], stdout=subprocess.PIPE, text=True) for name in names
        ]
        first = [int(writer.stdout.readline()) for writer in writers if writer.stdout]
        time.sleep(draw.uniform(0, 0.3))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        said = [writer.communicate()[0] for writer in writers]
        promised = [max([one, *map(int, out.split())]) for one, out in zip(first, said, strict=True)]
        found = words(tmp_path)
        for name, count in zip(names, promised, strict=True):
            mine = [event for event in found if event.startswith(name.encode())]
            assert mine == [f"{name}:{number}".encode() * 3 for number in range(len(mine))]
            assert count <= len(mine) <= count + 7  # one batch may be on disk without its promise
            begin[name] = len(mine)
    assert FileLog(tmp_path).ends()[0] == len(words(tmp_path))


@pytest.mark.parametrize("cut", [1, 5, 17, 40])
def test_a_torn_end_is_no_event_and_the_next_one_follows_behind_it(tmp_path: Path, cut: int) -> None:
    log = FileLog(tmp_path)
    log.append([b"one", b"two"], partition=0)
    log.append([b"torn" * 10], partition=0)
    torn = newest(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-cut])
    other = FileLog(tmp_path)
    assert other.ends() == {0: 2}
    assert other.append([b"three"], partition=0) == (2,)
    for log in (other, FileLog(tmp_path)):
        assert [event.data for event in everything(log)] == [b"one", b"two", b"three"]
    assert torn != newest(tmp_path)


def test_a_writer_killed_before_its_first_frame_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    log = FileLog(tmp_path, segment_bytes=10)
    log.append([b"one"], partition=0)
    (tmp_path / "partition-0000" / f"00000002-{1:020d}-{'ab' * 8}.events").touch()
    assert log.append([b"two"], partition=0) == (1,)
    assert words(tmp_path) == [b"one", b"two"]


@pytest.mark.parametrize("word", [b"one", b"two"])
def test_a_changed_byte_among_events_is_damage_and_not_the_end(tmp_path: Path, word: bytes) -> None:
    log = FileLog(tmp_path)
    for event in (b"one", b"two", b"three"):
        log.append([event], partition=0)
    path = newest(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(word)] ^= 1
    path.write_bytes(bytes(data))
    for call in (lambda: words(tmp_path), lambda: FileLog(tmp_path).append([b"four"], partition=0)):
        with pytest.raises(DamagedEventLogError, match=path.name):
            call()


def test_events_that_are_missing_at_the_end_of_an_older_segment_are_damage(tmp_path: Path) -> None:
    """Told from a torn end by the next segment, which says how many events there were."""
    log = FileLog(tmp_path, segment_bytes=50)
    log.append([b"a" * 20], partition=0)
    log.append([b"b" * 20], partition=0)
    older = newest(tmp_path)
    log.append([b"c"], partition=0)
    assert newest(tmp_path) != older
    older.write_bytes(older.read_bytes()[:-1])
    with pytest.raises(DamagedEventLogError, match="the next segment begins at 2"):
        words(tmp_path)


def test_a_frame_that_is_written_while_it_is_read_is_not_taken_for_damage(tmp_path: Path) -> None:
    log, ended = FileLog(tmp_path, segment_bytes=5_000, sync=False), threading.Event()

    def write() -> None:
        for number in range(400):
            log.append([f"{number}".encode() * 50], partition=0)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        found = words(tmp_path)
        assert found == [f"{number}".encode() * 50 for number in range(len(found))]
    writer.join()
    assert len(words(tmp_path)) == 400


def test_a_full_disk_is_said_and_later_events_find_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FileLog(tmp_path)
    log.append([b"before"], partition=0)
    write = os.pwrite

    def half(file: int, data: memoryview, offset: int) -> int:
        if len(data) < 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:20], offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", half)
        with pytest.raises(EventLogFullError, match="disk is full"):
            log.append([b"never promised"], partition=0)
    assert words(tmp_path) == [b"before"]
    assert log.append([b"after"], partition=0) == (1,)
    assert words(tmp_path) == [b"before", b"after"]


def test_after_a_sync_that_failed_the_events_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reached the disk nobody knows; read now and lost in a power cut, they would leave a hole."""
    log = FileLog(tmp_path)
    log.append([b"before"], partition=0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", lambda file: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(EventLogError, match="Input/output error"):
            log.append([b"never promised"], partition=0)
    assert log.append([b"after"], partition=0) == (1,)
    assert words(tmp_path) == [b"before", b"after"]


def test_what_a_reader_gets_is_on_disk_also_when_its_writer_has_not_synced_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FileLog(tmp_path, sync=False).append([b"in the cache"], partition=0)
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    assert words(tmp_path) == [b"in the cache"]
    assert synced


def test_two_that_begin_a_log_at_once_get_the_same_one(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(6)

    def begin() -> None:
        barrier.wait()
        log = FileLog(tmp_path / "log", partitions=2)
        log.append([b"x"], partition=1)
        found.append(log.identity)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert words(tmp_path / "log") == [b"x"] * 6
    assert sorted(file.name for file in (tmp_path / "log").iterdir()) == [
        "log.json",
        "partition-0000",
        "partition-0001",
    ]


def test_a_log_is_opened_as_it_was_begun_or_not_at_all(tmp_path: Path) -> None:
    FileLog(tmp_path / "log", partitions=3)
    assert FileLog(tmp_path / "log").partitions() == (0, 1, 2)
    with pytest.raises(EventLogError, match="it has 3 partitions, not 2"):
        FileLog(tmp_path / "log", partitions=2)
    (tmp_path / "log" / "log.json").write_text('{"format": 99, "id": "a", "partitions": 3}')
    with pytest.raises(EventLogError, match="its format is 99"):
        FileLog(tmp_path / "log")
    (tmp_path / "log" / "log.json").write_text("{")
    with pytest.raises(EventLogError, match="no description of a log"):
        FileLog(tmp_path / "log")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(EventLogError, match="taken"):
        FileLog(tmp_path / "taken")


def empty(folder: Path) -> None:
    for segment in (folder / "partition-0000").glob("*.events"):
        segment.unlink()


def test_a_partition_without_segments_goes_on_from_its_end(tmp_path: Path) -> None:
    """`find -mtime +7 -delete` in a quiet partition took the newest segment too, and offsets began at 0 again."""
    log = FileLog(tmp_path)
    log.append([b"one", b"two"], partition=0)
    log.append([b"three"], partition=0)
    empty(tmp_path)
    for again in (log, FileLog(tmp_path)):
        assert again.ends() == {0: 3}
        assert again.read({0: 3}, limits=Limits()).events == ()
        assert again.read({}, limits=Limits()).next == {0: 3}
    assert FileLog(tmp_path).append([b"four"], partition=0) == (3,)
    assert [(event.offset, event.data) for event in everything(log)] == [(3, b"four")]
    for offset in (0, 2):
        with pytest.raises(LostEventsError, match="begins at offset 3"):
            log.read({0: offset}, limits=Limits())


def test_events_whose_writer_was_killed_before_it_kept_the_end_are_counted_once_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog(tmp_path)
    log.append([b"one"], partition=0)
    with monkeypatch.context() as patched:
        patched.setattr("headwater.streams._file_log.write_end", lambda *_, **__: sys.exit("killed"))
        with pytest.raises(SystemExit):
            log.append([b"two"], partition=0)
    assert words(tmp_path) == [b"one", b"two"]
    empty(tmp_path)
    assert FileLog(tmp_path).append([b"three"], partition=0) == (2,)


def test_a_log_of_before_its_end_was_kept_has_one_once_it_was_read(tmp_path: Path) -> None:
    FileLog(tmp_path).append([b"one"], partition=0)
    (tmp_path / "partition-0000" / "end").unlink()
    assert words(tmp_path) == [b"one"]
    empty(tmp_path)
    assert FileLog(tmp_path).ends() == {0: 1}


def test_an_end_that_is_none_is_damage(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append([b"one"], partition=0)
    (tmp_path / "partition-0000" / "end").write_text("1\n")
    with pytest.raises(DamagedEventLogError, match="end is damaged"):
        log.ends()


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoZoneError, match="no zone"):
        FileLog(tmp_path).append([b"x"], partition=0, at=datetime(2013, 1, 1))
    FileLog(tmp_path).append([b"x"], partition=0, at=datetime(2013, 1, 1, tzinfo=UTC))


def test_going_on_in_a_long_log_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader once decoded a segment from its start for each batch."""
    log = FileLog(tmp_path)
    for _ in range(50):
        log.append([b"x" * 50_000], partition=0)
    offsets = {0: 0}
    reader = FileLog(tmp_path)
    reader.ends()
    read, count = os.pread, [0]

    def pread(file: int, size: int, offset: int) -> bytes:
        data = read(file, size, offset)
        count[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", pread)
    while (batch := reader.read(offsets, limits=Limits(events=5))).events:
        offsets = dict(batch.next)
    assert count[0] < 12 * 2**20  # ten windows of a megabyte; from the start each time it is more than twice as much


def test_a_record_that_looks_like_a_frame_is_none(tmp_path: Path) -> None:
    from headwater.frames import encode

    log = FileLog(tmp_path)
    log.append([b"one"], partition=0)
    mark = bytes.fromhex(newest(tmp_path).stem.rpartition("-")[2])
    log.append([encode([b"\0" * 8 + b"forged"], b"guessed!")], partition=0)
    path = newest(tmp_path)
    assert mark != b"guessed!"
    path.write_bytes(path.read_bytes()[:-1])
    assert words(tmp_path) == [b"one"]
