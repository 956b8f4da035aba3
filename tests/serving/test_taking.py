"""Taking records out of the log: each once, whatever the portions, also behind damage."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.prediction_log import LogWriter, backlog, damaged_segments, encode_record, segments, settle, take
from tests.compaction.scene import record


def fill(folder: Path, count: int, **how: Any) -> list[bytes]:
    wanted = [f"record {number}".encode() * 4 for number in range(count)]
    log = LogWriter(folder, **how)
    for item in wanted:
        log.append([item])
    log.close()
    return wanted


@settings(deadline=None, max_examples=20)  # each fills a log, and waits for the disk
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.sampled_from([100, 1_000, 100_000]))
def test_portions_of_any_size_give_each_record_once(portions: list[int], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        wanted = fill(Path(name), 25, segment_bytes=size)
        positions: Any = {}
        found: list[bytes] = []
        for most in (*portions, 100):
            assert backlog(Path(name), positions, 1_000).records == len(wanted) - len(found)
            taken = take(Path(name), positions, most=most)
            assert taken.is_all == (len(found) + len(taken.records) == len(wanted))
            positions, found = taken.positions, found + [placed.data for placed in taken.records]
            settle(Path(name), positions)
        assert found == wanted
        assert segments(Path(name)) == ()


def test_nothing_new_leaves_the_positions_as_they_are(tmp_path: Path) -> None:
    assert take(tmp_path / "nowhere", {}, most=9).positions == {}
    fill(tmp_path, 3)
    positions = take(tmp_path, {}, most=9).positions
    again = take(tmp_path, positions, most=9)
    assert (again.records, again.positions, again.is_all) == ((), positions, True)


def test_what_no_position_covers_is_never_deleted(tmp_path: Path) -> None:
    fill(tmp_path, 3, segment_bytes=100)
    before = segments(tmp_path)
    settle(tmp_path, {})
    (first, *rest) = before
    settle(tmp_path, {"segments": {first.name: 10**6, rest[0].name: 0}})
    assert segments(tmp_path) == tuple(rest)


def test_what_another_log_has_in_the_positions_stays_until_that_one_forgets_it(tmp_path: Path) -> None:
    """Each of two machines dropped the positions of the other one, which took its segments again from their beginning."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    positions: Any = {}
    for folder in (ours, theirs, ours):
        fill(folder, 3, segment_bytes=100)
        positions = take(folder, positions, most=9).positions
        settle(folder, positions)
    there = set(positions["segments"])
    assert len(there) == 6, "ours of before went"
    assert backlog(theirs, positions, 9).records == backlog(ours, positions, 9).records == 0
    fill(theirs, 1)
    positions = take(theirs, positions, most=9).positions
    settle(theirs, positions)
    assert len(there & set(positions["segments"])) == 3, "theirs of before went"
    assert len(list(theirs.iterdir())) == 1, "the mark of the newest"
    assert len(list(ours.iterdir())) == 3


def test_a_segment_that_is_there_keeps_its_position_whatever_mark_lies_beside_it(tmp_path: Path) -> None:
    """A power cut may bring a segment back whose mark was made anew."""
    fill(tmp_path, 3)
    positions = take(tmp_path, {}, most=2).positions
    (segment,) = segments(tmp_path)
    segment.path.with_suffix(".taken").touch()
    positions = take(tmp_path, positions, most=9).positions
    assert list(positions["segments"]) == [segment.name]
    settle(tmp_path, positions)
    assert [file.suffix for file in tmp_path.iterdir()] == [".taken"]


def test_damage_between_portions_is_remembered_until_the_segment_is_done(tmp_path: Path) -> None:
    wanted = fill(tmp_path, 6)
    (segment,) = segments(tmp_path)
    data = bytearray(segment.path.read_bytes())
    data[data.index(wanted[2])] ^= 1
    segment.path.write_bytes(bytes(data))
    assert backlog(tmp_path, {}, 100).records == 5
    positions: Any = {}
    found = []
    for _ in range(3):
        taken = take(tmp_path, positions, most=2)
        positions, found = taken.positions, found + [placed.data for placed in taken.records]
        assert damaged_segments(tmp_path) == ()
        settle(tmp_path, positions)
    assert found == [wanted[place] for place in (0, 1, 3, 4, 5)]
    assert damaged_segments(tmp_path) == (segment.name,)
    assert segments(tmp_path) == ()


@pytest.mark.parametrize(("received", "year"), [(1_000_000, 1970), (2**62, None)])
def test_a_record_waits_since_it_came_in_or_else_since_its_segment_was_written(
    tmp_path: Path, received: int, year: int | None
) -> None:
    log = LogWriter(tmp_path)
    log.append([encode_record(record("a", received=received))])
    oldest = backlog(tmp_path, {}, 9).oldest
    assert oldest is not None
    assert oldest.year == (year or datetime.now(UTC).year)
    log.close()
