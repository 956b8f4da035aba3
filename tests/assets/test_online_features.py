"""The folder of online features: what is in it, from when on, and a check that fails on what is wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain import _online as online
from assets._chain._online import _parity_of, built, instants, online_asset, window_start
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import Lookup, OnlineContent, OnlineTable, prepare
from headwater.features.online._content import read_content, write_content
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, Status, materialize
from headwater.product import Audit, Product, Verdict
from headwater.provenance import Provenance
from headwater.testing.frames import HeldInputs, HeldSnapshot, verdicts
from headwater.testing.online_suite import VIEW, at, hour, rows

BUILT = hour(24 * 365)
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
    content = prepare([(table, "d")], since=window_start([table], timedelta(days=7), by=BUILT))
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
    assert window_start([FeatureTable(view=VIEW, rows=frame)], timedelta(hours=1), by=BUILT) == hour(1)
    assert window_start([FeatureTable(view=VIEW, rows=late)], timedelta(hours=1), by=BUILT) == hour(0)
    assert window_start([FeatureTable(view=VIEW, rows=frame.clear())], timedelta(hours=1), by=BUILT).year == 1970


NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""What some write for a time that never comes."""
AHEAD = {
    "known in a month": (hour(9.5), hour(9.5) + timedelta(days=30)),
    "valid and known in two years": (hour(20_000), hour(20_000)),
    "never known": (hour(9.5), NEVER),
    "never valid and never known": (NEVER, NEVER),
    "never valid, and known now": (NEVER, hour(9.5)),
}


def with_a_row_ahead(times: tuple[datetime, datetime]) -> pl.DataFrame:
    frame = rows(("ann", 8, 8, 1), ("ann", 9, 9, 2), ("bob", 9, 9.25, 3), ("bob", 9.5, 9.5, 4))
    ahead = frame.tail(1).with_columns(pl.lit("ann").alias("who"), pl.lit(5, pl.Int64).alias("value"))
    return pl.concat(
        [
            frame,
            ahead.with_columns(
                event_time=pl.lit(times[0], pl.Datetime("us", "UTC")),
                known_at=pl.lit(times[1], pl.Datetime("us", "UTC")),
            ),
        ]
    )


@pytest.mark.parametrize("times", AHEAD.values(), ids=AHEAD)
@pytest.mark.parametrize("ttl", [timedelta(hours=6), timedelta.max, None])
def test_a_row_ahead_takes_no_window_with_it_and_answers_from_its_known_at_on(
    times: tuple[datetime, datetime], ttl: timedelta | None
) -> None:
    """One such row moved the window behind every request, and each was refused; one of the year 9999 ended the check itself."""
    frame, view = with_a_row_ahead(times), replace(VIEW, ttl=ttl)
    table = FeatureTable(view=view, rows=frame)
    assert window_start([table], timedelta(hours=1), by=BUILT) == hour(8.5)
    content = prepare([(table, "d")], since=hour(8.5))
    store = MemoryOnlineStore()
    store.publish("product", content, commit="")

    def value(moment: datetime) -> Any:
        asked = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return store.lookup("product", [Lookup("history", ("ann",), asked)])[1][0].values[0]

    assert value(hour(10)) == 2
    if max(times) < NEVER and (ttl is None or ttl > timedelta(days=31)):
        assert (value(max(times) - timedelta(microseconds=1)), value(max(times))) == (2, 5)
    found = _parity_of(store, content, Base(frame), view)  # type: ignore[arg-type]
    assert (found.compared, found.different) == (2_000, 0)
    assert found.found > 500


def record(started: str) -> Provenance:
    return Provenance(transaction="t", action="materialize", outputs=(), input_commit="", started=started)


def test_the_same_tables_built_again_years_later_have_the_same_window(tmp_path: Path) -> None:
    """What lies ahead is told by when the tables were built, which is kept with them, and not by the clock."""
    product = Product(
        name="toy",
        question="?",
        owners=("team:x",),
        features=(VIEW, replace(VIEW, name="more", prefix="m_", path="toy/more")),
    )
    held = {path: with_a_row_ahead(AHEAD["valid and known in two years"]) for path in ("toy/history", "toy/more")}
    built_at = {"toy/history": record("2013-03-11T00:00:00+00:00"), "toy/more": record(BUILT.isoformat())}
    asset, given = online_asset(product), HeldInputs(held, provenance=built_at)
    assert built(given, product.features) == BUILT
    result = asset(given, tmp_path)
    assert result.facts["since"] == (hour(9.5) - product.serving.window).isoformat()
    content = read_content(tmp_path)
    assert [table.rows.height for table in content.tables] == [5, 5]
    audit = Audit(
        path=asset.path, partition=None, staged=HeldSnapshot({asset.path: tmp_path}), base=HeldSnapshot(held), facts={}
    )
    found = verdicts(asset, audit)
    assert found["online_equals_offline"].passed


HASTY = replace(VIEW, ttl=timedelta(seconds=30))
"""Each row is known after an hour, and stale after half a minute."""


def judged_asset(folder: Path, *, view: FeatureView = VIEW, shift: int = 0) -> Verdict:
    """The verdict on online features whose published values are `shift` larger than those of the table."""
    product = Product(name="toy", question="?", owners=("team:x",), features=(view,))
    asset, held = online_asset(product), {view.path: MANY}
    asset(HeldInputs(held, provenance={view.path: record(BUILT.isoformat())}), folder)
    content = read_content(folder)
    shifted = [
        OnlineTable(view=one.view, rows=one.rows.with_columns(pl.col("h_value") + shift)) for one in content.tables
    ]
    wrong = folder / "wrong"
    wrong.mkdir()
    write_content(OnlineContent(since=content.since, tables=tuple(shifted)), wrong)
    staged = HeldSnapshot({asset.path: wrong})
    audit = Audit(path=asset.path, partition=None, staged=staged, base=HeldSnapshot(held), facts={})
    return verdicts(asset, audit)["online_equals_offline"]


def test_the_check_passes_what_is_right(tmp_path: Path) -> None:
    found = judged_asset(tmp_path)
    assert (found.passed, found.facts["different"], found.facts["without_a_value"]) == (True, 0, [])
    assert found.facts["with_a_value"] > 500


def test_the_check_fails_on_values_that_the_join_does_not_give_and_shows_some(tmp_path: Path) -> None:
    """Of the check's own verdict only the passing one had ever been seen."""
    found = judged_asset(tmp_path, shift=1)
    assert not found.passed
    assert found.facts["different"] == found.facts["with_a_value"] > 500
    first = found.facts["examples"][0]
    assert (first["view"], first["feature"], int(first["online"]) - int(first["offline"])) == ("history", "h_value", 1)
    assert f"{found.facts['different']} of 2000 values differ" in found.description


def test_the_check_fails_where_no_instant_has_a_value_and_so_proves_nothing(tmp_path: Path) -> None:
    found = judged_asset(tmp_path, view=HASTY)
    assert (found.passed, found.facts["different"], found.facts["without_a_value"]) == (False, 0, ["history"])
    assert "No instant asked has a value of history" in found.description


def test_online_features_that_answer_otherwise_than_a_training_set_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = EmbeddedLake.open(tmp_path / "lake")
    with lake.transaction() as tx:
        tx.write_table(VIEW.path, MANY.head(2_000))
        tx.publish(message="History", provenance=None)
    asset = online_asset(Product(name="toy", question="?", owners=("team:x",), features=(VIEW,)))
    before = lake.resolve("main").id
    with monkeypatch.context() as skewed:
        skewed.setattr(online, "prepare", lambda tables, since: prepare([skew(*one) for one in tables], since=since))
        refused = materialize(lake, asset, run=Run())
    assert (refused.status, lake.resolve("main").id) == (Status.REFUSED, before)
    assert [check.name for check in refused.checks if not check.passed] == ["online_equals_offline"]
    assert materialize(lake, asset, run=Run()).status is Status.PUBLISHED


def skew(table: FeatureTable, data_version: str) -> tuple[FeatureTable, str]:
    """The same features, one larger."""
    return replace(table, rows=table.rows.with_columns(pl.col("value") + 1)), data_version


def test_instants_lie_in_the_window_and_name_entities_that_nobody_knows_too() -> None:
    asked = instants(FeatureTable(view=VIEW, rows=MANY), at(200))
    assert asked.height == 2_000
    assert asked["__at"].min() == hour(200)
    unknown = asked["who"].str.ends_with("?").mean()
    assert isinstance(unknown, float)
    assert 0.05 < unknown < 0.15
    assert instants(FeatureTable(view=VIEW, rows=MANY.clear()), at(0)).height == 0
