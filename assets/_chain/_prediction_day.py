"""The day of the newest prediction: what makes the outcomes anew where no label comes in."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._outcomes import newest_asked, newest_of
from assets._chain._paths import ChainPaths
from assets._chain._performance import rules_of
from assets._chain._plays import counted
from headwater.checks import columns_as_declared
from headwater.lake import Kind
from headwater.product import Asset, Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import Windowing

SCHEMA: Final = {"start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")}
_DAY: Final = timedelta(days=1)
_OLDEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""The calendars of zones do not reach back to year 1."""


def prediction_day_asset(product: Product) -> Asset:
    """The day of the newest prediction of a product with a model. Built with every compaction, published once a day."""
    paths, windowing = ChainPaths(product=product.name), _days_of(product)
    return Asset(
        path=paths.prediction_day,
        kind=Kind.TABLE,
        compute=partial(_day, product=product, windowing=windowing),
        inputs=(paths.predictions,),
        checks=(columns_as_declared(SCHEMA),),
        description="The local day of the newest prediction, or its window where these are shorter; no row before the first prediction.",
        kinds=("polars",),
        declaration=declared_values(windowing=windowing),
    )


def _days_of(product: Product) -> "Windowing":
    """The days of the zone of the report's windows, or these windows where they are parts of a day."""
    from headwater.monitoring import Windowing

    declared = rules_of(product).windowing
    return Windowing(length=min(declared.length, _DAY), zone=declared.zone)


def _day(inputs: Inputs, *, product: Product, windowing: "Windowing") -> pl.DataFrame:
    rows = counted(product, inputs.table(ChainPaths(product=product.name).predictions))
    newest = newest_asked(rows.select("at", "received").collect())
    if newest is None:
        return pl.DataFrame(schema=SCHEMA)
    moment = max(newest_of(newest, until=inputs.started), _OLDEST)
    (day,) = windowing.spans(moment, moment)
    return pl.DataFrame([vars(day)], schema=SCHEMA)
