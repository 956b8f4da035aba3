"""Rounds of `headwater stream` over a small product: what fails on the way, another branch, and features of another shape."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from headwater.cli import cli
from headwater.cli._stream import AnotherBranchError
from headwater.features import FeatureTable, FeatureView, StreamedView
from headwater.features.online import Lookup, Refreshed, prepare, refresh_online
from headwater.features.online._content import write_content
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.product import Product
from headwater.streams import FileLog, StreamSource
from headwater.streams.errors import StreamStateError
from headwater.testing.online_suite import VIEW, at, hour, rows
from serving.deployment import DeploymentCache
from serving.live import LiveProducts
from tests.serving.conftest import Released

AFTER = timedelta(minutes=1)
"""Events are in the log by then, and rows known."""
EVENTS = StreamSource(
    path="toy/events",
    columns={"who": pl.String, "number": pl.Int64, "at": pl.Datetime("us", "UTC"), "value": pl.Int64},
    event_time="at",
    id=("number",),
    arrives_within=AFTER,
)
WIDER = replace(VIEW, features=("value", "double"))
REPLACED = replace(VIEW, features=("double",))


def observed(events: pl.LazyFrame) -> pl.LazyFrame:
    """A row for each event, and twice its value."""
    found = events.select("who", pl.col("at").alias("event_time"), (pl.col("at") + AFTER).alias("known_at"), "value")
    return found.with_columns((pl.col("value") * 2).alias("double"))


def doubled(events: pl.LazyFrame) -> pl.LazyFrame:
    """The same without the value."""
    return observed(events).drop("value")


def declared(
    view: FeatureView, compute: Callable[[pl.LazyFrame], pl.LazyFrame] = observed, source: StreamSource = EVENTS
) -> Product:
    streamed = StreamedView(
        view=view.name,
        events=EVENTS.path,
        lookback=timedelta(hours=1),
        compute=compute,
        inclusive=True,
        known_after=AFTER,
    )
    return Product(
        name="toy", question="?", owners=("team:x",), features=(view,), events=(source,), streams=(streamed,)
    )


class World(Released):
    """A lake, a log and a store of a state folder, and the product that the command finds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.log = FileLog(folder / "streams" / EVENTS.path)
        self.number = 0
        self.declared = declared(VIEW)
        monkeypatch.setattr("assets._products.product", lambda name: self.declared)

    def happen(self, *events: tuple[float, int]) -> None:
        """When and which value, of ann; in the log as soon as it happens."""
        for when, value in events:
            self.number += 1
            body = {"who": "ann", "number": self.number, "at": hour(when).isoformat(), "value": value}
            self.log.append([json.dumps(body).encode()], partition=0, at=hour(when))

    def features(self, *views: FeatureView) -> None:
        """Built and published in the lake, up to hour 1."""
        source = self.folder / f"features-{time.monotonic_ns()}"
        source.mkdir()
        frame = rows(("ann", 1, 1, 1)).with_columns((pl.col("value") * 2).alias("double"))
        write_content(prepare([(FeatureTable(view=view, rows=frame), "d") for view in views], since=hour(0)), source)
        path = "toy/online_features"
        self.publish(path, lambda tx: tx.write_folder(path, source).data_version, {})

    def service(self) -> LiveProducts:
        cache = DeploymentCache(self.folder / "cache")
        return LiveProducts(open_lake=lambda: self.lake, cache=cache, store=self.store)

    @property
    def store(self) -> EmbeddedOnlineStore:
        return EmbeddedOnlineStore(self.folder / "serving" / "online" / "2")

    def answer(self, name: str, when: float) -> tuple[Any, ...]:
        return self.store.lookup(name, [Lookup("history", ("ann",), at(when))])[1][0].values

    def stream(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["stream", words[0], "toy", *words[1:]])

    def count(self) -> int:
        """Events in the lake."""
        snapshot = self.lake.at("main")
        return snapshot.table(EVENTS.path).collect().height if snapshot.has(EVENTS.path) else 0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("HEADWATER_LAKE", "HEADWATER_REDIS", "HEADWATER_KAFKA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    return World(tmp_path, monkeypatch)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a command has said so far; the signals that it heeds are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    said: list[str] = []
    echo = click.echo
    monkeypatch.setattr("headwater.cli._stream.click.echo", lambda line: (said.append(line), echo(line)))
    yield said
    for number, handler in before.items():
        signal.signal(number, handler)


def meanwhile(*steps: tuple[Callable[[], bool], Callable[[], object]], end: int = signal.SIGTERM) -> threading.Thread:
    """Does a thing as soon as another is so, one after the other; then sends this process a signal, whatever became of it."""

    def work() -> None:
        deadline = time.monotonic() + 120
        for is_so, act in steps:
            while not is_so() and time.monotonic() < deadline:
                time.sleep(0.05)
            act()
        os.kill(os.getpid(), end)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_who_follows_tells_what_fails_and_goes_on_with_the_next_round(world: World, lines: list[str]) -> None:
    """The first error of a log or a store ended it, and before the first build it did not even ingest."""
    description, online = world.folder / "streams" / EVENTS.path / "log.json", world.folder / "serving" / "online"
    text = description.read_text()

    def block() -> None:
        online.parent.mkdir(exist_ok=True)
        online.write_text("in the way")
        world.features(VIEW)

    def unblock() -> None:
        online.unlink()
        description.write_text("{")

    def mend() -> None:
        description.write_text(text)
        world.happen((5, 5))

    world.happen((0, 9), (2, 2), (3, 3), (4, 4))
    operator = meanwhile(
        (lambda: any("4 events, nothing is online yet" in line for line in lines), block),
        (lambda: any("failed: online features: " in line for line in lines), unblock),
        (lambda: any("rows added" in line for line in lines), lambda: None),
        (lambda: any(f"failed: {EVENTS.path}: The event log at" in line for line in lines), mend),
        (lambda: any("1 events, rows added" in line for line in lines), lambda: None),
    )
    done = world.stream("follow", "--every", "1")
    operator.join()
    assert done.exit_code == 0, done.output
    assert world.count() == 5
    assert any("1 events, rows added" in line for line in lines)


def test_the_refresh_is_told_when_the_logs_were_read_if_they_were_to_their_end(
    world: World, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    description = world.folder / "streams" / EVENTS.path / "log.json"
    text, told, begun = description.read_text(), list[datetime | None](), datetime.now(UTC)

    def spy(*values: Any, **named: Any) -> Refreshed:
        told.append(named["read"])
        return refresh_online(*values, **named)

    monkeypatch.setattr("headwater.features.online.refresh_online", spy, raising=False)
    world.happen((0, 9), (2, 2), (3, 3))
    world.features(VIEW)
    operator = meanwhile(
        (lambda: len(told) > 0, lambda: description.write_text("{")),
        (lambda: told[-1] is None, lambda: description.write_text(text)),
        (lambda: told[-1] is not None, lambda: None),
    )
    assert world.stream("follow", "--every", "1").exit_code == 0
    operator.join()
    moments = [moment for moment in told if moment is not None]
    assert None in told
    minute = timedelta(minutes=1)  # clocks differ, and an event is stamped before anybody can read it
    assert begun - minute < moments[0] < moments[-1] < datetime.now(UTC) - minute
    assert world.stream("refresh").exit_code == 0
    assert told[-1] is None, "nobody read the logs for it"


def test_a_quiet_stream_is_carried_on_by_the_clock_while_somebody_follows(world: World, lines: list[str]) -> None:
    """Its last rows waited for the next event, which moves the watermark."""
    world.happen((0, 9), (2, 2), (3, 3))
    world.features(VIEW)
    operator = meanwhile((lambda: any("rows added" in line for line in lines), lambda: None))
    assert world.stream("follow", "--every", "1").exit_code == 0
    operator.join()
    name = json.loads(world.stream("refresh", "--json").stdout)["name"]
    assert world.answer(name, 3.5) == (3,)


def test_ctrl_c_ends_who_follows_between_two_rounds(world: World, lines: list[str]) -> None:
    operator = meanwhile((lambda: bool(lines), lambda: None), end=signal.SIGINT)
    assert world.stream("follow", "--every", "3600").exit_code == 0
    operator.join()


def test_a_declaration_that_no_longer_fits_ends_who_follows(world: World, lines: list[str]) -> None:
    world.happen((0, 9))
    world.stream("ingest")
    world.declared = declared(VIEW, source=replace(EVENTS, id=("who", "number")))
    assert isinstance(world.stream("follow", "--every", "1").exception, StreamStateError)


def test_a_branch_writes_nothing_that_main_answers_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh on a branch put that branch's features, which nobody had seen, under the name of main's."""
    world.happen((0, 9), (2, 2), (3, 3))
    world.features(VIEW)
    assert world.stream("ingest").exit_code == 0
    name = json.loads(world.stream("refresh", "--json").stdout)["name"]
    world.lake.create_branch("dev")
    world.happen((4, 999), (5, 5))
    monkeypatch.setenv("HEADWATER_BRANCH", "dev")
    assert world.stream("ingest").exit_code == 0
    for words in (["refresh"], ["follow", "--every", "1"]):
        refused = world.stream(*words)
        assert isinstance(refused.exception, AnotherBranchError)
        assert "this is branch 'dev'" in str(refused.exception)
    assert world.answer(name, 4.5) == (2,)


def test_the_live_version_gets_its_features_also_when_newer_ones_have_another_shape(world: World) -> None:
    """Until a version of the new shape was released, the live one got nothing more, and each round said that rows were added."""
    world.model("1.0.0", slope=1)
    world.features(VIEW)
    world.release("all-at-once", "1.0.0")
    live = world.service()
    assert live.refresh() == ("toy",)
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    assert json.loads(world.stream("refresh", "--json").stdout)["older"] == {}
    assert world.answer(name := live.engine("toy").online_name, 3.5) == (2,)
    world.declared = declared(REPLACED)
    world.features(REPLACED)
    live.refresh()
    assert (live.troubles, live.engine("toy").online_name) == ((), name)
    world.happen((4, 4), (5, 5))
    world.stream("ingest")
    done = world.stream("refresh", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert list(said["older"]) == [live.engine("toy").online_name] != [said["name"]]
    assert world.answer(live.engine("toy").online_name, 5.5) == (4,)
    assert world.answer(said["name"], 5.5) == (8,)
    assert "history (older, toy." in world.stream("refresh").output


def test_a_gained_column_leaves_one_publication_to_carry_on(world: World) -> None:
    """Versions of before and after it are answered from the newest features."""
    world.model("1.0.0", slope=1)
    world.features(VIEW)
    world.release("all-at-once", "1.0.0")
    live = world.service()
    live.refresh()
    world.declared = declared(WIDER)
    world.features(WIDER)
    assert live.refresh() == ("toy",)
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    said = json.loads(world.stream("refresh", "--json").stdout)
    assert (said["older"], said["name"]) == ({}, live.engine("toy").online_name)
    assert world.answer(said["name"], 3.5) == (2, 4)


def test_features_that_no_service_was_there_for_are_carried_on_once_it_comes(world: World) -> None:
    """A service that began after the change found nothing that it could serve, and streams nothing to carry on."""
    world.model("1.0.0", slope=1)
    world.features(VIEW)
    world.release("all-at-once", "1.0.0")
    world.declared = declared(REPLACED)
    world.features(REPLACED)
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    assert json.loads(world.stream("refresh", "--json").stdout)["older"] == {}
    live = world.service()
    assert live.refresh() == ("toy",)
    assert world.stream("refresh").exit_code == 0
    assert world.answer(live.engine("toy").online_name, 3.5) == (2,)


@pytest.mark.parametrize(
    ("product", "said"),
    [
        (declared(REPLACED, doubled), "value"),
        (declared(replace(WIDER, prefix="g_")), "Its prefix is 'g_'"),
        (declared(replace(WIDER, name="other", path="toy/other")), "no stream makes the table toy/history any more"),
    ],
    ids=["without a column", "under other names", "another table"],
)
def test_what_no_stream_carries_on_any_more_is_named(world: World, product: Product, said: str) -> None:
    world.model("1.0.0", slope=1)
    world.features(VIEW)
    world.release("all-at-once", "1.0.0")
    live = world.service()
    live.refresh()
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    world.stream("refresh")
    world.declared = product
    world.features(product.features[0])
    world.happen((4, 4), (5, 5))
    world.stream("ingest")
    done = world.stream("refresh")
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("Not carried on: ")]
    assert live.engine("toy").online_name in line
    assert said in line


def test_a_view_that_was_given_another_name_is_carried_on_under_the_old_one_too(world: World) -> None:
    world.model("1.0.0", slope=1)
    world.features(VIEW)
    world.release("all-at-once", "1.0.0")
    live = world.service()
    live.refresh()
    world.declared = declared(replace(VIEW, name="past"))
    world.features(replace(VIEW, name="past"))
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    assert world.stream("refresh").exit_code == 0
    assert world.answer(live.engine("toy").online_name, 3.5) == (2,)


def test_one_view_of_another_shape_keeps_no_other_from_going_on(world: World) -> None:
    """Its error ended the round for all views of the publication."""
    other = replace(VIEW, name="other", path="toy/other", prefix="o_")
    (streamed,) = world.declared.streams
    world.declared = replace(
        world.declared, features=(VIEW, other), streams=(streamed, replace(streamed, view="other"))
    )
    world.features(VIEW, other)
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    world.declared = replace(
        world.declared, streams=(replace(streamed, compute=doubled), replace(streamed, view="other"))
    )
    done = world.stream("refresh")
    assert done.exit_code == 1, done.output
    assert "Not carried on: view 'history'" in done.output
    assert "other: 1 rows" in done.output


def test_a_declared_view_that_is_not_built_yet_is_named_and_the_others_go_on(world: World) -> None:
    world.features(VIEW)
    world.happen((0, 9), (2, 2), (3, 3))
    world.stream("ingest")
    other = replace(VIEW, name="other", path="toy/other", prefix="o_")
    (streamed,) = world.declared.streams
    world.declared = replace(
        world.declared, features=(VIEW, other), streams=(streamed, replace(streamed, view="other"))
    )
    done = world.stream("refresh")
    assert done.exit_code == 1
    assert "Not carried on: view 'other': it is not among the published features; build toy" in done.output
    assert "history: 1 rows" in done.output
