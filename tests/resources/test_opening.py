"""Opening the lake: the branch that CI names after a pull request, and a state folder that refuses."""

import logging
from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake
from headwater.lake.errors import LakeError
from headwater.product import Inputs, table
from resources.lake import LakeResource
from resources.opening import open_lake
from resources.settings import Settings


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
