"""What a service follows: releases that come and go, beside other services and without the lake."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.lake import EmbeddedLake, Lake
from headwater.lake.errors import LakeUnavailableError
from serving.deployment import DeploymentCache
from serving.errors import ProductNotServedError
from serving.live import LiveProducts
from serving.policies import AllAtOnce, Canary
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


@pytest.fixture
def small(released: Released) -> Iterator[Path]:
    """The service's cache on a file system of its own."""
    folder = released.folder / "service"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs rights that this user lacks")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


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
