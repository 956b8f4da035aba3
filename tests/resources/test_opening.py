"""Opening the lake: the branch that CI names after a pull request, a state folder that refuses, a store probed once."""

import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake
from headwater.lake.errors import LakeError
from headwater.product import Inputs, table
from headwater.testing.lakefs_double import ACCESS_KEY, SECRET_KEY, LakeFSDouble
from resources.lake import LakeResource
from resources.opening import LakeAwayError, open_lake
from resources.settings import LAKEFS, Settings
from tests.ports import free_port


@table("toy/numbers")
def numbers(inputs: Inputs) -> pl.DataFrame:
    """Numbers."""
    return pl.DataFrame({"x": [1]})


@table("toy/doubled", inputs=["toy/numbers"])
def doubled(inputs: Inputs) -> pl.LazyFrame:
    """Twice the numbers."""
    return inputs.table("toy/numbers").with_columns(y=pl.col("x") * 2)


def test_a_build_on_a_missing_branch_makes_it_once_and_leaves_main_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    main = EmbeddedLake.open(tmp_path / "lake")
    before = main.resolve("main").id
    monkeypatch.setenv("HEADWATER_BRANCH", "pr-7")
    resource = LakeResource(state=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        for asset in (numbers, doubled):
            outcome = resource.build(asset, run_id="r", tags={}, partition=None)
            assert outcome.provenance is not None
    assert [record.getMessage() for record in caplog.records] == [
        f"Lake branch 'pr-7' did not exist; it was made off main at commit {before[:12]}."
    ]
    assert main.resolve("main").id == before
    assert main.at("pr-7").table("toy/doubled").collect().to_dicts() == [{"x": 1, "y": 2}]
    assert outcome.into == "pr-7"


def test_looking_makes_no_branch(tmp_path: Path) -> None:
    EmbeddedLake.open(tmp_path / "lake")
    lake = open_lake(Settings(state=tmp_path, branch="pr-8"), create=False)
    assert [ref.name for ref in lake.branches()] == ["main"]


def test_a_state_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="could not be"):
        open_lake(Settings(state=tmp_path / "file"), create=True)


def test_looking_makes_no_lake(tmp_path: Path) -> None:
    """`headwater status` took a service down: it made an empty lake where a disk was not mounted."""
    for look in (lambda: open_lake(Settings(state=tmp_path)), LakeResource(state=str(tmp_path)).open):
        with pytest.raises(LakeError, match="there is no lake"):
            look()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_mount_point", [True, False])
@pytest.mark.parametrize("sign", ["lake.begun", "logs/build.log", "mlflow/synced.sha256", "serving/cache"])
def test_no_lake_is_begun_where_one_was(tmp_path: Path, sign: str, is_mount_point: bool) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    resource = LakeResource(state=str(state))
    resource.build(numbers, run_id="r", tags={}, partition=None)
    if sign != "lake.begun":  # a state folder of before the mark
        (state / "lake.begun").unlink()
        (state / sign).mkdir(parents=True)
    (state / "lake").rename(away)
    if is_mount_point:
        (state / "lake").mkdir()
    before = sorted(state.rglob("*"))
    opening = (
        lambda: open_lake(Settings(state=state)),
        lambda: open_lake(Settings(state=state), create=True),
        resource.open,
        lambda: resource.build(numbers, run_id="r2", tags={}, partition=None),
    )
    for opened in opening:
        with pytest.raises(LakeAwayError, match="is not where it was") as found:
            opened()
        assert (str(state / "lake") in str(found.value), sign in str(found.value)) == (True, True)
    assert sorted(state.rglob("*")) == before
    if is_mount_point:
        (state / "lake").rmdir()
    away.rename(state / "lake")
    assert resource.open().at("main").has("toy/numbers")


def test_a_lake_is_begun_where_files_landed_and_daemons_were_before_it(tmp_path: Path) -> None:
    for name in ("landing/toy", "dagster/history", "logs", "mlflow", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    assert not open_lake(Settings(state=tmp_path), create=True).at("main").paths()
    assert (tmp_path / "lake.begun").is_file()


def test_a_lake_of_before_the_mark_is_marked_by_the_next_build(tmp_path: Path) -> None:
    EmbeddedLake.open(tmp_path / "lake")
    open_lake(Settings(state=tmp_path))
    assert not (tmp_path / "lake.begun").exists()
    open_lake(Settings(state=tmp_path), create=True)
    assert (tmp_path / "lake.begun").is_file()


@pytest.fixture
def double() -> Iterator[LakeFSDouble]:
    with LakeFSDouble() as server:
        yield server


def on(double: LakeFSDouble, state: Path, **changed: str) -> Settings:
    """Settings for a lake on the double."""
    found = Settings(
        state=state,
        lake=LAKEFS,
        lakefs_endpoint=double.endpoint,
        lakefs_access_key=ACCESS_KEY,
        lakefs_secret_key=SECRET_KEY,
    )
    return replace(found, **changed)


def probes(double: LakeFSDouble) -> int:
    """How often a store was probed: each probe makes a branch."""
    return sum(request.method == "POST" and request.target.endswith("/branches") for request in double.served)


def test_a_store_on_lakefs_is_probed_once_a_process_and_once_for_each_repository(
    tmp_path: Path, double: LakeFSDouble
) -> None:
    with ThreadPoolExecutor(4) as threads:
        lakes = list(threads.map(lambda _: open_lake(on(double, tmp_path), create=True), range(8)))
    assert all(lake is lakes[0] for lake in lakes)
    assert probes(double) == 1
    open_lake(on(double, tmp_path, lakefs_repository="another"), create=True)
    assert probes(double) == 2


def test_a_repository_that_is_gone_is_made_again_by_a_build_alone(tmp_path: Path) -> None:
    port = free_port()
    with LakeFSDouble(port=port) as first:
        before = open_lake(on(first, tmp_path), create=True)
    with LakeFSDouble(port=port) as empty:
        with pytest.raises(LakeError, match="there is no such repository"):
            open_lake(on(empty, tmp_path))
        after = open_lake(on(empty, tmp_path), create=True)
        assert after is not before
        assert [ref.name for ref in after.branches()] == ["main"]


def test_an_embedded_lake_put_in_anothers_place_is_the_one_opened(tmp_path: Path) -> None:
    resource = LakeResource(state=str(tmp_path))
    resource.build(numbers, run_id="r", tags={}, partition=None)
    assert resource.open().at("main").has("toy/numbers")
    shutil.rmtree(tmp_path / "lake")
    EmbeddedLake.open(tmp_path / "lake")
    assert not resource.open().at("main").has("toy/numbers")
