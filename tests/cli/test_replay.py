"""`headwater replay` before anything is played: what it refuses, and what it would do."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner
from rich.console import Console

from assets.flights.product import PRODUCT
from headwater.cli import _replay, _replay_run
from headwater.cli._replay import _day, _pace, _tell_plan, replay, summary_line
from headwater.cli._replay_landed import CutLandedError, NothingToPlayError, next_day, refuse_cuts, require_something
from headwater.cli._replay_play import begun
from headwater.errors import HeadwaterError
from headwater.replay import ReplayDay, ReplayError, ReplayEvent, ReplayProgress, ReplayRequest, write_progress
from tests.release_scene import Scene

JULY = date(2013, 7, 1)


class Past:
    """Ten days from the first of July 2013 on: a request a day, and the month's file with a row more each day."""

    def days(self, first: date, last: date) -> Iterator[ReplayDay]:
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
            number = (day - JULY).days + 1
            is_known = 1 <= number <= 10
            request = ReplayRequest(id=str(day), at=begin, entity={})
            yield ReplayDay(
                day=day,
                begin=begin,
                end=begin + timedelta(days=1),
                requests=(request,) if is_known else (),
                files={("flights", "2013-07"): pl.DataFrame({"flight": ["1"] * number})} if is_known else {},
            )

    def events(self, start: datetime, end: datetime) -> Mapping[str, Sequence[ReplayEvent]]:
        return {}


def landed(landing: Path, rows: int) -> Path:
    file = landing / "flights" / "flights" / "2013-07.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("flight\n" + "1\n" * rows)
    return file


def run(monkeypatch: pytest.MonkeyPatch, state: Path, *words: str) -> tuple[int, str]:
    monkeypatch.setenv("HEADWATER_STATE", str(state))
    done = CliRunner().invoke(replay, list(words))
    said = str(done.exception) if isinstance(done.exception, HeadwaterError) else done.output
    return done.exit_code, said


@pytest.mark.parametrize(
    "words",
    [
        ("--from", "2013-W27", "--to", "2013-08"), ("--from", "20130701", "--to", "2013-08"),
        ("--from", "July", "--to", "2013-08"), ("--from", "2013-07", "--to", "2013-13-01"),
        ("--from", "+013-07", "--to", "2013-07"), ("--from", "2013-07", "--to", "2013 -7"),
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", *words)
    assert code == 2
    assert "neither a day" in said


def test_an_end_before_the_begin_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", "--from", "2013-08", "--to", "2013-07")
    assert code == 2
    assert "is before" in said


def test_without_a_lake_it_says_to_build_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, said = run(monkeypatch, tmp_path, "flights", "--from", "2013-07", "--to", "2013-07")
    assert code != 0
    assert "make run" in said


def test_another_begin_than_the_one_half_played_is_refused(tmp_path: Path) -> None:
    half = ReplayProgress(
        product="flights", first=JULY, last=date(2013, 7, 9), commit="c", version="1.0.0", days={"2013-07-01": {}}
    )
    write_progress(half, tmp_path)
    with pytest.raises(ReplayError, match="--from 2013-07-01, or begin anew with --restart"):
        begun(None, None, None, tmp_path, date(2013, 8, 1), date(2013, 8, 9), restart=False)  # type: ignore[arg-type]
    longer = begun(None, None, None, tmp_path, date(2013, 7, 1), date(2013, 7, 31), restart=False)  # type: ignore[arg-type]
    assert longer.last == date(2013, 7, 31)


def test_a_shorter_replay_of_days_that_were_played_further_is_told_to_its_last_day(tmp_path: Path) -> None:
    """15 days were played, then `--to` the third: the story of 15 days was titled as one of three."""
    days: dict[str, dict[str, str]] = {f"2013-07-{day:02}": {} for day in range(1, 16)}
    half = ReplayProgress(product="flights", first=JULY, last=date(2013, 7, 31), commit="c", version="1.0.0", days=days)
    write_progress(half, tmp_path)
    for last, told in ((3, 15), (15, 15), (20, 20)):
        found = begun(None, None, None, tmp_path, JULY, date(2013, 7, last), restart=False)  # type: ignore[arg-type]
        assert found.last == date(2013, 7, told)


def test_a_replay_that_waited_for_another_one_goes_on_where_that_one_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It went on where the other one stood when it began to wait: days were asked twice, and landed files were cut."""
    Scene(tmp_path).version("1.0.0")
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    product, folder, played = replace(PRODUCT, streams=(), events=()), tmp_path / "replay" / "flights", list[str]()

    @contextmanager
    def service(settings: Any, name: str) -> Iterator[None]:
        yield

    @contextmanager
    def waited(state: Path) -> Iterator[None]:
        days: dict[str, dict[str, str]] = {f"2013-07-{day:02}": {} for day in range(1, 4)}
        write_progress(
            ReplayProgress(
                product="flights", first=JULY, last=date(2013, 7, 3), commit="c", version="1.0.0", days=days, play=1
            ),
            folder,
        )
        yield

    def played_day(
        product: Any, lake: Any, settings: Any, service: Any, source: Any, day: ReplayDay, build: Any
    ) -> dict[str, Any]:
        played.append(day.requests[0].id)
        return {
            "asked": 1,
            "day": str(day.day),
            "p50_ms": 1.0,
            "live": "1.0.0",
            "decision": "",
            "seconds": 1.0,
            "refused": [],
        }

    monkeypatch.setattr(_replay_run, "service_of", service)
    monkeypatch.setattr("resources.lock.only_one_build", waited)
    monkeypatch.setattr(_replay_run, "_play_day", played_day)
    monkeypatch.setattr("headwater.cli._replay_story.tell", lambda *_: ("page", "story"))
    monkeypatch.setattr("headwater.cli._replay_story.catch_up", lambda *_: None)
    done = _replay_run.play(
        product, Past(), JULY, date(2013, 7, 5), restart=False, every_table=False, by_sensors=False, pace=repeat(None),
        out=Console(), quiet=True,
    )  # fmt: skip
    assert played == ["replay-1/2013-07-04", "replay-1/2013-07-05"]
    assert done["days"] == 5


def test_a_month_is_its_first_and_its_last_day() -> None:
    assert (_day("2013-02", "--from", is_last=False), _day("2013-02", "--to", is_last=True)) == (
        date(2013, 2, 1),
        date(2013, 2, 28),
    )


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2012, 1, 1), date(2012, 2, 29)), (date(13, 7, 1), date(2013, 7, 5)), (date(9999, 12, 1), date.max),
        (JULY, date(2013, 12, 31)), (JULY, date.max),
    ],
)  # fmt: skip
def test_a_time_of_which_nothing_is_known_is_not_played(first: date, last: date) -> None:
    """A year in which nothing flew was 60 days of nothing; the year 13 was counted for minutes, the year 9999 an error of the product's file."""
    with pytest.raises(NothingToPlayError, match="neither a request nor a file from"):
        require_something("flights", Past(), first, last)


def test_quiet_days_at_the_ends_are_played() -> None:
    require_something("flights", Past(), JULY - timedelta(days=20), JULY + timedelta(days=30))


def test_what_has_landed_is_not_replaced_by_the_part_of_it_that_a_day_knows(tmp_path: Path) -> None:
    """March stood with 28,834 flights; after one played day it had 883, and nobody had said a word."""
    file = landed(tmp_path, 31)
    fresh = ReplayProgress(product="flights", first=JULY, last=date(2013, 7, 10), commit="c", version="1.0.0")
    (day,) = Past().days(JULY, JULY)
    with pytest.raises(CutLandedError, match=r"flights/flights/2013-07.csv \(32 lines\) by 2 lines"):
        refuse_cuts(PRODUCT, tmp_path, day, fresh)
    restarted = ReplayProgress(**{**vars(fresh), "lands_over": True})
    refuse_cuts(PRODUCT, tmp_path, day, restarted)
    file.unlink()
    refuse_cuts(PRODUCT, tmp_path, day, fresh)


def test_a_replay_goes_on_over_the_files_that_it_landed_itself(tmp_path: Path) -> None:
    landed(tmp_path, 9)
    days = {"2013-07-01": {"landed": ["flights/flights/2013-07.csv"]}}
    half = ReplayProgress(product="flights", first=JULY, last=date(2013, 7, 9), commit="c", version="1.0.0", days=days)
    assert next_day(half) == date(2013, 7, 2)
    (day,) = Past().days(next_day(half), next_day(half))
    refuse_cuts(PRODUCT, tmp_path, day, half)


def test_the_plan_says_which_day_would_be_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    landed(tmp_path / "landing", 3)
    with pytest.raises(click.exceptions.Exit) as ended:
        _tell_plan(PRODUCT, Past(), JULY, date(2013, 7, 4), restart=False, as_json=True)
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    plan = json.loads(said.out)
    assert (plan["requests"], len(plan["days"])) == (4, 4)
    assert "2013-07-01 would replace flights/flights/2013-07.csv" in plan["problem"]
    assert plan["problem"] in said.err
    _tell_plan(PRODUCT, Past(), JULY, date(2013, 7, 4), restart=True, as_json=False)
    assert "4 days, 4 requests. Nothing was played now." in capsys.readouterr().out


def test_the_plan_of_a_half_played_time_is_of_the_days_that_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After two months of six it promised all six again."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    days: dict[str, dict[str, Any]] = {"2013-07-01": {"landed": ["flights/flights/2013-07.csv"]}}
    half = ReplayProgress(product="flights", first=JULY, last=date(2013, 7, 9), commit="c", version="1.0.0", days=days)
    write_progress(half, tmp_path / "replay" / "flights")
    _tell_plan(PRODUCT, Past(), JULY, date(2013, 7, 4), restart=False, as_json=True)
    plan = json.loads(capsys.readouterr().out)
    assert [day["day"] for day in plan["days"]] == ["2013-07-02", "2013-07-03", "2013-07-04"]
    assert (plan["requests"], plan["played_before"], plan["problem"]) == (3, 1, "")
    _tell_plan(PRODUCT, Past(), JULY, date(2013, 7, 4), restart=False, as_json=False)
    assert "3 days, 3 requests; 1 days were played before. Nothing was played now." in capsys.readouterr().out
    _tell_plan(PRODUCT, Past(), JULY, date(2013, 7, 4), restart=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["requests"] == 4


def test_the_plan_refuses_another_begin_than_the_one_half_played(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It said 0 for a time that the replay itself refuses."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    days: dict[str, dict[str, Any]] = {"2013-07-01": {}}
    half = ReplayProgress(product="flights", first=JULY, last=date(2013, 7, 9), commit="c", version="1.0.0", days=days)
    write_progress(half, tmp_path / "replay" / "flights")
    with pytest.raises(ReplayError, match="--from 2013-07-01, or begin anew with --restart"):
        _tell_plan(PRODUCT, Past(), date(2013, 7, 2), date(2013, 7, 4), restart=False, as_json=True)


@pytest.mark.parametrize(("speed", "slept"), [(6.0, [7.0, 0.0]), (None, [])])
def test_days_are_played_no_faster_than_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, speed: float | None, slept: list[float]
) -> None:
    """Six days a minute: a day of three seconds is waited for, one of twelve is not."""
    now, waited = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(_replay, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    pace = _pace(speed)
    next(pace)
    for taken in (3.0, 12.0):
        now[0] += taken
        next(pace)
    assert waited == slept


def test_the_speed_that_is_asked_for_is_the_one_that_is_played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, played = list[float | None](), list[Any]()

    def pace_of(speed: float | None) -> str:
        asked.append(speed)
        return "a pace"

    def play(*words: Any, pace: Any, **more: Any) -> dict[str, Any]:
        played.append(pace)
        return {}

    monkeypatch.setattr(_replay, "_source", lambda product: Past())
    monkeypatch.setattr(_replay, "_pace", pace_of)
    monkeypatch.setattr(_replay_run, "play", play)
    for words in (("--speed", "6"), ()):
        assert run(monkeypatch, tmp_path, "flights", "--from", "2013-07", "--to", "2013-07", *words) == (0, "")
    assert (asked, played) == ([6.0, None], ["a pace"] * 2)
    code, said = run(monkeypatch, tmp_path, "flights", "--from", "2013-07", "--to", "2013-07", "--speed", "0")
    assert (code, "--speed" in said) == (2, True)


def test_the_line_of_a_day_says_what_was_asked_what_is_live_and_what_was_decided() -> None:
    told: dict[str, Any] = {
        "day": "2013-08-05", "asked": 1000, "p50_ms": 6.34, "live": "1.0.1", "auc": 0.66789, "auc_week": "2013-07-29",
        "rollout": "1.0.2: 25%", "decision": "hold: Nothing speaks for it.", "seconds": 40.6, "refused": [],
    }  # fmt: skip
    assert summary_line(told) == (
        "2013-08-05   1000 asked  p50 6.3 ms  live 1.0.1  AUC 0.668 (week of 2013-07-29)  rollout 1.0.2: 25%  "
        "hold: Nothing speaks for it.  41 s"
    )
    quiet = {**told, "asked": 0, "auc": None, "rollout": "", "refused": ["flights/model: a gate failed", "another"]}
    assert summary_line(quiet).splitlines() == [
        "2013-08-05      0 asked  live 1.0.1  hold: Nothing speaks for it.  41 s",
        "            refused  flights/model: a gate failed",
        "            refused  another",
    ]
