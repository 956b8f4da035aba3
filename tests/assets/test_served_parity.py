"""What was served against the lake: a store that streams carried on, its answers in the log, and the tables that come later."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._paths import ChainPaths
from assets._chain._prediction_rows import COLUMNS, from_requests, typed_column
from assets._chain._served_parity import ON_DEMAND, REPORT_FILE, served_parity_asset
from assets._chain._served_sample import SAMPLE, sample_of
from headwater.features import FeatureTable, FeatureView, OnDemandFeatures, StreamedView
from headwater.features.online import Lookup, OnlineStore, prepare, rows_from
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._streaming import Events, streamed_rows
from headwater.product import Labels, Model, Product, Serving
from headwater.provenance import Provenance
from headwater.streams import StreamSource
from headwater.testing.frames import HeldInputs, HeldSnapshot, audit_of, verdicts

BEGIN = datetime(2013, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
UTC_TIME = pl.Datetime("us", "UTC")
PATHS = ChainPaths(product="shop")
EVENTS = pl.DataFrame(
    {"who": ["ann", "bob"] * 120, "at": [BEGIN + number * HOUR / 2 for number in range(240)], "value": range(240)},
    schema={"who": pl.String, "at": UTC_TIME, "value": pl.Int64},
).with_columns(pl.col("at").alias("known_at"))
PUBLISHED, ANSWERED, LANDED = BEGIN + 48 * HOUR, BEGIN + 96 * HOUR, BEGIN + 120 * HOUR
"""Up to when the table stood that was published, until when the service answered, and what has come in since."""


def totals(events: pl.LazyFrame) -> pl.LazyFrame:
    """The sum of a person's last three hours, at the end of each."""
    hourly = events.group_by("who", pl.col("at").dt.truncate("1h").dt.offset_by("1h").alias("known_at")).agg(
        pl.col("value").sum().alias("total")
    )
    summed = pl.col("total").rolling_sum_by("known_at", window_size="3h").over("who")
    rows = hourly.sort("known_at", "who").with_columns(summed, pl.col("known_at").alias("event_time"))
    return rows.select("who", "event_time", "known_at", "total")


def skewed(events: pl.LazyFrame) -> pl.LazyFrame:
    """The mistake: a stream that counts events of a value above 150 twice."""
    return totals(
        events.with_columns(pl.when(pl.col("value") > 150).then(2 * pl.col("value")).otherwise("value").alias("value"))
    )


def doubled(total: Any) -> tuple[Any, ...]:
    return (None if total is None else 2 * total,)


TOTALS = FeatureView(
    name="totals", path="shop/features/totals", entity=("who",), features=("total",), ttl=timedelta(hours=5), defaults={"total": -1}
)  # fmt: skip
PLACES = FeatureView(name="places", path="shop/features/places", entity=("who",), features=("floor",))
PLACE_ROWS = pl.DataFrame(
    {"who": ["ann"], "event_time": [BEGIN - 400 * HOUR], "known_at": [BEGIN - 400 * HOUR], "floor": [2.5]},
    schema={"who": pl.String, "event_time": UTC_TIME, "known_at": UTC_TIME, "floor": pl.Float64},
)
CAME = StreamSource(
    path="shop/events", columns={"who": pl.String, "at": UTC_TIME, "value": pl.Int64}, event_time="at", id=("who", "at"),
    arrives_within=timedelta(0),
)  # fmt: skip
STREAMED = StreamedView(
    view="totals", events="shop/events", lookback=3 * HOUR, compute=totals, known_after=timedelta(0), settles=2 * HOUR
)
PRODUCT = Product(
    name="shop", question="Will they leave?", owners=("team:shop",), features=(TOTALS, PLACES), events=(CAME,), streams=(STREAMED,),
    on_demand=(OnDemandFeatures(name="twice", function=doubled, inputs=("total",), outputs={"double": pl.Int64}),),
    labels=Labels(path="shop/labels", key=("who", "at"), time="at", label="left"), model=Model(features=("total", "floor", "double")),
    serving=Serving(window=timedelta(days=3)),
)  # fmt: skip
LABELS = pl.DataFrame(schema={"who": pl.String, "at": UTC_TIME, "left": pl.Int8})


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def store_of(folder: Path, function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> OnlineStore:
    """The real embedded store: published from the table as it stood, carried on by a stream's function."""
    store = EmbeddedOnlineStore(folder)
    table = totals(EVENTS.lazy().filter(pl.col("at") < PUBLISHED)).collect()
    tables = [(FeatureTable(view=TOTALS, rows=table), "d"), (FeatureTable(view=PLACES, rows=PLACE_ROWS), "e")]
    store.publish("shop", prepare(tables, since=BEGIN + 12 * HOUR), commit="c")
    events = Events(
        timely=EVENTS.lazy(), late=EVENTS.clear().with_columns(watermark=pl.lit(None, UTC_TIME)).lazy(), event_time="at"
    )
    rows = streamed_rows(
        replace(STREAMED, compute=function), TOTALS, events, after=PUBLISHED - 2 * HOUR, until=ANSWERED
    )
    store.extend("shop", {"totals": rows_from(FeatureTable(view=TOTALS, rows=rows), BEGIN + 12 * HOUR)}, commit="d")
    return store


def served(store: OnlineStore, *, until: datetime = ANSWERED, hidden: tuple[str, ...] = ()) -> pl.DataFrame:
    """What the service logged of a request every quarter of an hour, with the defaults that it fills in."""
    rows = []
    for step in range(int((until - BEGIN - 12 * HOUR) / (HOUR / 4))):
        at, who = BEGIN + 12 * HOUR + step * HOUR / 4, ("ann", "bob", "new")[step % 3]
        _, (total, place) = store.lookup(
            "shop", [Lookup("totals", (who,), microseconds(at)), Lookup("places", (who,), microseconds(at))]
        )
        amount = -1 if total.values[0] is None else total.values[0]
        features = {"total": amount, "floor": place.values[0], "double": 2 * amount}
        kept = {name: value for name, value in features.items() if name not in hidden}
        request = {name: value for name, value in {"who": who}.items() if name not in hidden}
        rows.append(
            {
                "request_id": f"r{step}",
                "at": at,
                "received": at,
                "version": "1.0.0",
                "request": json.dumps(request),
                "features": json.dumps(kept),
            }
        )
    return pl.DataFrame(rows, schema={**COLUMNS, "who": pl.String})


def compared(
    folder: Path,
    predictions: pl.DataFrame | None,
    *,
    table: pl.DataFrame | None = None,
    places: pl.DataFrame = PLACE_ROWS,
    product: Product = PRODUCT,
) -> Any:
    folder.mkdir(exist_ok=True)
    asset = served_parity_asset(product)
    table = totals(EVENTS.lazy().filter(pl.col("at") < LANDED)).collect() if table is None else table
    past = {"shop/labels": HeldSnapshot({"shop/labels": LABELS})}
    past |= {} if predictions is None else {PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions})}
    record = Provenance(transaction="t", action="materialize", outputs=(), input_commit="", started=LANDED.isoformat())
    held = HeldInputs(
        {TOTALS.path: table, PLACES.path: places},
        previous=past,
        provenance=dict.fromkeys((TOTALS.path, PLACES.path), record),
    )
    found = asset(held, folder)
    judged = verdicts(asset, audit_of(asset, pl.DataFrame(), facts=found.facts))
    views = {view["view"]: view for view in json.loads((folder / REPORT_FILE).read_text())["views"]}
    return views, judged


def test_what_a_stream_added_is_what_the_tables_say_once_they_are_there(tmp_path: Path) -> None:
    views, judged = compared(tmp_path / "report", served(store_of(tmp_path / "store", totals)))
    assert {name: view["different"] for name, view in views.items()} == {"totals": 0, "places": 0, ON_DEMAND: 0}
    assert views["totals"]["compared"] == views["totals"]["sampled"] == 288
    assert views["totals"]["with_a_value"] == 192  # of who is new nothing is known
    assert all(verdict.passed for verdict in judged.values())


def test_a_stream_that_computes_otherwise_is_caught_in_what_was_served(tmp_path: Path) -> None:
    """Nothing looked at the store that answers: a fresh one of the published rows is right whatever a stream adds."""
    views, judged = compared(tmp_path / "report", served(store_of(tmp_path / "store", skewed)))
    verdict = judged["served_equals_offline"]
    assert not verdict.passed
    assert views["totals"]["different"] > 50
    assert views["places"]["different"] == 0
    assert "totals" in verdict.description
    (example, *_) = views["totals"]["examples"]
    assert example["feature"] == "total"
    assert int(example["served"]) > int(example["offline"])
    # What was computed from it is another value too.
    assert views[ON_DEMAND]["different"] == views["totals"]["different"]


def test_a_table_that_was_changed_afterwards_is_caught(tmp_path: Path) -> None:
    table = (
        totals(EVENTS.lazy())
        .collect()
        .with_columns(pl.when(pl.col("who") == "bob").then(pl.col("total") + 1).otherwise("total").alias("total"))
    )
    views, judged = compared(tmp_path / "report", served(store_of(tmp_path / "store", totals)), table=table)
    assert views["totals"]["different"] == 96
    assert not judged["served_equals_offline"].passed


def test_what_was_asked_ahead_of_the_clock_is_left_out_and_counted(tmp_path: Path) -> None:
    """Asked at 9:05 about 11:30, a store says what is known at 9:05: the tables say more, and nothing is wrong."""
    predictions = served(store_of(tmp_path / "store", totals))
    is_ahead = pl.col("request_id").str.ends_with("7")
    ahead = predictions.with_columns(
        pl.when(is_ahead).then(pl.col("at") - HOUR / 2).otherwise("received").alias("received"),
        pl.when(is_ahead)
        .then(pl.lit('{"total": 0, "floor": 0.0, "double": 0}'))
        .otherwise("features")
        .alias("features"),
    )
    views, judged = compared(tmp_path / "report", ahead)
    assert judged["served_equals_offline"].passed
    assert judged["served_equals_offline"].facts["asked_ahead"] == {"totals": 28, "places": 28, ON_DEMAND: 28}
    assert views["totals"]["sampled"] + views["totals"]["asked_ahead"] == 288
    # Most requests ask about the instant at which they came in: that is not ahead.
    views, judged = compared(tmp_path / "now", ahead.with_columns(received=pl.col("at")))
    assert not judged["served_equals_offline"].passed
    everything = ahead.with_columns(received=pl.col("at") - HOUR)
    views, judged = compared(tmp_path / "all", everything)
    assert (views["totals"]["compared"], views["totals"]["asked_ahead"]) == (0, everything.height)
    assert judged["served_equals_offline"].passed


@pytest.mark.parametrize("ahead", [None, timedelta(days=30), timedelta(days=365_000)])
def test_what_the_tables_do_not_cover_is_not_yet_known(tmp_path: Path, ahead: timedelta | None) -> None:
    """A stream is ahead of its table by days: that is no difference, nor is what may still lack events of the next file.

    A row of another table that is to be known in the future once made this one seem to stand still, and be whole.
    """
    later = [] if ahead is None else [PLACE_ROWS.with_columns(pl.col("known_at") + ahead + 400 * HOUR)]
    rows = served(store_of(tmp_path / "store", totals))
    table = totals(EVENTS.lazy().filter(pl.col("at") < BEGIN + 60 * HOUR)).collect()
    cut = table.with_columns(pl.when(pl.col("known_at") > BEGIN + 58 * HOUR).then(0).otherwise("total").alias("total"))
    views, judged = compared(tmp_path / "report", rows, table=cut, places=pl.concat([PLACE_ROWS, *later]))
    assert judged["served_equals_offline"].passed
    assert judged["served_equals_offline"].facts["not_yet_known"] == {"totals": 151, ON_DEMAND: 151}
    assert views["totals"]["until"] == (BEGIN + 58 * HOUR).isoformat()
    # What stands still is whole: it says of every instant what it says.
    assert views["places"]["not_yet_known"] == 0
    empty = table.clear()
    views, judged = compared(tmp_path / "empty", rows, table=empty)
    assert judged["served_equals_offline"].passed
    assert (views["totals"]["compared"], views["totals"]["not_yet_known"]) == (0, 336)


def test_what_the_log_must_not_hold_is_not_compared_and_named(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", totals)
    views, judged = compared(tmp_path / "report", served(store, hidden=("floor",)))
    assert (views["places"]["compared"], views["places"]["not_logged"]) == (0, ["floor"])
    assert judged["served_equals_offline"].passed
    views, judged = compared(tmp_path / "nobody", served(store, hidden=("who",)))
    assert views["totals"]["not_logged"] == ["who"]
    assert views[ON_DEMAND]["compared"] == 0
    assert judged["served_equals_offline"].passed


def test_a_field_that_is_redacted_from_some_day_on_leaves_its_requests_out(tmp_path: Path) -> None:
    """Joined as nobody's, they differed from what was rightly served, for a window after the declaration."""
    store = store_of(tmp_path / "store", totals)
    some = pl.col("at") < ANSWERED - 12 * HOUR
    rows = pl.concat([served(store).filter(some), served(store, hidden=("who",)).filter(~some)])
    views, judged = compared(tmp_path / "report", rows)
    assert judged["served_equals_offline"].passed, judged["served_equals_offline"].description
    for name in ("totals", ON_DEMAND):
        assert 0 < views[name]["not_whole"] < views[name]["sampled"]
        assert views[name]["compared"] == views[name]["sampled"] - views[name]["not_whole"]


def test_before_anything_was_answered_there_is_nothing_to_compare(tmp_path: Path) -> None:
    for number, predictions in enumerate((None, pl.DataFrame(schema={**COLUMNS, "who": pl.String}))):
        views, judged = compared(tmp_path / str(number), predictions)
        assert sum(view["compared"] for view in views.values()) == 0
        assert all(verdict.passed for verdict in judged.values())


def test_answers_do_not_make_it_stale() -> None:
    """It would else be built after each compaction, every minute, and read all feature tables."""
    assert set(served_parity_asset(PRODUCT).inputs) == {TOTALS.path, PLACES.path}


def test_the_sample_is_as_large_as_declared_and_the_same_every_time() -> None:
    rows = pl.DataFrame(
        [
            {"request_id": f"r{step}", "at": BEGIN + step * timedelta(minutes=1), "request": "{}", "features": "{}"}
            for step in range(5_000)
        ],
        schema=dict(COLUMNS),
    )
    taken = sample_of(rows.lazy(), BEGIN + timedelta(days=2), timedelta(days=1))
    assert (taken.rows.height, taken.predictions, taken.later) == (SAMPLE, 1440, 5_000 - 2_881)
    assert taken.rows.equals(
        sample_of(rows.sample(fraction=1, shuffle=True).lazy(), taken.until, timedelta(days=1)).rows
    )


@pytest.mark.parametrize("kind", ["text", "whole"])
def test_a_day_in_a_key_is_read_as_the_log_has_it(kind: str) -> None:
    """The engine logs days as texts, and a key column read none of them."""
    day = date(2013, 3, 1)
    value = day.isoformat() if kind == "text" else microseconds(BEGIN)
    assert typed_column("day", [value, None, "?"], pl.Date()).to_list() == [day, None, None]
    rows = pl.DataFrame([{"request": json.dumps({"day": value})}, {"request": "{}"}], schema=dict(COLUMNS))
    assert from_requests(rows.lazy(), {"day": pl.Date()}).collect()["day"].to_list() == [day, None]
