"""Online features: what of the feature tables a service looks up, in the lake, and checked to answer as a training set."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import OnlineContent, prepare
from headwater.features.online._content import read_content, write_content
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.features.online._parity import Parity, parity
from headwater.lake import Kind, Snapshot
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Verdict

SAMPLE: Final = 2_000
_SEED: Final = 20130701
_AT: Final = "__at"


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
        declaration=declared_values(features=product.features, serving=product.serving),
    )


def _online(inputs: Inputs, folder: Path, *, views: Sequence[FeatureView], window: timedelta) -> Result:
    tables = [
        (FeatureTable(view=view, rows=inputs.table(view.path)), inputs.entry(view.path).data_version) for view in views
    ]
    since = window_start([table for table, _ in tables], window)
    content = prepare(tables, since=since)
    write_content(content, folder)
    rows = {table.view.name: table.rows.height for table in content.tables}
    return Result(facts={"rows": rows, "since": since.isoformat()})


def window_start(tables: Sequence[FeatureTable], window: timedelta) -> datetime:
    """So long before the newest time at which a row of the tables became visible; 1970 when there is no row."""
    found = [moment for table in tables if (moment := _newest(table)) is not None]
    if found:
        return max(found) - window
    dtype = tables[0].rows.lazy().collect_schema()[tables[0].view.event_time]
    return datetime(1970, 1, 1, tzinfo=UTC if getattr(dtype, "time_zone", None) else None)


def _newest(table: FeatureTable) -> datetime | None:
    view = table.view
    moment = pl.max_horizontal(view.event_time, view.known_at).max()
    found: Any = table.rows.lazy().select(moment).collect().item()
    return found.astimezone(UTC) if found is not None and found.tzinfo else found


def _parity(audit: Audit, *, views: Sequence[FeatureView]) -> Verdict:
    content = read_content(audit.staged.folder(audit.path))
    store = MemoryOnlineStore()
    store.publish("product", content, commit="")
    found = [_parity_of(store, content, audit.base, view) for view in views]
    different = sum(item.different for item in found)
    facts = {
        "compared": sum(item.compared for item in found),
        "with_a_value": sum(item.found for item in found),
        "different": different,
        "examples": [_example(example) for item in found for example in item.examples[:5]],
    }
    said = (
        f"{different} of {facts['compared']} values differ between the online store and the join." if different else ""
    )
    return Verdict(passed=not different, facts=facts, description=said)


def _parity_of(store: MemoryOnlineStore, content: OnlineContent, base: Snapshot, view: FeatureView) -> Parity:
    table = FeatureTable(view=view, rows=base.table(view.path))
    return parity(store, "product", [table], instants(table, content.since), time=_AT)


def instants(table: FeatureTable, since: int) -> pl.DataFrame:
    """Entities and times to ask about: known entities and one that is not, from the window's start until rows are stale.

    Args:
        table: A feature table.
        since: The window's start, in microseconds since 1970.
    """
    view, draw = table.view, random.Random(_SEED)
    rows = table.rows.lazy()
    schema = rows.collect_schema()
    wanted = schema[view.event_time]
    moments = (
        rows.select(pl.max_horizontal(view.event_time, view.known_at).dt.epoch("us")).collect().to_series().drop_nulls()
    )
    known = rows.select(view.entity).unique(maintain_order=True).collect() if view.entity else pl.DataFrame()
    after = int((view.ttl or timedelta(days=1)) / timedelta(microseconds=1)) + 1
    last = max(moments.to_list(), default=since)
    edges = moments.filter(moments >= since).to_list()
    asked = [_instant(draw, edges, since, max(since, last) + after) for _ in range(SAMPLE)]
    who = [draw.randrange(known.height + 1) for _ in asked] if view.entity else []
    entities = [
        pl.Series(key, [_value(known, column, row) for row in who], dtype=schema[column])
        for key, column in _named(view)
    ]
    zone = getattr(wanted, "time_zone", None)
    at = pl.Series(_AT, asked, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC" if zone else None)
    times = at.dt.convert_time_zone(zone) if zone else at
    return pl.DataFrame([times.cast(wanted), *entities])


def _instant(draw: random.Random, edges: Sequence[int], since: int, last: int) -> int:
    """Any time, or one at which or just before which a row becomes visible."""
    if edges and draw.random() < 0.5:
        return max(since, draw.choice(edges) - draw.randrange(2))
    return draw.randrange(since, last)


def _named(view: FeatureView) -> Iterator[tuple[str, str]]:
    return zip(view.keys, view.entity, strict=True)


def _value(known: pl.DataFrame, column: str, row: int) -> Any:
    return known[column][row] if row < known.height else None


def _example(difference: Any) -> dict[str, Any]:
    shown = {name: repr(getattr(difference, name)) for name in ("entity", "online", "offline")}
    return {"view": difference.view, "feature": difference.feature, "at": difference.at, **shown}
