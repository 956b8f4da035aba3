"""What a service follows: releases that come and go, beside other services and without the lake."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.lake import EmbeddedLake, Lake
from headwater.lake.errors import LakeUnavailableError
from serving.deployment import DeploymentCache
from serving.errors import ProductNotServedError
from serving.live import LiveProducts
from tests.serving.conftest import PRODUCT, Released

Follow = Callable[..., LiveProducts]


@pytest.fixture
def follow(released: Released) -> Follow:
    """Makes services over one lake and one online store; those of one name have one cache."""

    def begin(name: str = "service", *, products: tuple[str, ...] = (), is_lake_away: bool = False) -> LiveProducts:
        def open_lake() -> Lake:
            if is_lake_away:
                raise LakeUnavailableError(location="lake", action="opened", reason="its disk is not mounted")
            return EmbeddedLake.open(released.folder / "lake")

        return LiveProducts(
            open_lake=open_lake,
            cache=DeploymentCache(released.folder / name),
            store=EmbeddedOnlineStore(released.folder / "online"),
            products=products,
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
