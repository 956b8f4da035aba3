"""A stream is declared rightly or not at all."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from headwater.names import InvalidNameError
from headwater.product import DeclarationError
from headwater.streams import Limits, StreamSource
from tests.streams.scenario import SOURCE

TIME = pl.Datetime("us", "UTC")
GOOD: dict[str, Any] = {
    "path": "grid/landing/readings",
    "columns": {"id": pl.String, "at": TIME, "load": pl.Float64},
    "event_time": "at",
    "id": ("id",),
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": {"id": pl.String, "at": pl.Datetime("us")}}, "column 'at' is Datetime"),
        ({"columns": {"id": pl.Int32, "at": TIME}}, "column 'id' is Int32"),
        ({"columns": {"id": pl.String, "at": TIME, "log_offset": pl.Int64}}, "Headwater adds itself"),
        ({"event_time": "when"}, "'when'"),
        ({"event_time": "load"}, "event time 'load' is Float64"),
        ({"id": ()}, "no event can be told"),
        ({"id": ("load",)}, "no event can be told"),
        ({"optional": ("at",)}, "'at' may be absent"),
        ({"allowed_lateness": timedelta(seconds=-1)}, "allowed_lateness"),
        ({"duplicate_horizon": timedelta.max}, "36500 days"),
        ({"arrives_within": timedelta(seconds=-1)}, "arrives_within"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(change: dict[str, Any], said: str) -> None:
    StreamSource(**GOOD)
    with pytest.raises(DeclarationError, match=said):
        StreamSource(**{**GOOD, **change})


def test_a_path_is_a_lake_path() -> None:
    with pytest.raises(InvalidNameError):
        StreamSource(**{**GOOD, "path": "Grid/readings"})


def test_what_is_declared_is_part_of_the_code_version() -> None:
    from dataclasses import replace

    from headwater.code_version import code_version
    from headwater.streams import assets_of

    def version(source: StreamSource) -> str:
        return code_version(assets_of(source)[source.path])

    assert version(SOURCE) == version(replace(SOURCE))
    assert version(replace(SOURCE, allowed_lateness=timedelta(hours=1))) != version(SOURCE)


@pytest.mark.parametrize("limits", [{"events": 0}, {"bytes": -1}])
def test_limits_that_let_nothing_through_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(DeclarationError, match="nothing would be read"):
        Limits(**limits)
