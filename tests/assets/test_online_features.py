"""The folder of online features: what is in it, from when on, and a check that fails on what is wrong."""

from datetime import timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest

from assets._chain._online import _parity_of, instants, window_start
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import OnlineContent, OnlineTable, prepare
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.testing.online_suite import VIEW, at, hour, rows

MANY = rows(*((f"p{number % 5_000}", number % 300, number % 300 + 1, number) for number in range(20_000)))


class Base:
    """A snapshot with one table."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.table = partial(self._table, frame)

    @staticmethod
    def _table(frame: pl.DataFrame, path: str) -> pl.LazyFrame:
        return frame.lazy()


def judged(frame: pl.DataFrame, change: pl.Expr | None = None, *, view: FeatureView = VIEW) -> tuple[int, int]:
    """Values with a value, and different ones, when the published rows were changed so."""
    table = FeatureTable(view=view, rows=frame)
    content = prepare([(table, "d")], since=window_start([table], timedelta(days=7)))
    if change is not None:
        (one,) = content.tables
        content = OnlineContent(
            since=content.since, tables=(OnlineTable(view=one.view, rows=one.rows.with_columns(change)),)
        )
    store = MemoryOnlineStore()
    store.publish("product", content, commit="")
    base: Any = Base(frame)
    found = _parity_of(store, content, base, view)
    return found.found, found.different


def test_what_is_right_has_values_and_no_difference() -> None:
    found, different = judged(MANY)
    assert found > 500
    assert different == 0


@pytest.mark.parametrize("shift", ["1us", "-1us", "1s"])
def test_a_row_that_is_visible_a_moment_too_early_or_late_is_seen_among_thousands_of_entities(shift: str) -> None:
    """The sample once drew times and entities apart, and asked hardly any entity at its own edge."""
    assert judged(MANY, pl.col("__headwater_visible").dt.offset_by(shift))[1] > 50


def test_a_ttl_shorter_than_the_time_until_rows_are_known_proves_nothing() -> None:
    hasty = FeatureView(
        name="history", path="toy/history", entity=("who",), features=("value",), ttl=timedelta(seconds=30), prefix="h_"
    )
    assert judged(MANY, view=hasty)[0] == 0


def test_forecasts_and_rows_without_a_time_do_not_move_the_window_into_the_future() -> None:
    frame = rows(("ann", 1, 1, 1), ("ann", 400, 2, 2))
    late = frame.with_columns(known_at=pl.when(pl.col("value") == 2).then(None).otherwise("known_at"))
    assert window_start([FeatureTable(view=VIEW, rows=frame)], timedelta(hours=1)) == hour(1)
    assert window_start([FeatureTable(view=VIEW, rows=late)], timedelta(hours=1)) == hour(0)
    assert window_start([FeatureTable(view=VIEW, rows=frame.clear())], timedelta(hours=1)).year == 1970


def test_instants_lie_in_the_window_and_name_entities_that_nobody_knows_too() -> None:
    asked = instants(FeatureTable(view=VIEW, rows=MANY), at(200))
    assert asked.height == 2_000
    assert asked["__at"].min() == hour(200)
    unknown = asked["who"].str.ends_with("?").mean()
    assert isinstance(unknown, float)
    assert 0.05 < unknown < 0.15
    assert instants(FeatureTable(view=VIEW, rows=MANY.clear()), at(0)).height == 0
