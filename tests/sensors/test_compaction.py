"""The compaction sensor by Dagster's own daemon code, and what it decides from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headwater.feeds import Backlog, Feed
from sensors.compaction import Asked, Waiting, due_tables, remembered
from tests.compaction.scene import LABELS, PATH, Scene, microseconds, record
from tests.sensors import fed_location
from tests.sensors.daemon import STATE, Daemon, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FEED = Feed(
    folder="log",
    backlog=lambda folder, positions, most: Backlog(records=0, oldest=None),
    settle=lambda folder, positions: None,
    least_records=10,
    longest_wait=timedelta(seconds=60),
)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(tmp_path, fed_location) as found:
        found.land(1)
        found.settle()
        yield found


def waits(records: int, seconds: float | None, taken: str = "a") -> Waiting:
    oldest = None if seconds is None else NOW - timedelta(seconds=seconds)
    return Waiting(path="p", feed=FEED, taken=taken, backlog=Backlog(records=records, oldest=oldest))


@pytest.mark.parametrize(
    ("item", "asked", "busy", "due"),
    [
        (waits(0, None), {}, [], False),
        (waits(9, 59), {}, [], False),
        (waits(10, 1), {}, [], True),
        (waits(1, 60), {}, [], True),
        (waits(1, -3_600), {}, [], True),  # a clock that went wrong
        (waits(10, 1), {}, ["p"], False),
        (waits(10, 90), {"p": Asked(taken="a", at=NOW.timestamp() - 30, number=1)}, [], False),  # that run took nothing
        (waits(10, 90), {"p": Asked(taken="a", at=NOW.timestamp() - 61, number=1)}, [], True),
        (waits(10, 90), {"p": Asked(taken="b", at=NOW.timestamp() - 1, number=1)}, [], True),  # it took some, more wait
    ],
)
def test_enough_records_or_old_ones_are_due_once(
    item: Waiting, asked: dict[str, Asked], busy: list[str], due: bool
) -> None:
    assert bool(due_tables([item], asked, busy=busy, now=NOW)) == due


def test_each_request_is_remembered_under_a_number_of_its_own() -> None:
    first = remembered([waits(10, 1)], {}, ["p"], now=NOW)
    assert first == {"p": Asked(taken="a", at=NOW.timestamp(), number=1)}
    assert remembered([waits(10, 1)], first, [], now=NOW) == first
    assert remembered([waits(10, 1)], first, ["p"], now=NOW)["p"].number == 2


def test_what_waits_becomes_a_run_and_the_rest_of_automation_leaves_it_alone(daemon: Daemon) -> None:
    scene, now = Scene(daemon.state), microseconds(datetime.now(UTC))
    assert daemon.rows(PATH) == []
    assert daemon.shown(PATH) == daemon.standing(PATH)
    scene.answer(record(f"a:{number}", received=now) for number in range(3))
    assert daemon.settle() == [], "too few"
    scene.answer(record(f"b:{number}", received=now) for number in range(3))
    assert daemon.settle() == [PATH]
    assert sorted(str(row["request_id"]) for row in daemon.rows(PATH)) == ["a:0", "a:1", "a:2", "b:0", "b:1", "b:2"]
    assert scene.segments() == []
    assert daemon.shown(PATH) == daemon.standing(PATH)
    scene.answer([record("old")])
    assert daemon.settle() == [PATH], "one that waits long"
    before = daemon.commits(PATH)
    daemon.land(1, 2)
    assert LABELS in daemon.settle()
    assert daemon.commits(PATH) == before, "changed labels move no data"
    scene.answer(record(f"c:{number}") for number in range(9))
    scene.compact()
    assert daemon.settle() == [], "somebody compacted without Dagster"
    assert daemon.shown(PATH) == daemon.standing(PATH)
