"""What changed upstream between two judged windows, as a real lake tells it."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._causes import causes_asset, writings
from headwater.lake import EmbeddedLake, Kind, Retention
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import RecordingInputs, Run, materialize
from headwater.monitoring import upstream_changes
from headwater.product import Asset, Inputs
from tests.release_scene import FLIGHTS

PATH = f"{FLIGHTS.name}/datasets/a"


def numbers(inputs: Inputs, upto: int) -> pl.DataFrame:
    """So many rows."""
    return pl.DataFrame({"x": range(upto)})


def test_what_changed_is_told_by_the_records_of_commits_that_are_collected(tmp_path: Path) -> None:
    """The newest write before the windows is as old as the asset: a retention took it, and no view of causes was built any more."""
    lake, written = EmbeddedLake.open(tmp_path / "lake"), []
    for upto in (1, 2, 3):
        compute = partial(numbers, upto=upto)
        asset = Asset(path=PATH, kind=Kind.TABLE, compute=compute, declaration={"upto": upto})
        materialize(lake, asset, run=Run(actor="user:ada"))
        written.append(lake.last_write("main", PATH))
    asking = replace(causes_asset(FLIGHTS), previous=(PATH,))

    def told() -> list[dict[str, Any]]:
        inputs = RecordingInputs(lake=lake, snapshot=lake.at("main"), asset=asking)
        found = list(writings(inputs, PATH, written[0].created, written[2].created))
        return [change.to_json() for change in upstream_changes({PATH: found})]

    before = told()
    assert (before[0]["kinds"], before[0]["rows"]) == (["code", "data"], [1, 3])
    lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    with pytest.raises(CollectedCommitError):
        lake.at(written[0].id)
    assert told() == before
