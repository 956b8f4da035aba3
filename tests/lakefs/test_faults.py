"""A server that is down, slow, refusing or losing answers: a clear error, nothing lost, nothing published twice."""

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Lock
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import WriteMode
from headwater.lake.errors import LakeUnavailableError, UnsafeStoreError
from headwater.lake.lakefs import LakeFSLake, ServerAnswerError
from headwater.names import MAIN, TRANSACTION_KEY
from headwater.testing.lakefs_double import Drop, Fault, LakeFSDouble

TABLE, FOLDER = "shop/orders", "shop/model"
ROWS = pl.DataFrame({"id": [1, 2, 3]})
MORE = pl.DataFrame({"id": [4]})
ID = "tx-once"

COMMIT = "/branches/headwater-tx-[^/]+/commits$"
MERGE = "/refs/[^/]+/merge/main$"
BRANCH = "/branches$"
DATA = r"shop/orders/part-.*\.parquet"
LOG = "_delta_log/0.*json"
MANIFEST = "_headwater/shop"
DROPPED = "/branches/headwater-tx-"


def publish(lake: LakeFSLake, folder: Path, *, id: str = ID) -> bool:
    """One transaction that writes a table and a folder."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "weights").write_bytes(b"w" * 1000)
    with lake.transaction(id=id) as tx:
        tx.write_table(TABLE, ROWS)
        tx.write_folder(FOLDER, source)
        return tx.publish(message="Write", provenance=None).changed


def published(lake: LakeFSLake, id: str = ID) -> int:
    """How many commits of main the transaction made."""
    return sum(commit.metadata.get(TRANSACTION_KEY) == id for commit in lake.log(MAIN))


def check_published_once(lake: LakeFSLake) -> None:
    assert published(lake) == 1
    assert_frame_equal(lake.at(MAIN).table(TABLE).collect(), ROWS)
    assert (lake.at(MAIN).folder(FOLDER) / "weights").read_bytes() == b"w" * 1000
    assert lake.verify().findings == ()


def impatient(lake: LakeFSLake, **more: float) -> LakeFSLake:
    """Another handle that gives up soon."""
    settings = replace(lake.settings, **{"connect_timeout": 0.5, "read_timeout": 0.4, "backoff": 0.01, **more})  # type: ignore[arg-type]
    return LakeFSLake.open(settings)


class LateMerge:
    """The first merge that is asked for: the server does it when the test says so, whoever still waits for the answer."""

    def __init__(self, double: LakeFSDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answer, self._first, self._go = double.answer, Lock(), Event()
        self._status: Future[int] = Future()
        monkeypatch.setattr(double, "answer", self._hold)

    def _hold(self, request: Any) -> Any:
        if not re.search(MERGE, request.target) or not self._first.acquire(blocking=False):
            return self._answer(request)
        self._go.wait(60)
        answer = self._answer(request)
        self._status.set_result(answer.status)
        return answer

    def lands(self) -> int:
        """Lets the server do it; the status of what it says."""
        self._go.set()
        return self._status.result(60)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", COMMIT, 429), ("POST", COMMIT, 500), ("POST", MERGE, 429), ("POST", MERGE, 500), ("POST", BRANCH, 503),
     ("GET", "/commits/", 429), ("PUT", MANIFEST, 500), ("GET", "objects/ls", 503), ("PUT", DATA, 500),
     ("PUT", LOG, 503)],
)  # fmt: skip
def test_a_passing_refusal_is_tried_again(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, method: str, path: str, status: int
) -> None:
    double.faults.add(Fault(method=method, path=path, status=status, times=2))
    assert publish(faulty, tmp_path)
    assert double.faults.hits == 2
    double.faults.clear()
    check_published_once(faulty)


@pytest.mark.parametrize("drop", [Drop.BEFORE, Drop.AFTER])
@pytest.mark.parametrize(("method", "path"), [("POST", COMMIT), ("POST", MERGE), ("POST", BRANCH), ("PUT", MANIFEST),
    ("PUT", DATA), ("DELETE", DROPPED), ("PUT", "_headwater_transactions")])  # fmt: skip
def test_a_lost_answer_publishes_once(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, method: str, path: str, drop: Drop
) -> None:
    double.faults.add(Fault(method=method, path=path, drop=drop))
    assert publish(faulty, tmp_path)
    assert double.faults.hits == 1
    double.faults.clear()
    check_published_once(faulty)
    assert not publish(faulty, tmp_path)
    assert published(faulty) == 1


@pytest.mark.parametrize(("method", "path"), [("POST", COMMIT), ("POST", MERGE)])
def test_every_answer_lost_is_an_error_and_the_next_run_finishes(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, method: str, path: str
) -> None:
    double.faults.add(Fault(method=method, path=path, drop=Drop.BEFORE, times=99))
    with pytest.raises(LakeUnavailableError, match="run again; a retry never publishes twice"):
        publish(faulty, tmp_path)
    assert not faulty.at(MAIN).has(TABLE)
    double.faults.clear()
    assert publish(faulty, tmp_path)
    check_published_once(faulty)


def test_a_merge_that_lands_late_does_not_land_twice(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server still works on a merge that the client gave up on: the second try must not double it."""
    late = LateMerge(double, monkeypatch)
    assert publish(impatient(faulty, read_timeout=3), tmp_path)
    assert late.lands() == 409
    check_published_once(faulty)


def test_a_late_merge_after_the_client_died_is_found_by_the_next_run(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = LateMerge(double, monkeypatch)
    with pytest.raises(LakeUnavailableError, match=r"merge into main.*Read timed out"):
        publish(impatient(faulty, read_timeout=3, tries=1), tmp_path)
    assert late.lands() == 200
    assert not publish(faulty, tmp_path)
    check_published_once(faulty)


@pytest.mark.parametrize("times", [1, 99])
def test_a_conflict_out_of_nowhere_is_judged_again(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, times: int
) -> None:
    double.faults.add(Fault(method="POST", path=MERGE, status=409, times=times))
    if times == 1:
        assert publish(faulty, tmp_path)
        check_published_once(faulty)
        return
    with pytest.raises(LakeUnavailableError, match="moved under each of 4 tries"):
        publish(faulty, tmp_path)
    assert published(faulty) == 0


def test_a_hook_that_refuses_is_named_and_nothing_is_published(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path
) -> None:
    double.faults.add(Fault(method="POST", path=MERGE, status=412, times=9))
    with pytest.raises(ServerAnswerError, match=r"412 fault injected.*hook"):
        publish(faulty, tmp_path)
    assert double.faults.hits == 1
    assert published(faulty) == 0
    assert not any(name.startswith("headwater-tx-") for name in double.store.repository("faulty").branches)


def test_a_server_that_is_down_is_an_error_that_says_so(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path
) -> None:
    lake = impatient(faulty, read_timeout=3)
    double.stop()
    for use in (lambda: lake.at(MAIN), lambda: publish(lake, tmp_path), lambda: LakeFSLake.open(lake.settings)):
        with pytest.raises(LakeUnavailableError, match=f"The lake at {double.endpoint}/faulty could not .*Connection"):
            use()
    double.start()
    assert publish(lake, tmp_path)
    check_published_once(faulty)


@pytest.mark.parametrize("write", [True, False], ids=["write", "read"])
def test_a_gateway_that_goes_away_under_a_table_is_told_from_damage(
    faulty: LakeFSLake, double: LakeFSDouble, tmp_path: Path, write: bool
) -> None:
    publish(faulty, tmp_path)
    lake = impatient(faulty)
    snapshot = lake.at(MAIN)
    snapshot.entry(TABLE)
    double.faults.add(Fault(path="_delta_log", status=503, times=999))
    with lake.transaction() as tx:
        use = partial(tx.write_table, TABLE, MORE, mode=WriteMode.APPEND) if write else partial(snapshot.delta, TABLE)
        with pytest.raises(LakeUnavailableError, match=TABLE):
            use()


def test_a_slow_server_is_waited_for_and_given_up(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    lake = impatient(faulty)
    double.faults.add(Fault(path="/commits/main", delay=0.8))
    assert lake.resolve(MAIN) == faulty.resolve(MAIN)
    double.faults.clear()
    double.faults.add(Fault(path="/commits/main", delay=0.8, times=99))
    with pytest.raises(LakeUnavailableError, match=r"Read timed out.*tries: 4"):
        lake.resolve(MAIN)


@pytest.mark.parametrize(("method", "path"), [("GET", "/commits/main"), ("PUT", "_headwater_probe")])
def test_a_server_that_asks_for_time_gets_it(faulty: LakeFSLake, double: LakeFSDouble, method: str, path: str) -> None:
    double.faults.add(Fault(method=method, path=path, status=429, retry_after=1))
    started = time.monotonic()
    (faulty.probe if method == "PUT" else lambda: faulty.resolve(MAIN))()  # type: ignore[operator]
    assert time.monotonic() - started >= 1
    assert double.faults.hits == 1


def test_a_call_is_given_up_at_its_deadline_however_many_tries_are_left(
    faulty: LakeFSLake, double: LakeFSDouble
) -> None:
    lake = impatient(faulty, tries=12, deadline=0.5)
    double.faults.add(Fault(path="/commits/main", status=503, times=9999))
    started = time.monotonic()
    with pytest.raises(LakeUnavailableError, match="503 fault injected"):
        lake.resolve(MAIN)
    assert time.monotonic() - started >= 0.5
    assert double.faults.hits <= 8  # the pauses, doubled each time, are longer than that together
    double.faults.clear()
    double.faults.add(Fault(path="/commits/main", status=429, retry_after=30, times=9999))
    with pytest.raises(LakeUnavailableError, match=r"429.*tries: 1"):
        lake.resolve(MAIN)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_without_rights_is_told_so_at_once(faulty: LakeFSLake, double: LakeFSDouble, status: int) -> None:
    double.faults.add(Fault(path="/repositories/", status=status, times=99))
    with pytest.raises(ServerAnswerError, match=rf"{status}.*[Cc]heck the (access )?key"):
        LakeFSLake.open(faulty.settings)
    assert double.faults.hits == 1


def test_an_unsafe_store_is_refused(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    double.faults.add(Fault(method="PUT", path="_headwater_probe", unconditional=True, times=99))
    with pytest.raises(UnsafeStoreError, match="If-None-Match"):
        LakeFSLake.open(faulty.settings)
    with pytest.raises(UnsafeStoreError):
        faulty.probe()


def test_a_probe_survives_a_lost_answer(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    double.faults.add(Fault(method="PUT", path="_headwater_probe", drop=Drop.AFTER))
    faulty.probe()


def test_wrong_credentials_are_named_without_the_secret(faulty: LakeFSLake) -> None:
    settings = replace(faulty.settings, secret_key="not-the-secret")
    with pytest.raises(ServerAnswerError, match=r"401.*access key") as caught:
        LakeFSLake.open(settings)
    assert "not-the-secret" not in f"{caught.value} {settings!r} {faulty.describe()}"


def test_two_runs_of_one_transaction_publish_once(faulty: LakeFSLake, tmp_path: Path) -> None:
    barrier = Barrier(2)

    def run(number: int) -> tuple[bool, bool]:
        lake = LakeFSLake.open(faulty.settings)
        with lake.transaction(id=ID) as tx:
            tx.write_table(TABLE, ROWS if number else ROWS.reverse())
            barrier.wait()
            done = tx.publish(message="Write", provenance=None)
        return done.changed, done.replayed

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(run, range(2)))
    assert outcomes == [(False, True), (True, False)]
    assert published(faulty) == 1


def test_appends_of_many_writers_at_once_are_all_kept(faulty: LakeFSLake) -> None:
    with faulty.transaction() as tx:
        tx.write_table(TABLE, ROWS)
        tx.publish(message="Write", provenance=None)
    settings = replace(faulty.settings, tries=12)

    def append(number: int) -> bool:
        lake = LakeFSLake.open(settings)
        with lake.transaction() as tx:
            tx.write_table(TABLE, pl.DataFrame({"id": [number]}), mode=WriteMode.APPEND)
            return tx.publish(message="Append", provenance=None).changed

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(append, range(10, 16)))
    assert sorted(faulty.at(MAIN).table(TABLE).collect()["id"]) == [1, 2, 3, *range(10, 16)]
    assert faulty.verify().clean


def _calls(double: LakeFSDouble, work: Callable[[], object]) -> int:
    double.forget()
    work()
    return len(double.served)


def test_a_publication_costs_a_bounded_number_of_calls(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    def append() -> None:
        with faulty.transaction() as tx:
            tx.write_table(TABLE, MORE, mode=WriteMode.APPEND)
            tx.publish(message="Append", provenance=None)

    append()
    assert _calls(double, append) <= 30
    for _ in range(25):
        append()
    assert _calls(double, append) <= 60  # a checkpoint every ten versions bounds what the Delta log costs
    assert faulty.at(MAIN).entry(TABLE).rows == 28
    assert faulty.verify().clean


def test_rules_of_two_protectors_are_both_kept(faulty: LakeFSLake, double: LakeFSDouble) -> None:
    names = [f"dev-{number}" for number in range(4)]
    for name in names:
        faulty.create_branch(name)
    double.faults.add(Fault(method="PUT", path="branch_protection", delay=0.2, times=2))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(faulty.protect, names))
    assert all(ref.protected for ref in faulty.branches())
    double.faults.add(Fault(method="PUT", path="branch_protection", drop=Drop.AFTER))
    faulty.protect(names[0], on=False)
    assert [ref.name for ref in faulty.branches() if not ref.protected] == names[:1]
