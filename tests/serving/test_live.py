"""What a service follows: releases that come and go, beside other services and without the lake."""

import importlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView, OnDemandFeatures
from headwater.features.online import Lookup, OnlineStore, rows_from
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.lake import Commit, EmbeddedLake, Lake, Retention
from headwater.lake.errors import CollectedCommitError, LakeUnavailableError
from headwater.registry import model_version
from headwater.testing.online_suite import VIEW, at, hour, rows
from serving.deployment import DeploymentCache, read_deployment
from serving.engine import Answer, Asked
from serving.errors import ProductNotServedError
from serving.live import LiveProducts
from serving.policies import AllAtOnce, Canary, Policy, Shadow
from serving.prediction_log import PredictionRecord, decode_record
from tests.redis_server import RedisServer
from tests.serving.conftest import OTHER, PRODUCT, REPLACED, WIDER, Released
from tests.small_disk import small_disk

Follow = Callable[..., LiveProducts]


@pytest.fixture
def embedded(released: Released) -> OnlineStore:
    return EmbeddedOnlineStore(released.folder / "online")


@pytest.fixture
def redis() -> Iterator[OnlineStore]:
    with RedisServer() as server:
        store = RedisOnlineStore(server.url, timeout=20, lookup_timeout=20)
        yield store
        store.close()


@pytest.fixture
def follow(released: Released, embedded: OnlineStore) -> Follow:
    """Makes services over one lake and one online store; those of one name have one cache."""

    def begin(
        name: str = "service",
        *,
        products: tuple[str, ...] = (),
        is_lake_away: bool = False,
        store: OnlineStore = embedded,
        lake: Lake = released.lake,
        branch: str = "main",
    ) -> LiveProducts:
        def open_lake() -> Lake:
            if is_lake_away:
                raise LakeUnavailableError(location="lake", action="opened", reason="its disk is not mounted")
            return lake

        return LiveProducts(
            open_lake=open_lake,
            cache=DeploymentCache(released.folder / name),
            store=store,
            products=products,
            branch=branch,
        )

    return begin


def test_a_trouble_ends_with_the_release_that_made_it(tmp_path: Path) -> None:
    """It was told for ever, and every look read everything again."""
    made = Released(tmp_path / "other")
    made.model("1.0.0", slope=1)
    live = LiveProducts(
        open_lake=lambda: made.lake,
        cache=DeploymentCache(tmp_path / "cache"),
        store=EmbeddedOnlineStore(tmp_path / "features"),
    )
    commit = made.release("no-such-policy", "1.0.0")
    live.refresh()
    assert [trouble.product for trouble in live.troubles] == [PRODUCT]
    made.lake.revert(commit)
    live.refresh()
    assert live.troubles == ()
    with pytest.raises(ProductNotServedError) as found:
        live.engine(PRODUCT)
    assert not found.value.is_expected


@pytest.mark.parametrize("products", [(), (PRODUCT,)], ids=["whatever is released", "asked for by name"])
def test_a_product_without_a_release_is_refused_by_who_served_it_as_by_who_starts(
    released: Released, follow: Follow, products: tuple[str, ...]
) -> None:
    old = follow(products=products)
    old.refresh()
    assert old.engine(PRODUCT)
    with released.lake.transaction() as tx:
        tx.remove(f"{PRODUCT}/release")
        tx.publish(message="Withdraw", provenance=None)
    for live in (old, follow(products=products)):
        live.refresh()
        assert dict(live.engines) == {}
        assert [trouble.product for trouble in live.troubles] == list(
            products
        )  # who asked for it hears that it is not there
        assert not live.is_ready
    restarted = follow(products=products, is_lake_away=True)
    restarted.refresh()
    assert dict(restarted.engines) == {}, "what was taken last is released no more"
    released.release("all-at-once", "1.1.0")
    old.refresh()
    assert set(old.engine(PRODUCT).models) == {"1.1.0"}
    assert old.troubles == ()


@pytest.fixture
def small(released: Released) -> Iterator[Path]:
    """The service's cache on a file system of its own."""
    with small_disk(released.folder / "service", "4m") as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Takes all room that is left."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(4_096))
        except OSError:
            return filler


def test_a_roll_back_is_followed_while_the_services_own_disk_is_full(
    released: Released, small: Path, follow: Follow
) -> None:
    """Ten looks later the canary still had its share, and ten files more took up room."""
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0")
    live = follow()
    live.refresh()
    filler = fill(small)
    released.release("all-at-once", "1.0.0")
    assert live.refresh() == (PRODUCT,)
    assert live.engine(PRODUCT).deployment.policy == AllAtOnce(live="1.0.0")
    for _ in range(3):
        assert live.refresh() == ()
    (trouble,) = live.troubles
    assert trouble.is_served
    assert "No space left" in trouble.reason
    assert list(small.rglob(".part-*")) == []
    filler.unlink()
    live.refresh()
    assert live.troubles == ()
    restarted = follow(is_lake_away=True)
    restarted.refresh()
    assert restarted.engine(PRODUCT).deployment.policy == AllAtOnce(live="1.0.0")


def test_what_a_killed_service_left_half_written_is_removed_when_nobody_can_be_about_it(
    released: Released, follow: Follow
) -> None:
    product = released.folder / "service" / PRODUCT
    left, written = product / "models" / ".part-left", product / ".part-written"
    for folder in (left, product / "online" / ".part-fresh"):
        folder.mkdir(parents=True)
    written.touch()
    for part in (left, written):
        os.utime(part, (time.time() - 7_200,) * 2)
    follow().refresh()
    assert [part.name for part in product.rglob(".part-*")] == [".part-fresh"]


def online(live: LiveProducts, store: OnlineStore) -> tuple[str, int]:
    """The commit and the only value that the store answers from."""
    version, (row,) = store.lookup(live.engine(PRODUCT).online_name, [Lookup("history", ("ann",), at(2))])
    return version.commit, row.values[0]


@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_who_starts_without_the_lake_leaves_newer_online_features_of_others(
    released: Released, follow: Follow, request: pytest.FixtureRequest, kind: str
) -> None:
    """What it held, of the week before, was published over that of all other services, and stayed until the next release."""
    store = request.getfixturevalue(kind)
    old, new = follow("old", store=store), follow("new", store=store)
    old.refresh()
    released.online(99)
    new.refresh()
    newest = (new.engine(PRODUCT).deployment.commit, 99)
    assert online(new, store) == newest
    again = follow("old", store=store, is_lake_away=True)
    again.refresh()
    again.hold()
    assert again.engine(PRODUCT).deployment.commit != newest[0]
    assert online(again, store) == newest
    store.withdraw(again.engine(PRODUCT).online_name)
    follow("old", store=store, is_lake_away=True).refresh()
    assert online(again, store)[1] == 10, "with nothing there, what is held is better than nothing"


def test_older_online_features_that_somebody_published_are_replaced_and_newer_ones_left(
    released: Released, follow: Follow, embedded: OnlineStore
) -> None:
    """Nobody looked at whose features were there: only whether any were."""
    old = follow("old")
    old.refresh()
    name, before = old.engine(PRODUCT).online_name, old.engine(PRODUCT).deployment
    released.online(99)
    new = follow("new")
    new.refresh()
    content = DeploymentCache(released.folder / "old").online(before)
    assert content is not None
    embedded.publish(name, content, commit=before.commit)  # as one that has not looked for long
    assert new.refresh() == ()
    newest = released.lake.resolve("main").id
    assert online(new, embedded) == (newest, 99)
    embedded.extend(
        name, {"history": rows_from(FeatureTable(view=VIEW, rows=rows(("ann", 1.5, 1.5, 100))), hour(0))}, commit=newest
    )
    assert new.refresh() == ()
    assert online(new, embedded) == (newest, 100), "what a stream added is no difference"
    released.lake.create_branch("late", at=before.commit)
    late = follow("late", branch="late")  # its newest commit is an old one
    assert late.refresh() == (PRODUCT,)
    assert late.refresh() == ()
    assert online(late, embedded) == (newest, 100)


def test_two_lakes_that_share_a_name_do_not_take_turns(
    released: Released, follow: Follow, embedded: OnlineStore, tmp_path: Path
) -> None:
    elsewhere = Released(tmp_path / "elsewhere")
    elsewhere.model("1.0.0", slope=1)
    elsewhere.online(50)
    elsewhere.release("all-at-once", "1.0.0")
    here, there = follow("here"), follow("there", lake=elsewhere.lake)
    here.refresh()
    there.refresh()
    seen = []
    for live in (here, there) * 3:
        live.refresh()
        seen.append(online(live, embedded)[1])
    assert seen == [50] * 6


class Unsteady:
    """A lake that is away while the list has something in it."""

    def __init__(self, lake: Any, away: list[bool]) -> None:
        self._lake, self._away = lake, away

    def resolve(self, ref: str) -> Commit:
        if self._away:
            raise LakeUnavailableError(location="lake", action="read", reason="its disk is gone")
        found: Commit = self._lake.resolve(ref)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)


def test_a_lake_that_comes_back_as_it_was_is_there_again(released: Released, embedded: OnlineStore) -> None:
    """With the commit that was seen before, the look ended before the trouble was taken back."""
    away: list[bool] = []
    lake: Any = Unsteady(released.lake, away)
    cache = DeploymentCache(released.folder / "service")
    live = LiveProducts(open_lake=lambda: lake, cache=cache, store=embedded)
    live.refresh()
    away.append(True)
    live.refresh()
    assert "its disk is gone" in live.lake_trouble
    away.clear()
    live.refresh()
    assert live.lake_trouble == ""


@pytest.mark.parametrize("products", [(), (PRODUCT,)], ids=["whatever is released", "asked for by name"])
def test_another_lake_takes_nothing_out_of_service(
    released: Released, embedded: OnlineStore, tmp_path: Path, products: tuple[str, ...]
) -> None:
    """An empty lake in the place of a disk that was not mounted took the product out of service, and its copies with it."""
    place, cache = released.folder / "lake", DeploymentCache(released.folder / "service")

    def service() -> LiveProducts:
        def open_lake() -> Lake:
            return EmbeddedLake.open(place, create=False)

        return LiveProducts(open_lake=open_lake, cache=cache, store=embedded, products=products)

    service().refresh()
    place.rename(tmp_path / "away")
    live = service()
    live.refresh()
    EmbeddedLake.open(place)
    restarted = service()
    for one in (live, restarted, restarted):
        one.refresh()
        assert (set(one.engine(PRODUCT).models), one.is_ready) == ({"1.0.0"}, True)
        (trouble,) = one.troubles
        assert "it is another one, or older" in trouble.reason
    assert cache.products() == (PRODUCT,)
    shutil.rmtree(place)
    (tmp_path / "away").rename(place)
    released.release("all-at-once", "1.1.0")
    for one in (live, restarted):
        one.refresh()
        assert set(one.engine(PRODUCT).models) == {"1.1.0"}
        assert one.troubles == ()


def answered(live: LiveProducts, version: str = "") -> Answer:
    """What the usual entity is told."""
    engine = live.engine(PRODUCT)
    fields = engine.live.fields.read({"who": "ann", "x": 3, "kind": "a", "order": 5})
    asked = Asked(id="r", fields=fields, at=at(2), received=1, started=time.perf_counter_ns(), version=version)
    (answer,) = engine.answer([asked])
    assert isinstance(answer, Answer), answer
    return answer


def record(answer: Answer) -> PredictionRecord:
    return decode_record(answer.record)


@pytest.mark.parametrize("view", [WIDER, REPLACED], ids=["gained", "replaced"])
@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_a_version_of_before_a_view_changed_is_gone_back_to(
    released: Released, follow: Follow, request: pytest.FixtureRequest, view: FeatureView, kind: str
) -> None:
    """A service went on with the version that was taken back, and one with an empty cache served nothing."""
    store = request.getfixturevalue(kind)
    live = follow(store=store)
    live.refresh()
    first = answered(live)
    released.online(10, view=view)
    released.model("2.0.0", slope=3, views=(view,))
    released.release("all-at-once", "2.0.0")
    assert live.refresh() == (PRODUCT,)
    assert record(answered(live)).features["h_double"] == 20
    released.release("all-at-once", "1.0.0")
    assert live.refresh() == (PRODUCT,)
    fresh = follow("fresh", store=store)
    fresh.refresh()
    restarted = follow("fresh", store=store, is_lake_away=True)
    restarted.refresh()
    for one in (live, fresh, restarted):
        assert (set(one.engine(PRODUCT).models), one.is_ready, one.troubles) == ({"1.0.0"}, True, ())
        assert answered(one).score == first.score
        assert record(answered(one)).features == record(first).features


def test_the_record_names_the_older_features_that_answered(released: Released, follow: Follow) -> None:
    older = released.online(20)
    released.online(30, view=REPLACED)
    live = follow()
    live.refresh()
    deployment = live.engine(PRODUCT).deployment
    assert (deployment.online_commit, deployment.commit) == (older, released.lake.resolve("main").id)
    found = record(answered(live))
    assert (found.online, found.features["h_value"]) == (older, 20)
    assert released.lake.at(older).entry(f"{PRODUCT}/online_features").data_version == deployment.online
    released.online(40, view=REPLACED)
    assert live.refresh() == (), "what answers has not changed"
    released.online(50)
    assert live.refresh() == (PRODUCT,)
    found = record(answered(live))
    assert (found.online, found.features["h_value"]) == (released.lake.resolve("main").id, 50)


def test_older_features_that_a_store_lost_come_back_under_their_own_commit(
    released: Released, follow: Follow, embedded: OnlineStore
) -> None:
    before = read_deployment(released.lake, PRODUCT)
    older = released.online(20)
    released.online(30, view=REPLACED)
    live = follow()
    live.refresh()
    name = live.engine(PRODUCT).online_name
    embedded.withdraw(name)
    live.refresh()
    assert online(live, embedded) == (older, 20)
    cache = DeploymentCache(released.folder / "before")
    cache.take(released.lake, before)
    content = cache.online(before)
    assert content is not None
    embedded.publish(name, content, commit=before.commit)  # as one that has not looked for long
    live.refresh()
    assert online(live, embedded) == (older, 20)


def service(made: Released, name: str) -> LiveProducts:
    """One over a lake of the test's own; those of one name have one cache."""
    cache, store = DeploymentCache(made.folder / name), EmbeddedOnlineStore(made.folder / "features")
    return LiveProducts(open_lake=lambda: made.lake, cache=cache, store=store)


def test_features_that_only_a_release_keeps_are_found(tmp_path: Path) -> None:
    """`gc` takes the commit that wrote them, and keeps those of the releases."""
    made = Released(tmp_path)
    made.model("1.0.0", slope=1)
    wrote = made.online(10)
    other = f"{PRODUCT}/other"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        made.publish(other, lambda tx, source=tmp_path / name: tx.write_folder(other, source).data_version, {})  # type: ignore[misc]
    kept = made.release("all-at-once", "1.0.0")
    made.online(30, view=REPLACED)
    made.lake.revert(made.online(40, view=REPLACED))  # whose tree is kept, and whose features are not
    made.online(50, view=REPLACED)
    made.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    with pytest.raises(CollectedCommitError):
        made.lake.at(wrote)
    live = service(made, "live")
    live.refresh()
    assert live.engine(PRODUCT).deployment.online_commit == kept
    assert record(answered(live)).features["h_value"] == 10


@pytest.mark.parametrize(
    "policy",
    [Shadow(live="1.0.0", shadows=("2.0.0",)), Canary(live="1.0.0", candidate="2.0.0", share=0.5)],
    ids=["shadow", "canary"],
)
def test_versions_of_before_and_after_a_view_gained_a_column_are_served_together(
    released: Released, follow: Follow, policy: Policy
) -> None:
    live = follow()
    live.refresh()
    first = answered(live)
    released.online(10, view=WIDER)
    released.model("2.0.0", slope=3, views=(WIDER,))
    released.release("all-at-once", "2.0.0")
    live.refresh()
    newest = answered(live)
    released.release(policy, "1.0.0")
    assert live.refresh() == (PRODUCT,)
    assert [answered(live, version).score for version in ("1.0.0", "2.0.0")] == [first.score, newest.score]
    if isinstance(policy, Shadow):
        assert record(answered(live)).shadows == {"2.0.0": newest.score}


def test_versions_that_no_features_fit_together_leave_what_was_live_and_are_told(
    released: Released, follow: Follow
) -> None:
    live = follow()
    live.refresh()
    first = answered(live)
    released.online(10, view=REPLACED)
    released.model("2.0.0", slope=3, views=(REPLACED,))
    released.release(Shadow(live="1.0.0", shadows=("2.0.0",)), "1.0.0")
    assert live.refresh() == ()
    (trouble,) = live.troubles
    assert "1.0.0, 2.0.0 look up together" in trouble.reason
    assert "1.0.0: view 'history' gives ('h_double',)" in trouble.reason
    assert f"headwater release promote {PRODUCT} --to VERSION" in trouble.reason
    assert answered(live).score == first.score
    released.release("all-at-once", "2.0.0")
    assert live.refresh() == (PRODUCT,)
    assert live.troubles == ()


@pytest.mark.parametrize(("trained", "now"), [(pl.Boolean, pl.Int8), (pl.Int64, pl.String)])
def test_features_of_another_type_under_the_same_name_are_not_taken(
    tmp_path: Path, trained: type[pl.DataType], now: type[pl.DataType]
) -> None:
    """They fitted by name, and each request whose feature was not null was answered 422."""
    made = Released(tmp_path)
    made.model("1.0.0", slope=1, views=(VIEW,), dtype=trained)
    made.online(1, dtype=now)
    made.release("all-at-once", "1.0.0")
    live = service(made, "live")
    live.refresh()
    (trouble,) = live.troubles
    assert (f"'h_value' of view 'history' is {now()} there" in trouble.reason, live.is_ready) == (True, False)
    made.online(1, dtype=trained)
    live.refresh()
    first = answered(live)
    made.online(1, dtype=now)
    fresh = service(made, "fresh")
    for one in (live, fresh):
        one.refresh()
        assert (one.troubles, answered(one).score) == ((), first.score)
        assert record(answered(one)).features == record(first).features


def withdraw(released: Released) -> None:
    """Takes a product's release out of the lake."""
    with released.lake.transaction() as tx:
        tx.remove(f"{released.product}/release")
        tx.publish(message="Withdraw", provenance=None)


def test_a_product_that_is_withdrawn_leaves_the_others_as_they_were(
    released: Released, beside: Released, follow: Follow
) -> None:
    live = follow()
    assert set(live.refresh()) == {PRODUCT, OTHER}
    before = live.engine(OTHER)
    withdraw(released)
    assert live.refresh() == ()
    assert (dict(live.engines), live.troubles, live.is_ready) == ({OTHER: before}, (), True)
    restarted = follow(is_lake_away=True)
    assert restarted.refresh() == (OTHER,)
    withdraw(beside)
    live.refresh()
    assert (dict(live.engines), live.is_ready) == ({}, False)


def test_a_product_that_follows_another_release_leaves_the_others_as_they_were(
    released: Released, beside: Released, follow: Follow
) -> None:
    live = follow()
    live.refresh()
    before = live.engine(OTHER)
    released.release("all-at-once", "1.1.0")
    assert live.refresh() == (PRODUCT,)
    assert live.engine(OTHER) is before
    assert set(live.engine(PRODUCT).models) == {"1.1.0"}


def test_a_product_that_cannot_be_answered_keeps_a_service_from_being_ready_only_where_it_was_named(
    released: Released, beside: Released, follow: Follow
) -> None:
    """A new product's broken release took a service of all products out of its balancer."""
    beside.release("all-at-once", "9.9.9")
    live, named = follow("fresh"), follow("named", products=(PRODUCT, OTHER))
    for one in (live, named):
        one.refresh()
        assert (set(one.engines), [each.product for each in one.troubles]) == ({PRODUCT}, [OTHER])
    assert (live.is_ready, named.is_ready) == (True, False)
    beside.release("all-at-once", "1.0.0")
    live.refresh()
    assert live.is_ready
    beside.release("all-at-once", "9.9.9")
    live.refresh()
    assert ([one.product for one in live.troubles], live.is_ready) == ([OTHER], True), "what was live goes on"
    restarted = follow("fresh", is_lake_away=True)
    restarted.refresh()
    assert (set(restarted.engines), restarted.is_ready) == ({PRODUCT, OTHER}, True)


def test_without_the_lake_a_product_whose_copy_cannot_be_read_is_told_and_missed_where_it_was_named(
    released: Released, beside: Released, follow: Follow
) -> None:
    follow().refresh()
    (released.folder / "service" / OTHER / "deployment.json").write_text("{")
    restarted, named = follow(is_lake_away=True), follow(is_lake_away=True, products=(PRODUCT, OTHER))
    for one in (restarted, named):
        one.refresh()
        assert (set(one.engines), [each.product for each in one.troubles]) == ({PRODUCT}, [OTHER])
    assert (restarted.is_ready, named.is_ready) == (True, False)


def test_what_one_product_cannot_restore_keeps_no_other_from_its_features(
    released: Released, beside: Released, follow: Follow, embedded: OnlineStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The first error ended the look at all products behind it, for as long as it stayed."""
    away: list[bool] = []
    lake: Any = Unsteady(released.lake, away)
    live = follow(lake=lake)
    live.refresh()
    away.append(True)
    first, second = live.engines.values()
    for engine in (first, second):
        embedded.withdraw(engine.online_name)
    (rows,) = (released.folder / "service" / first.product / "online").rglob("*.parquet")
    whole = rows.read_bytes()
    rows.write_bytes(whole + b" ")
    with caplog.at_level(logging.WARNING, logger="headwater.serving"):
        for _ in range(2):
            live.refresh()
    assert (first.is_published(), second.is_published()) == (False, True)
    told = [record for record in caplog.records if "are away" in record.message]
    assert [vars(record)["product"] for record in told] == [first.product], "once"
    away.clear()
    live.refresh()
    assert (first.is_published(), rows.read_bytes()) == (True, whole), "the lake has what the copy lost"


SOUND = "def thrice(x, value):\n    return (3 * x,)\n"
FAULTS = {
    "KeyError": ("import os\nos.environ['NO_SUCH_SETTING']\n", "whose module raises KeyError: 'NO_SUCH_SETTING'"),
    "NameError": ("thrice = no_such_name\n", "whose module raises NameError"),
    "SyntaxError": ("def thrice(x, value)\n", "whose module raises SyntaxError"),
    "SystemExit": ("raise SystemExit(2)\n", "whose module raises SystemExit: 2"),
    "RecursionError": (SOUND + "thrice.__wrapped__ = thrice\n", "RecursionError: maximum recursion depth exceeded"),
}
"""By what a module of features raises: its code, and what is told. The last one is raised where nobody foresees it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_products_code_that_raises_keeps_no_other_product_from_its_releases(
    released: Released,
    beside: Released,
    follow: Follow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """It ended each look: no trouble was told, no roll-back of a product behind it followed, and a restart served none of them."""
    module, (code, told) = tmp_path / "features_of_other.py", FAULTS[fault]
    module.write_text(SOUND)
    monkeypatch.syspath_prepend(tmp_path)
    thrice = importlib.import_module("features_of_other").thrice
    beside.model(
        "1.1.0",
        slope=3,
        on_demand=[
            OnDemandFeatures(name="thrice", function=thrice, inputs=("x", "h_value"), outputs={"thrice": pl.Int64})
        ],
    )
    module.write_text(code)  # as a later checkout has it
    monkeypatch.delitem(sys.modules, "features_of_other")
    importlib.invalidate_caches()
    live = follow()
    live.refresh()
    beside.release("all-at-once", "1.1.0")
    released.release("all-at-once", "1.1.0")
    with caplog.at_level(logging.ERROR, logger="headwater.serving"):
        assert [live.refresh() for _ in range(2)] == [(PRODUCT,), ()]
    (trouble,) = live.troubles
    assert (trouble.product, trouble.is_served) == (OTHER, False)
    assert told in trouble.reason
    (said,) = (one for one in caplog.records if vars(one)["product"] == OTHER)
    assert (said.exc_info is not None) == (fault == "RecursionError"), "whence, where the reason does not say it"
    released.release("all-at-once", "1.0.0")
    assert live.refresh() == (PRODUCT,)
    served = {product: set(engine.models) for product, engine in live.engines.items()}
    assert (served, live.seen) == ({PRODUCT: {"1.0.0"}, OTHER: {"1.0.0"}}, released.lake.resolve("main").id)
    fresh, named = follow("fresh"), follow("fresh", products=(OTHER, PRODUCT))
    for one in (fresh, named):
        one.refresh()
        assert (set(one.engines), [each.product for each in one.troubles]) == ({PRODUCT}, [OTHER])
    assert (fresh.is_ready, named.is_ready) == (True, False)
    restarted = follow(is_lake_away=True)
    restarted.refresh()
    assert set(restarted.engines) == {PRODUCT, OTHER}


def test_a_lake_that_raises_what_nobody_foresaw_is_a_lake_that_is_away(
    released: Released, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    follow().refresh()

    class Broken:
        def resolve(self, ref: str) -> Commit:
            raise ZeroDivisionError("its driver")

        def __getattr__(self, name: str) -> Any:
            return getattr(released.lake, name)

    lake: Any = Broken()
    live = follow(lake=lake)
    with caplog.at_level(logging.ERROR, logger="headwater.serving"):
        for _ in range(2):
            live.refresh()
    assert (set(live.engines), live.lake_trouble) == ({PRODUCT}, "ZeroDivisionError: its driver")
    assert [one.message for one in caplog.records] == ["the lake cannot be read"], "once"


def test_orders_that_cannot_be_read_are_told_and_keep_no_other_product_from_its_releases(
    released: Released, beside: Released, follow: Follow
) -> None:
    live = follow()
    live.refresh()
    with released.lake.transaction() as tx:
        tx.write_table(f"{OTHER}/release_orders", pl.DataFrame({"order": ["deprecate"]}))
        tx.publish(message="Orders of a future Headwater", provenance=None)
    beside.release("all-at-once", "1.0.0", deprecated=["1.0.0"])
    released.release("all-at-once", "1.1.0")
    assert live.refresh() == (PRODUCT,)
    (trouble,) = live.troubles
    assert (trouble.product, f"'{OTHER}/release_orders' could not be read" in trouble.reason) == (OTHER, True)
    assert set(live.engine(OTHER).models) == {"1.0.0"}


def change(file: Path) -> None:
    """One byte is another one, as of a bad disk."""
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


@pytest.mark.parametrize(
    ("kind", "name"), [("models", "threshold.json"), ("models", "environment.lock"), ("online", "*.parquet")]
)
def test_a_copy_that_something_changed_is_fetched_again_from_the_lake_and_the_damaged_one_is_kept(
    released: Released, follow: Follow, caplog: pytest.LogCaptureFixture, kind: str, name: str
) -> None:
    """One byte, and the product was not served after a restart beside a sound lake, until somebody removed the folder."""
    follow().refresh()
    ours = released.folder / "service" / PRODUCT
    (file,) = (ours / kind).rglob(name)
    whole = file.read_bytes()
    for _ in range(2):
        change(file)
        away = follow(is_lake_away=True)
        away.refresh()
        assert (dict(away.engines), [one.product for one in away.troubles]) == ({}, [PRODUCT])
        restarted = follow()
        with caplog.at_level(logging.WARNING, logger="headwater.serving"):
            assert restarted.refresh() == (PRODUCT,)
        assert (restarted.troubles, restarted.is_ready, file.read_bytes()) == ((), True, whole)
        (kept,) = (one for one in (ours / "damaged").iterdir() if one.is_dir())
        assert (kept.name, (kept / file.name).read_bytes() != whole) == (file.parent.name, True)
        assert str(kept) in [vars(record)["aside"] for record in caplog.records if "put aside" in record.message]
        assert list(ours.rglob(".part-*")) == []


def test_a_copy_that_lost_its_files_is_fetched_again(released: Released, follow: Follow) -> None:
    follow().refresh()
    (folder,) = (released.folder / "service" / PRODUCT / "models").iterdir()
    for file in folder.iterdir():
        file.unlink()
    restarted = follow()
    restarted.refresh()
    assert (set(restarted.engines), restarted.troubles) == ({PRODUCT}, ())


@pytest.mark.parametrize(
    ("name", "said"), [("threshold.json", "as the lake gives it"), ("environment.lock", "was changed")]
)
def test_content_that_is_damaged_in_the_lake_too_is_told_and_not_fetched_at_each_look(
    released: Released, follow: Follow, monkeypatch: pytest.MonkeyPatch, embedded: OnlineStore, name: str, said: str
) -> None:
    follow().refresh()
    commit = model_version(released.lake, f"{PRODUCT}@1.0.0").commit
    (source,) = released.lake.at(commit).folder(f"{PRODUCT}/model").rglob(name)
    whole = source.read_bytes()
    (file,) = (released.folder / "service" / PRODUCT / "models").rglob(name)
    change(source)
    change(file)
    fetched, copytree = [], shutil.copytree

    def counted(*given: Any) -> Any:
        fetched.append(given)
        return copytree(*given)

    monkeypatch.setattr("serving.copies.shutil.copytree", counted)
    cache = DeploymentCache(released.folder / "service", again=5)
    live = LiveProducts(open_lake=lambda: released.lake, cache=cache, store=embedded)
    for _ in range(3):
        live.refresh()
        (trouble,) = live.troubles
        assert (trouble.product, said in trouble.reason) == (PRODUCT, True), trouble.reason
    assert len(fetched) == 1
    source.write_bytes(whole)
    end = time.monotonic() + 30
    while not live.refresh() and time.monotonic() < end:
        time.sleep(0.2)
    assert (set(live.engines), live.troubles, len(fetched)) == ({PRODUCT}, (), 2)
    assert file.read_bytes() == whole
