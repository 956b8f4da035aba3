"""Requests that wait for each other, on a disk that is slow or full: real engines and logs, in the test's own loop."""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headwater.features.online._memory_store import MemoryOnlineStore
from serving.engine import Answer, Engine
from serving.http._desk import Desk, Limits
from serving.http._memory import Memory
from serving.http._metrics import Metrics
from serving.http._wire import Problem
from serving.prediction_log import (
    LogError,
    LogFullError,
    LogWriter,
    PredictionRecord,
    decode_record,
    read_frames,
    segments,
)
from tests.serving.conftest import OTHER, PRODUCT, Released
from tests.serving.engine.test_engine import asked, engine_of


class Gated(LogWriter):
    """A log whose disk waits for the test."""

    def __init__(self, folder: Path, gate: threading.Event) -> None:
        super().__init__(folder)
        self.gate = gate
        self.fault: BaseException | None = None

    def append(self, records: Any) -> None:
        self.gate.wait(20)
        if self.fault is not None:
            raise self.fault
        super().append(records)


@dataclass
class Scene:
    """A desk with its engine and log."""

    engine: Engine
    store: MemoryOnlineStore
    folder: Path
    gate: threading.Event = field(default_factory=threading.Event)
    settled: list[Any] = field(default_factory=list)

    def desk(self, **limits: Any) -> Desk:
        self.gate.set()
        self.log = Gated(self.folder / "log", self.gate)
        metrics = Metrics(CollectorRegistry())
        return Desk(open_log=lambda product: self.log, limits=Limits(**limits), metrics=metrics)

    async def ask(self, desk: Desk, name: str, deadline: float | None = None) -> list[Answer]:
        return await desk.ask(
            self.engine, [asked(self.engine, id=name)], deadline, lambda found: self.settled.append((name, bool(found)))
        )

    def logged(self) -> list[str]:
        return [name for frame in self.frames() for name in frame]

    def frames(self) -> list[list[str]]:
        """Names of the requests that one sync made durable, for each sync."""
        frames = (frame for segment in segments(self.folder / "log") for frame in read_frames(segment))
        return [[decode_record(record).request_id for record in frame.records] for frame in frames]


@pytest.fixture
def scene(released: Released, tmp_path: Path) -> Scene:
    store = MemoryOnlineStore()
    return Scene(engine_of(released, tmp_path, store), store, tmp_path)


def code(error: Any) -> str:
    assert isinstance(error, Problem), error
    return error.code


async def writing(desk: Desk) -> None:
    """Waits until a thread writes."""
    while not desk._in_thread:
        await asyncio.sleep(0.001)


def play(scene: Scene, story: Callable[[Desk], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def told() -> None:
        desk = scene.desk(**limits)
        try:
            await story(desk)
        finally:
            scene.gate.set()
            await asyncio.sleep(0)
            desk.close()

    asyncio.run(asyncio.wait_for(told(), 30))


def test_a_deadline_holds_for_who_comes_while_the_disk_is_busy(scene: Scene) -> None:
    """The only timer rang at the first deadline of those who were being written."""

    async def story(desk: Desk) -> None:
        scene.gate.clear()
        first = asyncio.create_task(scene.ask(desk, "first", 20))
        await writing(desk)
        (late,) = await asyncio.gather(scene.ask(desk, "late", 0.5), return_exceptions=True)
        assert code(late) == "deadline"
        assert not first.done()
        scene.gate.set()
        assert [answer.id for answer in await first] == ["first"]

    play(scene, story)
    assert scene.logged() == ["first"]
    assert sorted(scene.settled) == [("first", True), ("late", False)]


def test_what_is_written_after_its_deadline_is_told_to_who_asks_again(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        scene.gate.clear()
        (late,) = await asyncio.gather(scene.ask(desk, "late", 0.5), return_exceptions=True)
        assert code(late) == "deadline"
        assert scene.settled == []  # nobody knows yet
        scene.gate.set()
        while not scene.settled:
            await asyncio.sleep(0.01)

    play(scene, story)
    assert (scene.settled, scene.logged()) == ([("late", True)], ["late"])


def test_timers_do_not_pile_up_on_a_slow_disk(scene: Scene) -> None:
    """Every slow turn once left a timer that set itself again."""

    async def story(desk: Desk) -> None:
        loop = asyncio.get_running_loop()
        for number in range(10):
            scene.gate.clear()
            some = [asyncio.create_task(scene.ask(desk, f"{number}.{k}", 0.01 if k else 5)) for k in range(3)]
            await asyncio.sleep(0.03)
            scene.gate.set()
            await asyncio.gather(*some, return_exceptions=True)
        assert sum(not handle.cancelled() for handle in loop._scheduled) <= 2  # type: ignore[attr-defined]

    play(scene, story)


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_fault_of_ours_is_an_answer_and_nobody_waits_for_ever(scene: Scene, is_slow: bool) -> None:
    """An error that nobody had thought of once left every caller of its turn waiting."""

    async def story(desk: Desk) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        desk._is_slow = is_slow
        scene.log.fault = ZeroDivisionError("nobody thought of it")
        many = await asyncio.gather(*(scene.ask(desk, str(n)) for n in range(3)), return_exceptions=True)
        assert [code(one) for one in many] == ["failed"] * 3
        scene.log.fault = None
        assert (await scene.ask(desk, "after"))[0].id == "after"
        assert desk.count == 0

    play(scene, story)


def test_a_fault_that_nobody_foresaw_is_told_to_whose_it_is(
    scene: Scene, beside: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody in the turn got 500, those of other products too."""
    other, answer = engine_of(beside, tmp_path / OTHER, scene.store), scene.engine.answer
    told: list[Any] = []

    def planted(many: Any, *more: Any) -> Any:
        if any(one.id == "poison" for one in many):
            raise ZeroDivisionError("nobody thought of it")
        return answer(many, *more)

    monkeypatch.setattr(scene.engine, "answer", planted)

    async def story(desk: Desk) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        asks = [scene.ask(desk, name) for name in ("before", "poison", "after")]
        asks.append(desk.ask(other, [asked(other, id="other")]))
        before, poison, after, theirs = await asyncio.gather(*asks, return_exceptions=True)
        assert [answer[0].id for answer in (before, after, theirs)] == ["before", "after", "other"]  # type: ignore[index]
        assert code(poison) == "failed"

    play(scene, story)
    assert sorted(scene.logged()) == ["after", "before", "other"]
    assert sorted(scene.settled) == [("after", True), ("before", True), ("poison", False)]
    assert [type(error) for error in told] == [ZeroDivisionError]


@pytest.mark.parametrize("is_slow", [True, False])
def test_an_answer_that_cannot_be_handed_out_is_one_callers_alone(scene: Scene, is_slow: bool) -> None:
    """What of the turn came behind it was durable and told to nobody."""

    def settled(found: Any) -> None:
        raise ZeroDivisionError("nobody thought of it")

    async def story(desk: Desk) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        desk._is_slow = is_slow
        odd = desk.ask(scene.engine, [asked(scene.engine, id="odd")], None, settled)
        found, after = await asyncio.gather(odd, scene.ask(desk, "after"), return_exceptions=True)
        assert code(found) == "failed"
        assert [answer.id for answer in after] == ["after"]  # type: ignore[union-attr]

    play(scene, story)


def test_who_comes_in_the_next_round_of_the_loop_shares_the_sync(scene: Scene) -> None:
    """A turn that began with the first who came made everybody behind wait for a sync of one record."""

    async def story(desk: Desk) -> None:
        await scene.ask(desk, "before")  # the first sync of all is in a thread
        asks = []
        for number in range(3):
            asks.append(asyncio.create_task(scene.ask(desk, f"round {number}")))
            await asyncio.sleep(0)
        await asyncio.gather(*asks)

    play(scene, story)
    assert scene.frames() == [["before"], ["round 0", "round 1", "round 2"]]


def test_a_turn_begins_however_many_go_on_coming(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        await scene.ask(desk, "before")
        desk._is_slow = False
        first = asyncio.create_task(scene.ask(desk, "first"))
        asks = []
        while not first.done():
            asks.append(asyncio.create_task(scene.ask(desk, f"{len(asks)}")))
            await asyncio.sleep(0)
            assert len(asks) < 50
        await asyncio.gather(*asks)

    play(scene, story)
    assert sum(map(len, scene.frames())) == len(set(scene.logged())) > 2


def test_the_loop_makes_and_ends_no_segment_however_many_are_filled(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen megabytes of zeros, and their sync, in the midst of everybody's requests."""
    log = LogWriter(tmp_path / "log", segment_bytes=8_000)
    made, synced = Counter[str](), Counter[str]()
    plain_open, plain_truncate, plain_sync = os.open, os.ftruncate, os.fdatasync

    def open_(path: Any, flags: int, *more: Any, **other: Any) -> int:
        if str(path).endswith(".part"):
            made[threading.current_thread().name] += 1
        return plain_open(path, flags, *more, **other)

    def truncate(file: int, size: int) -> None:
        made[threading.current_thread().name] += 1
        plain_truncate(file, size)

    def sync(file: int) -> None:
        synced[threading.current_thread().name] += 1
        plain_sync(file)

    async def story() -> None:
        for name, spy in (("open", open_), ("ftruncate", truncate), ("fdatasync", sync)):
            monkeypatch.setattr(os, name, spy)
        desk = Desk(open_log=lambda product: log, limits=Limits(), metrics=Metrics(CollectorRegistry()))
        try:
            for number in range(200):
                await scene.ask(desk, str(number))
                desk._is_slow = False  # also on a slow disk: what is not for the loop is not by its own size
        finally:
            await asyncio.to_thread(desk.close)

    asyncio.run(asyncio.wait_for(story(), 60))
    assert scene.logged() == [str(number) for number in range(200)]
    assert made.total() > 10
    assert set(made) == {"prediction-log_0", "asyncio_0"}, "the latter at the end"
    assert synced["MainThread"] > 100


def test_a_disk_that_hung_once_holds_the_loop_up_no_second_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After quick syncs the next one was done in the loop again, and again it hung."""
    plain_sync, hangs, threads = os.fdatasync, [False], list[str]()

    def sync(file: int) -> None:
        threads.append(threading.current_thread().name.partition("_")[0])
        if hangs[0]:
            time.sleep(1.2)
        plain_sync(file)

    async def story(desk: Desk) -> None:
        await scene.ask(desk, "first")
        monkeypatch.setattr(os, "fdatasync", sync)
        desk._is_slow = False
        hangs[0] = True
        await scene.ask(desk, "hung")
        hangs[0] = False
        for number in range(5):
            await scene.ask(desk, f"quick {number}")
        hangs[0] = True
        (late,) = await asyncio.gather(scene.ask(desk, "late", 0.2), return_exceptions=True)
        assert code(late) == "deadline", "told at its deadline, while the disk hangs"
        hangs[0] = False

    play(scene, story)
    assert threads == ["MainThread", *["prediction-log"] * 6]


def test_features_that_somebody_withdrew_are_a_503(scene: Scene) -> None:
    """Nothing was published any more, which is not the same error as a store that is away: all waited for ever."""
    scene.store.withdraw("toy")

    async def story(desk: Desk) -> None:
        (found,) = await asyncio.gather(scene.ask(desk, "one"), return_exceptions=True)
        assert (code(found), found.status) == ("online_features_away", 503)  # type: ignore[union-attr]

    play(scene, story)


def test_a_log_that_fails_in_the_thread_answers_nobody_and_goes_on(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        scene.log.fault = LogError(path="log", action="written", reason="Input/output error")
        many = await asyncio.gather(*(scene.ask(desk, str(n)) for n in range(3)), return_exceptions=True)
        assert [code(one) for one in many] == ["log_failed"] * 3
        scene.log.fault = None
        await scene.ask(desk, "after")

    play(scene, story)
    assert scene.logged() == ["after"]


def test_callers_that_go_away_free_their_places_and_what_was_being_written_stays(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        scene.gate.clear()
        written = asyncio.create_task(scene.ask(desk, "written"))
        await writing(desk)
        waiting = asyncio.create_task(scene.ask(desk, "waiting"))
        await asyncio.sleep(0)
        for task in (written, waiting):
            task.cancel()
        await asyncio.gather(written, waiting, return_exceptions=True)
        assert desk.count == 0
        scene.gate.set()
        await scene.ask(desk, "after")

    play(scene, story)
    assert scene.logged() == ["written", "after"]
    assert sorted(scene.settled) == [("after", True), ("waiting", False), ("written", True)]


def test_too_many_are_refused_and_a_request_that_can_never_wait_is_told_so(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        scene.gate.clear()
        first = asyncio.create_task(scene.ask(desk, "first"))
        await writing(desk)
        second = asyncio.create_task(scene.ask(desk, "second"))
        await asyncio.sleep(0)
        (third,) = await asyncio.gather(scene.ask(desk, "third"), return_exceptions=True)
        assert (code(third), third.retry_after) == ("too_many_requests", 1)  # type: ignore[union-attr]
        batch = [asked(scene.engine, id=f"batch#{n}") for n in range(3)]
        (never,) = await asyncio.gather(desk.ask(scene.engine, batch), return_exceptions=True)
        assert (code(never), never.status) == ("too_many_instances", 413)  # type: ignore[union-attr]
        scene.gate.set()
        await asyncio.gather(first, second)

    play(scene, story, waiting=2)


def test_the_memory_is_bounded_and_waits_for_who_is_on_its_way() -> None:
    async def story() -> None:
        memory = Memory(count=2, size=100)
        for name in "abc":
            assert await memory.find(("toy", name), b"1", 1) == b""
            memory.settle(("toy", name), name.encode() * 40)
        assert [await memory.find(("toy", name), b"1", 1) for name in "cb"] == [b"c" * 40, b"b" * 40]
        assert await memory.find(("toy", "a"), b"1", 1) == b""  # the oldest went
        with pytest.raises(Problem, match="not answered in time"):
            await memory.find(("toy", "a"), b"1", 0.01)
        with pytest.raises(Problem, match="another request"):
            await memory.find(("toy", "a"), b"2", 1)
        others = [asyncio.create_task(memory.find(("toy", "a"), b"1", 5)) for _ in range(2)]
        await asyncio.sleep(0)
        memory.settle(("toy", "a"), b"")  # it failed: one of the others asks in its place
        done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [b""]
        memory.settle(("toy", "a"), b"found")
        assert [await task for task in waiting] == [b"found"]

    asyncio.run(story())


def test_who_was_told_that_it_took_too_long_is_forgotten_while_the_disk_hangs(scene: Scene) -> None:
    """They stayed in the queue until the disk came back, however many came after them."""

    async def story(desk: Desk) -> None:
        scene.gate.clear()
        first = asyncio.create_task(scene.ask(desk, "first", 20))
        await writing(desk)
        for number in range(5):
            asks = [scene.ask(desk, f"{number}-{place}", 0.01) for place in range(20)]
            found = await asyncio.gather(*asks, return_exceptions=True)
            assert {code(one) for one in found} == {"deadline"}
        assert (desk.count, len(desk._waiting)) == (1, 0)
        scene.gate.set()
        await first

    play(scene, story)


def test_explanations_are_bounded_for_themselves(scene: Scene) -> None:
    async def story(desk: Desk) -> None:
        def ask(name: str, count: int, *, explain: bool = True) -> Coroutine[Any, Any, list[Answer]]:
            return desk.ask(scene.engine, [asked(scene.engine, id=f"{name}{n}", explain=explain) for n in range(count)])

        (never,) = await asyncio.gather(ask("never", 5), return_exceptions=True)
        assert (code(never), never.status) == ("too_many_explanations", 413)  # type: ignore[union-attr]
        told = await asyncio.gather(ask("a", 3), ask("b", 2), ask("c", 5, explain=False), return_exceptions=True)
        assert isinstance(told[0], list)
        assert isinstance(told[2], list)
        assert code(told[1]) == "too_many_requests"
        assert len(await ask("again", 4)) == 4

    play(scene, story, explained=4)


def test_two_products_of_one_turn_have_each_its_model_its_log_and_its_own_full_disk(
    scene: Scene, beside: Released, tmp_path: Path
) -> None:
    engines = {PRODUCT: scene.engine, OTHER: engine_of(beside, tmp_path / OTHER, scene.store)}
    scene.gate.set()
    logs = {product: Gated(tmp_path / "logs" / product, scene.gate) for product in engines}
    registry = CollectorRegistry()

    def records(product: str) -> list[PredictionRecord]:
        frames = (frame for segment in segments(tmp_path / "logs" / product) for frame in read_frames(segment))
        return [decode_record(record) for frame in frames for record in frame.records]

    async def both(desk: Desk, id: str) -> list[list[Answer] | BaseException]:
        asks = (desk.ask(engine, [asked(engine, id=id)]) for engine in engines.values())
        return await asyncio.gather(*asks, return_exceptions=True)

    async def story() -> None:
        desk = Desk(open_log=logs.__getitem__, limits=Limits(), metrics=Metrics(registry))
        try:
            for id in ("in a thread", "in the loop"):
                ours, theirs = await both(desk, id)
                assert isinstance(ours, list)
                assert isinstance(theirs, list)
                assert ours[0].score != theirs[0].score
                for product, found in ((PRODUCT, ours), (OTHER, theirs)):
                    newest = records(product)[-1]
                    assert (newest.product, newest.request_id, newest.score) == (product, id, found[0].score)
            logs[PRODUCT].fault = LogFullError(path="log")
            full, answered = await both(desk, "full")
            assert code(full) == "log_full"
            assert isinstance(answered, list)
            assert [registry.get_sample_value("headwater_log_full", {"product": name}) for name in engines] == [1, None]
        finally:
            desk.close()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert [len(records(product)) for product in engines] == [2, 3]
