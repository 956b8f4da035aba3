"""What is served comes from the lake, is kept on disk, and is refused once something changed it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from headwater.models.errors import BundleError
from headwater.registry import ModelNotFoundError, model_version
from serving.deployment import Deployment, DeploymentCache, read_deployment
from serving.errors import DamagedSourceError, NotHeldError, NotReleasedError, TamperedError
from serving.policies import ABTest, AllAtOnce, Canary, PolicyError
from tests.serving.conftest import PRODUCT, Released

ROWS = pl.DataFrame({"x": [3, 50], "kind": ["a", "z"], "h_value": [1, 20], "twice": [6, 100], "is_known": [True, True]})


@pytest.fixture
def cache(tmp_path: Path) -> DeploymentCache:
    return DeploymentCache(tmp_path / "serving")


def test_the_release_says_what_is_served_and_from_where(released: Released) -> None:
    found = read_deployment(released.lake, PRODUCT)
    head = released.lake.at("main")
    assert (found.product, found.commit, found.policy) == (PRODUCT, head.commit.id, AllAtOnce(live="1.0.0"))
    assert found.online == head.entry(f"{PRODUCT}/online_features").data_version
    first = next(
        c
        for c in released.lake.log("main", path=f"{PRODUCT}/model")
        if c.id != head.commit.id and "1.0.0" in str(c.provenance)
    )
    assert found.models == {"1.0.0": released.lake.at(first.id).entry(f"{PRODUCT}/model").data_version}
    assert Deployment.from_json(found.to_json()) == found


def test_every_version_of_a_policy_is_fetched_and_scores_as_it_did(released: Released, cache: DeploymentCache) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.1), "1.0.0")
    deployment = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, deployment)
    scores = {version: cache.bundle(deployment, version).predict(ROWS).tolist() for version in deployment.models}
    assert set(scores) == {"1.0.0", "1.1.0"}
    assert scores["1.0.0"] != scores["1.1.0"]
    content = cache.online(deployment)
    assert content is not None
    assert content.tables[0].rows["h_value"].to_list() == [10]


def test_what_was_taken_serves_on_without_the_lake(released: Released, cache: DeploymentCache) -> None:
    deployment = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, deployment)
    cache.remember(deployment)
    before = cache.bundle(cache.held(PRODUCT), "1.0.0").predict(ROWS)
    shutil.rmtree(released.folder / "lake")
    held = cache.held(PRODUCT)
    assert (cache.bundle(held, "1.0.0").predict(ROWS) == before).all()
    assert cache.online(held) is not None


def test_the_newest_deployment_counts_and_the_one_before_stays_until_it_is_forgotten(
    released: Released, cache: DeploymentCache
) -> None:
    old = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, old)
    cache.remember(old)
    released.online(20)
    released.release("all-at-once", "1.1.0")
    new = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, new)
    cache.remember(new)
    assert cache.held(PRODUCT) == new
    assert cache.bundle(old, "1.0.0")
    cache.forget(PRODUCT, keep=[new])
    assert cache.bundle(new, "1.1.0")
    with pytest.raises(NotHeldError, match=r"toy@1\.0\.0"):
        cache.bundle(old, "1.0.0")
    with pytest.raises(NotHeldError, match="Online features of toy"):
        cache.online(old)


@pytest.mark.parametrize("file", ["threshold.json", "preprocessing.json", "model.logistic.json"])
def test_a_changed_copy_is_not_served(released: Released, cache: DeploymentCache, tmp_path: Path, file: str) -> None:
    """Also when the digests beside it were changed to fit: the lake's data version says otherwise."""
    deployment = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, deployment)
    folder = tmp_path / "serving" / PRODUCT / "models" / deployment.models["1.0.0"]
    victim = folder / file if (folder / file).is_file() else next(folder.glob("model.*"))
    victim.write_bytes(victim.read_bytes() + b" ")
    with pytest.raises(TamperedError, match=r"toy@1\.0\.0"):
        cache.bundle(deployment, "1.0.0")
    shutil.rmtree(folder)
    cache.take(released.lake, deployment)
    assert cache.bundle(deployment, "1.0.0")


@pytest.mark.parametrize(
    ("path", "file", "kept"), [("model", "threshold.json", 0), ("online_features", "*.parquet", 1)]
)
def test_what_the_lake_gives_changed_is_not_kept(
    released: Released, cache: DeploymentCache, tmp_path: Path, path: str, file: str, kept: int
) -> None:
    """Under its last name it would be there, and never be fetched again."""
    deployment = read_deployment(released.lake, PRODUCT)
    commit = model_version(released.lake, f"{PRODUCT}@1.0.0").commit if path == "model" else deployment.commit
    (victim,) = released.lake.at(commit).folder(f"{PRODUCT}/{path}").rglob(file)
    whole = victim.read_bytes()
    victim.chmod(0o600)
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for one in (cache, cache, DeploymentCache(tmp_path / "serving")):
        with pytest.raises(DamagedSourceError, match="headwater lake verify"):
            one.take(released.lake, deployment)
    assert len(list((tmp_path / "serving" / PRODUCT).glob("*/*"))) == kept
    victim.write_bytes(whole)
    cache = DeploymentCache(tmp_path / "serving")
    cache.take(released.lake, deployment)
    assert cache.bundle(deployment, "1.0.0")
    assert cache.online(deployment) is not None


def test_a_copy_of_which_no_file_is_there_is_told_so(
    released: Released, cache: DeploymentCache, tmp_path: Path
) -> None:
    """The sentence was cut like a digest: 'has data version none, as non'."""
    deployment = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, deployment)
    folder = tmp_path / "serving" / PRODUCT / "models" / deployment.models["1.0.0"]
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "left.txt").write_text("left")
    with pytest.raises(TamperedError, match="has data version none, as none of its files is there, and the lake"):
        cache.bundle(deployment, "1.0.0")


def test_a_half_copied_bundle_and_a_file_that_nobody_listed_are_not_served(
    released: Released, cache: DeploymentCache, tmp_path: Path
) -> None:
    deployment = read_deployment(released.lake, PRODUCT)
    cache.take(released.lake, deployment)
    folder = tmp_path / "serving" / PRODUCT / "models" / deployment.models["1.0.0"]
    (folder / "more.py").write_text("print()")
    with pytest.raises(BundleError, match=r"more\.py"):
        cache.bundle(deployment, "1.0.0")
    (folder / "more.py").unlink()
    (folder / "threshold.json").unlink()
    with pytest.raises(TamperedError):
        cache.bundle(deployment, "1.0.0")


def test_two_processes_may_fetch_at_once(released: Released, cache: DeploymentCache, tmp_path: Path) -> None:
    deployment = read_deployment(released.lake, PRODUCT)
    others = [DeploymentCache(tmp_path / "serving") for _ in range(6)]

    def keep(one: DeploymentCache) -> None:
        one.take(released.lake, deployment)
        one.remember(deployment)

    with ThreadPoolExecutor(len(others)) as pool:
        assert list(pool.map(keep, others)) == [None] * len(others)
    assert cache.bundle(cache.held(PRODUCT), "1.0.0")
    assert [folder.name for folder in (tmp_path / "serving" / PRODUCT / "models").iterdir()] == list(
        deployment.models.values()
    )


def test_nothing_released_nothing_held_and_a_version_that_never_was_are_named(
    released: Released, cache: DeploymentCache
) -> None:
    with pytest.raises(NotReleasedError, match="headwater build other"):
        read_deployment(released.lake, "other")
    with pytest.raises(NotHeldError, match="toy"):
        cache.held(PRODUCT)
    released.release("all-at-once", "9.0.0")
    with pytest.raises(ModelNotFoundError, match=r"toy@9\.0\.0"):
        read_deployment(released.lake, PRODUCT)
    released.release("lottery", "1.0.0")
    with pytest.raises(PolicyError):
        read_deployment(released.lake, PRODUCT)


def test_a_policy_that_does_not_add_up_is_not_deployed(released: Released) -> None:
    good = ABTest(shares={"1.0.0": 0.5, "1.1.0": 0.5}, salt="s")
    released.release(good, "1.0.0")
    assert read_deployment(released.lake, PRODUCT).policy == good
