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
from resources.opening import open_lake
from resources.settings import LAKEFS, Settings


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
        open_lake(Settings(state=tmp_path / "file"))


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
        lakes = list(threads.map(lambda _: open_lake(on(double, tmp_path)), range(8)))
    assert all(lake is lakes[0] for lake in lakes)
    assert probes(double) == 1
    open_lake(on(double, tmp_path, lakefs_repository="another"))
    assert probes(double) == 2


def test_a_repository_that_is_gone_is_made_again(tmp_path: Path) -> None:
    with LakeFSDouble() as first:
        before = open_lake(on(first, tmp_path))
        port = int(first.endpoint.rsplit(":", 1)[1])
    with LakeFSDouble(port=port) as empty:
        after = open_lake(on(empty, tmp_path))
        assert after is not before
        assert [ref.name for ref in after.branches()] == ["main"]


def test_an_embedded_lake_put_in_anothers_place_is_the_one_opened(tmp_path: Path) -> None:
    resource = LakeResource(state=str(tmp_path))
    resource.build(numbers, run_id="r", tags={}, partition=None)
    assert resource.open().at("main").has("toy/numbers")
    shutil.rmtree(tmp_path / "lake")
    assert not resource.open().at("main").has("toy/numbers")
