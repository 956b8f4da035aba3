"""A process that is killed at any instant leaves main as before or as after, and the next one finishes the work."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from headwater.lake._steps import Step
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.names import MAIN, TRANSACTION_KEY
from tests.lakefs.processes import build, change, change_and_die, found, run_killed, start, versions

BEFORE = (Step.OPENED, Step.PREPARED, Step.WRITTEN, Step.STAGED, Step.SYNCED, Step.MERGED)
AFTER = (Step.COMMITTED, Step.CLOSED)


def published(lake: LakeFSLake, id: str) -> int:
    return sum(commit.metadata.get(TRANSACTION_KEY) == id for commit in lake.log(MAIN))


def check_clean(lake: LakeFSLake) -> None:
    """In order, and with nothing left once the dead process's branch is swept."""
    assert lake.verify().findings == ()
    lake.gc(grace=timedelta(0))
    assert [ref.name for ref in lake.branches()] == [MAIN]
    assert lake.gc(grace=timedelta(0)).objects == 0


@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_a_kill_at_a_step_leaves_before_or_after_and_the_retry_finishes(
    settings: LakeFSSettings, tmp_path: Path, step: Step
) -> None:
    lake = found(settings, tmp_path)
    before = versions(lake)
    run_killed(change_and_die, settings, tmp_path, step, False)
    assert (versions(lake) == before) == (step in BEFORE)
    done = change(lake, tmp_path)
    assert (done.changed, done.replayed) == ((True, False) if step in BEFORE else (False, True))
    assert published(lake, "tx-next") == 1
    assert lake.at(MAIN).entry("shop/appended").rows == 5
    check_clean(lake)


@pytest.mark.parametrize("step", [Step.STAGED, Step.OBJECTS_LINKED, Step.COMMITTED])
def test_a_kill_while_appends_are_replayed_leaves_before_or_after(
    settings: LakeFSSettings, tmp_path: Path, step: Step
) -> None:
    lake = found(settings, tmp_path)
    run_killed(change_and_die, settings, tmp_path, step, True)
    assert lake.at(MAIN).entry("shop/appended").rows == (7 if step in AFTER else 5)
    assert change(lake, tmp_path).replayed == (step in AFTER)
    assert (published(lake, "tx-next"), published(lake, "tx-other")) == (1, 1)
    assert lake.at(MAIN).entry("shop/appended").rows == 7
    check_clean(lake)


@pytest.mark.heavy
def test_kills_at_random_instants_change_nothing_in_the_end(settings: LakeFSSettings, tmp_path: Path) -> None:
    _kill_at_random(settings, tmp_path, kills=50, rounds=8, seed=20260722)


def test_a_few_kills_at_random_instants_change_nothing_in_the_end(settings: LakeFSSettings, tmp_path: Path) -> None:
    _kill_at_random(settings, tmp_path, kills=3, rounds=3, seed=7)


def _kill_at_random(settings: LakeFSSettings, scratch: Path, *, kills: int, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    lake = found(settings, scratch)
    for _ in range(kills):
        process = start(build, settings, scratch, rounds)
        process.join(chance.uniform(0.3, 2.0))
        process.kill()
        process.join()
        assert lake.verify().findings == ()
    build(settings, scratch, rounds)
    for id in ("tx-next", *(f"tx-{number}" for number in range(rounds))):
        assert published(lake, id) == 1
    assert sorted(lake.at(MAIN).table("shop/appended").collect()["id"]) == [
        *range(1, 6),
        *range(100, 100 + rounds),
    ]
    check_clean(lake)
