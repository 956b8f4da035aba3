"""Online features: what of the feature tables a service looks up, in the lake, and checked to answer as a training set."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import OnlineContent, OnlineTable, prepare
from headwater.features.online._content import read_content, write_content
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.features.online._parity import Parity, parity
from headwater.features.online._rows import microseconds
from headwater.features.online._state import LAST
from headwater.lake import Kind, Snapshot
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Verdict
from headwater.provenance import ProvenanceError

SAMPLE: Final = 2_000
_SEED: Final = 20130701
_AT: Final = "__at"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def online_asset(product: Product) -> Asset:
    """The online features of a product with feature views."""
    return Asset(
        path=ChainPaths(product=product.name).online_features,
        kind=Kind.FOLDER,
        compute=partial(_online, views=product.features, window=product.serving.window),
        inputs=tuple(dict.fromkeys(view.path for view in product.features)),
        checks=(
            Check(
                name="online_equals_offline",
                judge=partial(_parity, views=product.features),
                description=(
                    "A sample of instants within the window, asked of an online store and of the point-in-time join, gives the "
                    "same values."
                ),
            ),
        ),
        description="The newest rows of the feature tables, as a service looks them up.",
        kinds=("parquet",),
        declaration=declared_values(features=product.features, window=product.serving.window),
    )


def _online(inputs: Inputs, folder: Path, *, views: Sequence[FeatureView], window: timedelta) -> Result:
    tables = [
        (FeatureTable(view=view, rows=inputs.table(view.path)), inputs.entry(view.path).data_version) for view in views
    ]
    since = window_start([table for table, _ in tables], window, by=built(inputs, views))
    content = prepare(tables, since=since)
    write_content(content, folder)
    rows = {table.view.name: table.rows.height for table in content.tables}
    return Result(facts={"rows": rows, "since": since.isoformat()})


def built(inputs: Inputs, views: Sequence[FeatureView]) -> datetime:
    """When the newest of the feature tables was built.

    The record of their builds says so: the same tables give the same time years later. Of a table that came from outside, which has none,
    it is when this build began.
    """
    found = []
    for path in dict.fromkeys(view.path for view in views):
        try:
            found.append(datetime.fromisoformat(inputs.provenance(path).started))
        except (ProvenanceError, ValueError):  # no record, or one without a time
            found.append(inputs.started)
    return max(found)


def window_start(tables: Sequence[FeatureTable], window: timedelta, *, by: datetime) -> datetime:
    """So long before the newest row of the tables; 1970 when there is none.

    A row is as new as its event time and its known-at time both are: neither a forecast, which is known of the future, nor a row that
    becomes known in the future moves the window there, where nobody asks yet. One of which both lie ahead is passed over here. In the store
    are all of them, and answer from when they are known.

    Args:
        tables: Feature tables.
        window: Its length.
        by: When they were built: rows of later times lie ahead.
    """
    found = [moment for table in tables if (moment := newest_row(table, by=by)) is not None]
    if found:
        return max(found) - window
    return _EPOCH if _has_zone(tables[0]) else _EPOCH.replace(tzinfo=None)


def newest_row(table: FeatureTable, *, by: datetime) -> datetime | None:
    """The newest time that a row has left behind with both its times, up to a moment; None without one."""
    return _newest(table, pl.min_horizontal(table.view.event_time, table.view.known_at), by)


def newest_known(table: FeatureTable, *, by: datetime) -> datetime | None:
    """When the newest of the rows that were known by a moment became known; None without one."""
    return _newest(table, pl.col(table.view.known_at), by)


def _newest(table: FeatureTable, time: pl.Expr, by: datetime) -> datetime | None:
    moment = time.dt.epoch("us")
    found: Any = _rows(table).select(moment.filter(moment <= microseconds(by)).max()).collect().item()
    if found is None:
        return None
    return (_EPOCH if _has_zone(table) else _EPOCH.replace(tzinfo=None)) + timedelta(microseconds=found)


def _has_zone(table: FeatureTable) -> bool:
    dtype = table.rows.lazy().collect_schema()[table.view.event_time]
    return getattr(dtype, "time_zone", None) is not None


def _rows(table: FeatureTable) -> pl.LazyFrame:
    """The rows that the join takes."""
    view = table.view
    return table.rows.lazy().drop_nulls([view.event_time, view.known_at, *view.entity])


def _parity(audit: Audit, *, views: Sequence[FeatureView]) -> Verdict:
    content = read_content(audit.staged.folder(audit.path))
    store = MemoryOnlineStore()
    store.publish("product", content, commit="")
    found = {view.name: _parity_of(store, content, audit.base, view) for view in views}
    different = sum(item.different for item in found.values())
    unproven = [table.view.name for table in content.tables if not found[table.view.name].found and _has_a_value(table)]
    facts = {
        "compared": sum(item.compared for item in found.values()),
        "with_a_value": sum(item.found for item in found.values()),
        "different": different,
        "without_a_value": unproven,
        "examples": [_example(example) for item in found.values() for example in item.examples[:5]],
    }
    said = (
        f"{different} of {facts['compared']} values differ between the online store and the join." if different else ""
    )
    if unproven:
        said += f" No instant asked has a value of {', '.join(unproven)}: is its ttl shorter than the time until a row is known?"
    return Verdict(passed=not different and not unproven, facts=facts, description=said.strip())


def _has_a_value(table: OnlineTable) -> bool:
    return any(table.rows[name].null_count() < table.rows.height for name in table.view.features)


def _parity_of(store: MemoryOnlineStore, content: OnlineContent, base: Snapshot, view: FeatureView) -> Parity:
    table = FeatureTable(view=view, rows=base.table(view.path))
    return parity(store, "product", [table], instants(table, content.since), time=_AT)


def instants(table: FeatureTable, since: int) -> pl.DataFrame:
    """Entities and times to ask about, from the window's start on, up to the last that a store answers.

    Half of them at or just before the moment at which a row of the entity becomes visible, half at any time after one until it is
    stale; of every tenth nobody knows the entity.

    Args:
        table: A feature table.
        since: The window's start, in microseconds since 1970.
    """
    view, draw = table.view, random.Random(_SEED)
    schema = table.rows.lazy().collect_schema()
    visible = pl.max_horizontal(view.event_time, view.known_at).dt.epoch("us").alias(_AT)
    rows = _rows(table).select(visible, *view.entity).filter(pl.col(_AT) < LAST).collect()
    inside = rows.filter(pl.col(_AT) >= since)
    pool = (inside if inside.height else rows).rows()
    after = (view.ttl or timedelta(days=1)) // timedelta(microseconds=1) + 1
    asked = [_instant(draw, draw.choice(pool), after) for _ in range(SAMPLE)] if pool else []
    wanted = schema[view.event_time]
    zone = getattr(wanted, "time_zone", None)
    times = pl.Series(_AT, [min(max(at, since), LAST - 1) for at, *_ in asked], dtype=pl.Int64).cast(pl.Datetime("us"))
    times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else times
    entities = [
        pl.Series(key, [who[place] for who in asked], dtype=schema[column], strict=False)
        for place, (key, column) in enumerate(zip(view.keys, view.entity, strict=True), start=1)
    ]
    return pl.DataFrame([times.cast(wanted), *entities])


def _instant(draw: random.Random, row: tuple[Any, ...], after: int) -> tuple[Any, ...]:
    visible, *entity = row
    at = visible - draw.randrange(2) if draw.random() < 0.5 else visible + draw.randrange(after)
    if draw.random() < 0.1:
        entity = [f"{value}?" if isinstance(value, str) else value for value in entity]
    return (at, *entity)


def _example(difference: Any) -> dict[str, Any]:
    shown = {name: repr(getattr(difference, name)) for name in ("entity", "online", "offline")}
    return {"view": difference.view, "feature": difference.feature, "at": difference.at, **shown}
