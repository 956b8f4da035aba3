"""What was appended is there after anything: a kill, a full disk, two writers, a reader at the same time."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.frames import decode, encode, next_whole
from serving.prediction_log import (
    DamagedLogError,
    LogError,
    LogFullError,
    LogWriter,
    damaged_segments,
    read_frames,
    segments,
    settle,
    take,
)

WRITER = """
import sys, threading
from pathlib import Path
from serving.prediction_log import LogWriter

log, number = LogWriter(Path(sys.argv[1]), segment_bytes=20_000), 0

def tend():
    while True:
        if log.wants_tending:
            log.tend()

if sys.argv[3] == "tended":
    threading.Thread(target=tend, daemon=True).start()
while True:
    batch = [f"{sys.argv[2]}:{number + k}".encode() * 3 for k in range(1 + number % 7)]
    log.append(batch)
    number += len(batch)
    print(number, flush=True)
"""


MARK = b"\1\2\3\4abcd"


def everything(folder: Path, *, skip_damage: bool = False) -> list[bytes]:
    frames = (f for segment in segments(folder) for f in read_frames(segment, skip_damage=skip_damage))
    return [record for frame in frames for record in frame.records]


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 40))
def test_a_frame_comes_back_and_none_of_its_beginnings_does(records: list[bytes], cut: int) -> None:
    data = encode(records, MARK)
    found = decode(data, 0, MARK)
    assert found is not None
    assert found == (tuple(records), len(data))
    if cut:
        assert decode(data[:-cut], 0, MARK) is None
    assert next_whole(b"more" + data, 0, MARK) == 4


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=1_000)
    wanted = [bytes([65 + number % 26]) * (number * 7 % 300) for number in range(200)]
    for start in range(0, 200, 3):
        log.append(wanted[start : start + 3])
    assert everything(tmp_path) == wanted
    assert [segment.is_final for segment in segments(tmp_path)].count(False) == 1
    log.close()
    assert everything(tmp_path) == wanted
    assert all(segment.is_final for segment in segments(tmp_path))
    assert len(segments(tmp_path)) > 10


def test_a_batch_larger_than_a_segment_gets_one_of_its_size(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=100)
    log.append([b"x" * 5_000])
    log.append([b"y"])
    log.close()
    assert everything(tmp_path) == [b"x" * 5_000, b"y"]


def test_an_unused_segment_leaves_nothing(tmp_path: Path) -> None:
    LogWriter(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    assert segments(tmp_path / "nowhere") == ()


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.append([b"a", b"b"])
    (segment,) = segments(tmp_path)
    (first,) = read_frames(segment)
    log.append([b"c"])
    assert [frame.records for frame in read_frames(segment, start=first.end)] == [(b"c",)]
    log.close()
    assert [frame.records for frame in read_frames(segment, start=first.end)] == [(b"c",)]


@pytest.mark.parametrize("tended", ["tended", "alone"])
@pytest.mark.parametrize("seed", range(4))
def test_what_was_appended_before_a_kill_is_there_once(tmp_path: Path, seed: int, tended: str) -> None:
    """Two processes on one folder, both killed at a random instant; segments made beforehand may be there."""
    draw = random.Random(seed)
    names = ("left", "right")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name, tended], stdout=subprocess.PIPE, text=True) for name in names]
    outs = [writer.stdout for writer in writers]
    assert outs[0] is not None
    assert outs[1] is not None
    first = [int(out.readline()) for out in outs if out is not None]
    time.sleep(draw.uniform(0, 0.3))
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    promised = [max([begin, *map(int, out.read().split())]) for begin, out in zip(first, outs, strict=True) if out]
    for writer, out in zip(writers, outs, strict=True):
        writer.wait()
        assert out is not None
        out.close()
    found = everything(tmp_path)
    for name, count in zip(names, promised, strict=True):
        mine = [record for record in found if record.startswith(name.encode())]
        assert mine == [f"{name}:{number}".encode() * 3 for number in range(len(mine))]
        assert count <= len(mine) <= count + 7  # one batch may be on disk without its promise
    assert all(segment.is_final for segment in segments(tmp_path))
    taken = take(tmp_path, {}, most=10**9)
    assert [placed.data for placed in taken.records] == found
    settle(tmp_path, taken.positions)
    assert (segments(tmp_path), damaged_segments(tmp_path)) == ((), ())


def test_the_next_segment_is_there_before_the_one_that_is_written_is_full(tmp_path: Path) -> None:
    log, record = LogWriter(tmp_path, segment_bytes=1_000), b"x" * 100
    made = []
    for number in range(60):
        if log.wants_tending:
            log.tend()
        assert not log.wants_tending
        assert log.fits([record]), f"record {number} has to wait for a segment"
        made.append(len(segments(tmp_path)))
        log.append([record])
    assert set(made) == {*range(1, max(made) + 1)}
    log.tend()
    assert [segment.is_final for segment in segments(tmp_path)].count(False) <= 2
    log.close()
    assert everything(tmp_path) == [record] * 60
    assert all(segment.is_final and any(read_frames(segment)) for segment in segments(tmp_path)), "an unused one goes"


def test_records_stay_in_order_where_the_segment_made_beforehand_is_too_small(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=1_000)
    log.append([b"first" * 120])
    log.tend()
    big = [b"big" * 1_000]
    assert not log.fits(big)
    log.append(big)
    log.append([b"last"])
    log.close()
    assert everything(tmp_path) == [b"first" * 120, *big, b"last"]
    assert len(segments(tmp_path)) == 3


def test_a_segment_that_finds_no_room_beforehand_refuses_nothing_until_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter(tmp_path, segment_bytes=1_000)
    log.append([b"x" * 600])
    with monkeypatch.context() as full:
        full.setattr(os, "ftruncate", None)  # nothing is ended here
        full.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(LogFullError, match="disk is full"):
            log.tend()
        assert not log.wants_tending, "it is tried once for each segment"
        assert log.fits([b"y" * 100])
        log.append([b"y" * 100])
        assert not log.fits([b"z" * 600])
        with pytest.raises(LogFullError):
            log.append([b"z" * 600])
        assert not log.fits([b"y"]), "who finds room is the thread"
    log.make_room()
    assert log.fits([b"z" * 600])
    log.append([b"z" * 600])
    log.close()
    assert everything(tmp_path) == [b"x" * 600, b"y" * 100, b"z" * 600]
    assert list(tmp_path.glob("*.part")) == []


def test_a_forked_worker_leaves_the_segment_made_beforehand_to_its_parent(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=1_000)
    log.append([b"x" * 600])
    log.tend()
    child = os.fork()
    if not child:
        log.append([b"child" * 100])
        log.tend()
        log.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.append([b"parent" * 100])
    log.close()
    assert sorted(everything(tmp_path)) == [b"child" * 100, b"parent" * 100, b"x" * 600]
    assert all(segment.is_final for segment in segments(tmp_path))


def test_appends_go_on_while_a_segment_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter(tmp_path, segment_bytes=1_000)
    log.append([b"x" * 600])
    begun, gate, sync = threading.Event(), threading.Event(), os.fsync

    def slow(file: int) -> None:
        begun.set()
        assert gate.wait(20)
        sync(file)

    monkeypatch.setattr(os, "fsync", slow)
    tending = threading.Thread(target=log.tend)
    tending.start()
    assert begun.wait(20)
    log.append([b"meanwhile"])
    gate.set()
    tending.join()
    assert log.fits([b"y" * 600])
    log.close()
    assert everything(tmp_path) == [b"x" * 600, b"meanwhile"]


def test_a_reader_beside_writers_sees_whole_records_alone(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=4_000, sync=False)
    ended = threading.Event()
    seen: list[int] = []

    def write(name: int) -> None:
        for number in range(300):
            log.append([f"{name}:{number}".encode() * 20])

    def read() -> None:
        while not ended.is_set():
            records = everything(tmp_path)
            assert all(record == record[: len(record) // 20] * 20 for record in records)
            seen.append(len(records))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(name,)) for name in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    log.close()
    assert sorted(everything(tmp_path)) == sorted(f"{n}:{k}".encode() * 20 for n in range(3) for k in range(300))
    assert seen
    assert seen == sorted(seen)


def test_a_full_disk_is_said_before_anything_is_promised_and_later_records_find_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter(tmp_path, segment_bytes=200)
    log.append([b"before"])
    write, full = os.pwrite, [True]

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    for _ in range(2):
        with pytest.raises(LogFullError, match="disk is full"):
            log.append([b"x" * 150])
        with pytest.raises(LogFullError, match="disk is full"):
            log.make_room()
    full[0] = False
    log.make_room()
    full[0] = True
    log.make_room()  # there is room now, and nobody looks for more
    full[0] = False
    log.append([b"after"])
    log.close()
    assert everything(tmp_path) == [b"before", b"after"]


def test_after_a_sync_that_failed_the_segment_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What of the frame reached the disk nobody knows; nothing is written over it."""
    log = LogWriter(tmp_path)
    log.append([b"before"])
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", lambda file: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(LogError, match="Input/output error"):
            log.append([b"never promised"])
    log.append([b"after"])
    log.close()
    assert everything(tmp_path) == [b"before", b"after"]


def test_a_changed_byte_among_records_is_damage_and_not_the_end(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    for word in (b"one", b"two", b"three"):
        log.append([word])
    log.close()
    (segment,) = segments(tmp_path)
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"two")] ^= 1
    segment.path.write_bytes(bytes(data))
    with pytest.raises(DamagedLogError, match=segment.name):
        everything(tmp_path)
    assert everything(tmp_path, skip_damage=True) == [b"one", b"three"]


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(LogError, match="taken"):
        LogWriter(tmp_path / "taken")


def test_a_forked_worker_writes_a_segment_of_its_own_and_leaves_its_parents_alone(tmp_path: Path) -> None:
    """Two children once wrote over each other's answers in the segment they had inherited."""
    log = LogWriter(tmp_path)
    log.append([b"parent 0"])
    children = []
    for name in (b"left", b"right"):
        child = os.fork()
        if not child:
            for number in range(20):
                log.append([name + str(number).encode()])
            log.close()
            os._exit(0)
        children.append(child)
    idle = os.fork()
    if not idle:
        log.close()  # of nothing: it has no segment
        os._exit(0)
    for child in (*children, idle):
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.append([b"parent 1"])
    log.close()
    wanted = {b"parent 0", b"parent 1"} | {name + str(n).encode() for name in (b"left", b"right") for n in range(20)}
    assert sorted(everything(tmp_path)) == sorted(wanted)
    assert all(segment.is_final for segment in segments(tmp_path))


def test_who_comes_while_the_disk_is_busy_shares_the_next_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, syncs, sync = LogWriter(tmp_path), [0], os.fdatasync

    def slow(file: int) -> None:
        syncs[0] += 1
        time.sleep(0.005)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.append([str(number).encode()]), range(400)))
    log.close()
    assert sorted(everything(tmp_path)) == sorted(str(number).encode() for number in range(400))
    assert syncs[0] < 200


def test_a_segment_that_cannot_be_ended_is_left_and_none_piles_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter(tmp_path, segment_bytes=100)
    log.append([b"x" * 60])
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "ftruncate", lambda file, size: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error"))
        )
        with pytest.raises(LogError):
            log.append([b"y" * 60])
        assert len(os.listdir("/proc/self/fd")) == before
    log.append([b"z" * 60])
    log.close()
    assert everything(tmp_path) == [b"x" * 60, b"z" * 60]


def test_a_record_that_looks_like_a_frame_is_none(tmp_path: Path) -> None:
    """A client chooses what stands in a record; the segment's mark it cannot know."""
    log = LogWriter(tmp_path)
    log.append([encode([b"forged"], MARK)])
    log.close()
    (segment,) = segments(tmp_path)
    segment.path.write_bytes(segment.path.read_bytes()[:-1])  # torn
    assert everything(tmp_path) == everything(tmp_path, skip_damage=True) == []
