"""A process that is killed at any instant leaves main as before or as after, and the next one finishes the work."""

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from headwater.lake import EmbeddedLake
from headwater.lake._steps import Step
from headwater.names import MAIN
from tests.lake.processes import (
    APPENDED,
    append,
    build,
    change,
    change_and_die,
    collect_and_die,
    found,
    open_and_die,
    refuse_and_die,
    replay_and_die,
    run_killed,
    start,
    versions,
)

OPENING = (Step.FOUNDED,)
COLLECTING = (Step.FORGOTTEN, Step.UNSHELVED)
PUBLISHING = tuple(step for step in Step if step not in OPENING + COLLECTING)
REPLAYING = PUBLISHING[PUBLISHING.index(Step.STAGED) :]
SEEN = {Step.COMMITTED, Step.MOVED, Step.VIEWED, Step.CLOSED}
"""The steps after which a publication is there for good."""


def _check_clean(lake: EmbeddedLake) -> None:
    result = lake.verify(deep=True)
    assert result.findings == ()
    assert list((lake.location / "tx").iterdir()) == []


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """Data versions of a run that nobody killed: before the change, after it, and the same with another's append."""

    before: dict[str, str]
    after: dict[str, str]
    appended: dict[str, str]
    replayed: dict[str, str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    plain, shared = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("shared")
    one, two = found(plain / "lake"), found(shared / "lake")
    before = versions(one)
    append(two, id="tx-other")
    appended = versions(two)
    change(one, plain)
    change(two, shared)
    return Undisturbed(before=before, after=versions(one), appended=appended, replayed=versions(two))


@pytest.mark.parametrize("step", PUBLISHING)
def test_a_kill_at_a_step_of_a_publication_leaves_before_or_after(
    tmp_path: Path, step: Step, undisturbed: Undisturbed
) -> None:
    found(tmp_path / "lake")
    run_killed(change_and_die, tmp_path / "lake", step)
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert versions(lake) == (undisturbed.after if step in SEEN else undisturbed.before)
    _check_clean(lake)
    assert change(lake, tmp_path).replayed == (step in SEEN)
    assert versions(lake) == undisturbed.after
    _check_clean(lake)


@pytest.mark.parametrize("step", REPLAYING)
def test_a_kill_at_a_step_of_a_replay_leaves_before_or_after(
    tmp_path: Path, step: Step, undisturbed: Undisturbed
) -> None:
    found(tmp_path / "lake")
    run_killed(replay_and_die, tmp_path / "lake", step)
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert versions(lake) == (undisturbed.replayed if step in SEEN else undisturbed.appended)
    change(lake, tmp_path)
    assert versions(lake) == undisturbed.replayed
    _check_clean(lake)


@pytest.mark.parametrize("step", [Step.STAGED, Step.SYNCED, Step.OBJECTS_LINKED, Step.CATALOGUED, Step.COMMITTED])
def test_a_kill_while_refusing_never_touches_main(tmp_path: Path, step: Step) -> None:
    before = versions(found(tmp_path / "lake"))
    run_killed(refuse_and_die, tmp_path / "lake", step)
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert versions(lake) == before
    assert (len(lake.branches()) == 2) == (step is Step.COMMITTED)
    _check_clean(lake)


@pytest.mark.parametrize("step", OPENING)
def test_a_kill_while_a_lake_is_founded_leaves_what_the_next_opening_completes(tmp_path: Path, step: Step) -> None:
    run_killed(open_and_die, tmp_path / "lake", step)
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert lake.at(MAIN).paths() == ()
    change(lake, tmp_path)
    _check_clean(lake)


@pytest.mark.parametrize("step", COLLECTING)
def test_a_kill_while_collecting_loses_nothing_that_is_kept(tmp_path: Path, step: Step) -> None:
    found(tmp_path / "lake")
    change(EmbeddedLake.open(tmp_path / "lake"), tmp_path)
    run_killed(collect_and_die, tmp_path / "lake", step)
    lake = EmbeddedLake.open(tmp_path / "lake")
    _check_clean(lake)
    assert lake.at(MAIN).table(APPENDED).collect().height == 5


def _kill_at_random(tmp_path: Path, *, kills: int, seed: int) -> None:
    """A build killed at random instants, verified after each kill, ends as an undisturbed one."""
    count = 4
    build(tmp_path / "undisturbed" / "lake", count)
    wanted = versions(EmbeddedLake.open(tmp_path / "undisturbed" / "lake"))
    chance, done = random.Random(seed), 0
    while done < kills:
        location = tmp_path / "disturbed" / "lake"
        shutil.rmtree(location.parent, ignore_errors=True)
        for _ in range(5):
            process = start(build, location, count)
            time.sleep(chance.uniform(0.01, 0.6))
            process.kill()
            process.join()
            killed = process.exitcode != 0
            done += killed
            if (location / "format").exists():
                result = EmbeddedLake.open(location).verify(deep=True)
                assert result.findings == ()
            if not killed or done >= kills:
                break
        build(location, count)
        lake = EmbeddedLake.open(location)
        assert versions(lake) == wanted
        assert len([commit for commit in lake.log() if commit.parents]) == count
        _check_clean(lake)


def test_a_build_killed_at_random_instants_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    _kill_at_random(tmp_path, kills=5, seed=time.time_ns())


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_builds_killed_at_hundreds_of_random_instants_end_as_undisturbed_ones(tmp_path: Path, seed: int) -> None:
    _kill_at_random(tmp_path, kills=50, seed=seed)
