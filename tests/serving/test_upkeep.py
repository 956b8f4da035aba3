"""Online features of earlier shapes leave the store once no service uses them, and not before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.features.errors import OnlineStoreError
from headwater.features.online import OnlineContent, OnlineStore
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.lake import Lake
from headwater.lake.errors import LakeUnavailableError
from headwater.testing.online_suite import hour, publish, rows, toy
from serving.deployment import DeploymentCache
from serving.live import LiveProducts
from serving.publication import store_name
from serving.upkeep import Upkeep
from tests.redis_server import RedisServer
from tests.serving.conftest import OTHER, PRODUCT, REPLACED, Released
from tests.serving.test_live import answered, record, withdraw

LOOKS = 3


@pytest.fixture(params=["embedded", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    if request.param == "embedded":
        yield (embedded := EmbeddedOnlineStore(tmp_path / "features"))
        embedded.close()
        return
    with RedisServer() as server:
        redis = RedisOnlineStore(server.url, timeout=20, lookup_timeout=20)
        yield redis
        redis.close()


class Service:
    """One that looks after its store with each look at the lake."""

    def __init__(self, made: Released, store: OnlineStore, name: str = "service", branch: str = "main") -> None:
        self.is_lake_away = False

        def open_lake() -> Lake:
            if self.is_lake_away:
                raise LakeUnavailableError(location="lake", action="opened", reason="its disk is not mounted")
            return made.lake

        self.live = LiveProducts(
            open_lake=open_lake,
            cache=DeploymentCache(made.folder / name),
            store=store,
            branch=branch,
            upkeep=Upkeep(store, every=0, looks=LOOKS),
        )

    def look(self, times: int = LOOKS + 2) -> None:
        """So often that what nobody uses is gone."""
        for _ in range(times):
            self.live.refresh()

    def name(self, product: str = PRODUCT) -> str:
        return self.live.engine(product).online_name


def replace_the_view(made: Released) -> None:
    """Publishes features of another shape, and releases a version that reads them."""
    made.online(10, view=REPLACED)
    made.model("2.0.0", slope=3, views=(REPLACED,))
    made.release("all-at-once", "2.0.0")


def test_features_of_an_earlier_shape_go_once_no_roll_back_would_find_them(
    released: Released, store: OnlineStore
) -> None:
    """They stayed for ever, until the store had reached its largest size and no release could be served."""
    service = Service(released, store)
    service.look()
    first = service.name()
    replace_the_view(released)
    service.look()
    second = service.name()
    assert set(store.marks()) == {first, second}, "the deployment before is kept, and gone back to"
    released.online(20, view=REPLACED)
    service.look()
    assert set(store.marks()) == {second}
    assert record(answered(service.live)).features["h_double"] == 40
    released.release("all-at-once", "1.0.0")
    service.look(1)
    assert (service.name(), record(answered(service.live)).features["h_value"]) == (first, 10)


def test_what_another_service_still_uses_stays_until_it_has_ended(released: Released, store: OnlineStore) -> None:
    """One that follows another branch, and one whose lake hangs while it is left behind."""
    released.lake.create_branch("late", at="main")
    late = Service(released, store, "late", branch="late")
    behind, ahead = Service(released, store, "behind"), Service(released, store, "ahead")
    for one in (late, behind, ahead):
        one.look(1)
    first = late.name()
    behind.is_lake_away = True
    replace_the_view(released)
    ahead.look()
    released.online(20, view=REPLACED)
    for _ in range(2 * LOOKS):
        ahead.look(1)
        late.look(1)
    assert first in store.marks()
    for _ in range(2 * LOOKS):
        ahead.look(1)
        behind.live.hold()
    assert first in store.marks()
    assert record(answered(behind.live)).features["h_value"] == 10
    ahead.look()
    assert set(store.marks()) == {ahead.name()}
    late.look(1)  # it stood still for an hour, and goes on
    assert record(answered(late.live)).features["h_value"] == 10


def test_features_of_a_product_that_is_served_no_more_go_and_those_of_nobody_knows_whom_stay(
    released: Released, beside: Released, store: OnlineStore
) -> None:
    service = Service(released, store)
    service.look()
    names = {product: service.name(product) for product in (PRODUCT, OTHER)}
    by_hand = publish(store, PRODUCT, [toy(rows(("ann", 1, 1, 1)))], commit="c", since=hour(0))
    withdraw(beside)
    service.look()
    assert set(store.marks()) == {names[PRODUCT], by_hand.product}
    assert record(answered(service.live)).features["h_value"] == 10


def test_what_a_headwater_without_marks_left_goes_where_its_product_is_known(
    released: Released, store: OnlineStore
) -> None:
    service = Service(released, store)
    service.look(1)
    content = DeploymentCache(released.folder / "service").online(service.live.engine(PRODUCT).deployment)
    assert content is not None
    older, unknown = f"{PRODUCT}.0123456789abcdef", store_name("unknown", content)
    for name in (older, unknown):
        store.publish(name, content, commit="c")
    service.look(LOOKS)
    assert set(store.marks()) == {service.name(), older, unknown}
    service.look(2)
    assert set(store.marks()) == {service.name(), unknown}


class Unsteady(MemoryOnlineStore):
    """A store that is away at times."""

    is_away = False

    def marks(self) -> dict[str, str]:
        if self.is_away:
            raise OnlineStoreError(location="memory", action="read", reason="it is away", remedy="")
        return dict(super().marks())


def test_looks_of_before_an_outage_do_not_count() -> None:
    """Others could not mark anything while it lasted."""
    store = Unsteady()
    content = OnlineContent(since=0, tables=())
    store.publish("toy.0123456789abcdef", content, commit="c")
    store.mark("toy.0123456789abcdef")
    upkeep = Upkeep(store, every=0, looks=2)
    assert [upkeep.look(tuple) for _ in range(2)] == [(), ()]
    store.is_away = True
    assert upkeep.look(tuple) == ()
    store.is_away = False
    assert [upkeep.look(tuple) for _ in range(3)] == [(), (), ("toy.0123456789abcdef",)]


def test_the_store_is_looked_after_now_and_then() -> None:
    """With each look at the lake it would write each second for every name."""
    store = MemoryOnlineStore()
    upkeep = Upkeep(store)
    asked: list[None] = []

    def uses() -> tuple[tuple[str, str], ...]:
        asked.append(None)
        return ()

    for _ in range(3):
        upkeep.look(uses)
    assert len(asked) == 1
