"""What automation does, over the daemon's own tick code: nothing is lost, nothing is built twice."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from tests.sensors.daemon import STATE, Daemon, copied, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")

LANDING, DOUBLED, TOTAL, REPORT = "toy/landing/numbers", "toy/doubled", "toy/total", "toy/report"
EVERY = (LANDING, DOUBLED, TOTAL, REPORT)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything was built from 1, 2, 3, by automation, and each asset was published once."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWATER_STATE", str(folder / STATE))
        with running(folder) as daemon:
            daemon.land(1, 2, 3)
            daemon.settle()
            assert daemon.rows(REPORT) == [{"y": 12, "count": 3}]
            assert {path: daemon.commits(path) for path in EVERY} == dict.fromkeys(EVERY, 1)
    return folder


@pytest.fixture
def built(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A copy of that."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(copied(once, tmp_path)) as found:
        yield found


def test_a_landed_file_is_followed_to_the_end_and_each_asset_is_published_once(built: Daemon) -> None:
    built.land(1, 2, 4)
    built.settle()
    assert built.rows(REPORT) == [{"y": 14, "count": 3}]
    assert {path: built.commits(path) for path in EVERY} == dict.fromkeys(EVERY, 2)


def test_the_same_content_landed_again_starts_nothing(built: Daemon) -> None:
    built.land(1, 2, 3)
    assert built.settle() == []


def test_what_comes_out_equal_starts_nothing_below(built: Daemon) -> None:
    built.land(3, 2, 1)  # other bytes, the same numbers in another order
    started = built.settle()
    assert TOTAL not in "".join(started)
    assert built.commits(TOTAL) == 1


def test_a_refused_build_is_not_tried_again_and_main_keeps_what_it_had(built: Daemon) -> None:
    built.land(-1, 2, 3)
    started = built.settle()
    assert [paths for paths in started if DOUBLED in paths] == [DOUBLED]
    assert built.rows(REPORT) == [{"y": 12, "count": 3}]
    built.land(5, 2, 3)
    built.settle()
    assert built.rows(REPORT) == [{"y": 20, "count": 3}]


def test_a_change_that_comes_while_the_run_below_is_on_its_way_is_not_lost(built: Daemon) -> None:
    """The lost update: the request for the old change is out, and the input changes before that run has started."""
    built.land(10)
    while DOUBLED not in built.tick():
        built.launch()
    built.sensors = False  # the conditions alone: reconciliation would find it too
    built.land(20)
    built.build_now(LANDING)  # published between the request and its run, seen on the tick of both
    built.launch()
    built.settle()
    assert built.rows(DOUBLED) == [{"y": 40}]
    assert built.rows(REPORT) == [{"y": 40, "count": 1}]


def test_a_change_between_a_run_and_the_tick_that_sees_it_is_not_lost(built: Daemon) -> None:
    """The lost update as Dagster's own `since_last_handled` has it: first what is below, then its input, then the tick."""
    built.land(10)
    while DOUBLED not in built.tick():
        built.launch()
    built.sensors = False
    built.launch()
    built.land(30)
    built.build_now(LANDING)
    built.settle()
    assert built.rows(DOUBLED) == [{"y": 60}]
    assert built.rows(REPORT) == [{"y": 60, "count": 1}]
    assert built.commits(DOUBLED) == 3


def test_a_commit_from_outside_is_reported_and_followed(built: Daemon) -> None:
    built.put(DOUBLED, pl.DataFrame({"y": [100, 200]}))
    built.settle()
    assert built.shown(DOUBLED) == built.standing(DOUBLED)
    assert built.rows(REPORT) == [{"y": 300, "count": 2}]
    assert built.rows(DOUBLED) == [{"y": 100}, {"y": 200}]


def test_a_revert_is_followed_and_stays(built: Daemon) -> None:
    built.land(1, 2, 4)
    built.settle()
    (bad, *_) = built.lake.log("main", path=DOUBLED)
    built.lake.revert(bad.id)
    built.settle()
    assert sorted(int(str(row["y"])) for row in built.rows(DOUBLED)) == [2, 4, 6]
    assert built.rows(REPORT) == [{"y": 12, "count": 3}]
    assert built.shown(DOUBLED) == built.standing(DOUBLED)


def test_a_deleted_database_is_told_again_and_nothing_is_built(
    once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(copied(once, tmp_path), home="another") as daemon:
        assert daemon.shown(REPORT) is None
        assert daemon.settle() == []
        assert {path: daemon.commits(path) for path in EVERY} == dict.fromkeys(EVERY, 1)
        assert {path: daemon.shown(path) for path in EVERY} == {path: daemon.standing(path) for path in EVERY}
        daemon.land(7)
        daemon.settle()
        assert daemon.rows(REPORT) == [{"y": 14, "count": 1}]


def test_verdicts_told_while_a_run_begins_are_told_again(built: Daemon) -> None:
    """They count as the newest, and as those on something older than what the run then makes: nothing below was started any more."""
    built.land(10)
    while DOUBLED not in built.tick():
        built.launch()
    for name in built.verdicts(DOUBLED):
        told = dg.AssetCheckEvaluation(asset_key=dg.AssetKey(DOUBLED.split("/")), check_name=name, passed=True)
        built.instance.report_runless_asset_event(told)
    built.launch()
    assert not built.judged(DOUBLED)
    built.settle()
    assert built.judged(DOUBLED) == {"inputs_are_usable", "declared_inputs_were_read", "no_negative"}
    known = built.verdicts(DOUBLED)
    built.settle()
    assert built.verdicts(DOUBLED) == known, "and not again and again"
    assert built.rows(REPORT) == [{"y": 20, "count": 1}]


def test_a_refusal_is_not_told_away(built: Daemon) -> None:
    """What stands passed its checks; what was refused did not, and that is what people look for."""
    built.land(-1, 2, 3)
    built.settle()
    assert "no_negative" not in built.judged(DOUBLED)


def test_requests_that_were_lost_are_found_again(built: Daemon) -> None:
    built.land(9)
    while DOUBLED not in built.tick():
        built.launch()
    for run in built.instance.get_runs(limit=1):
        built.instance.delete_run(run.run_id)  # the queue forgot it
    built.settle()
    assert built.rows(REPORT) == [{"y": 18, "count": 1}]


def test_a_run_that_was_cancelled_is_started_again_but_not_for_ever(built: Daemon) -> None:
    built.land(9)
    cancelled = built.settle(ticks=60, cancel=DOUBLED)
    assert 2 <= cancelled.count(DOUBLED) <= 5
    assert built.rows(REPORT) == [{"y": 12, "count": 3}]
    built.land(11)
    built.settle()
    assert built.rows(REPORT) == [{"y": 22, "count": 1}]


def test_what_was_built_without_dagster_is_told_and_not_built_again(daemon: Daemon) -> None:
    daemon.land(4)
    for path in EVERY:
        daemon.build_without_dagster(path)
    daemon.settle()
    assert {path: daemon.commits(path) for path in EVERY} == dict.fromkeys(EVERY, 1)
    assert {path: daemon.shown(path) for path in EVERY} == {path: daemon.standing(path) for path in EVERY}
