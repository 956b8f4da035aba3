"""The real flights of the packaged files, taken through the product's own functions, once for each number of months."""

import tempfile
from functools import cache
from pathlib import Path

import polars as pl

from assets._chain._landing import landing_asset
from assets.flights._paths import FLIGHTS, MONTHS, PERIOD, WEATHER
from assets.flights.datasets import airlines, airports, flights, planes, weather
from assets.flights.product import PRODUCT
from headwater.product import Asset
from headwater.testing.frames import audit_of, inputs, verdicts
from resources.packaged import land_packaged


@cache
def landed(months: int) -> dict[str, pl.DataFrame]:
    """Landing tables with the first months of the partitioned sources, landed and read as a build does."""
    keys, tables = MONTHS.keys[:months], {}
    with tempfile.TemporaryDirectory() as name:
        land_packaged(PRODUCT, Path(name), partitions=keys)
        for source in PRODUCT.sources:
            asset, folder = landing_asset(PRODUCT.name, source), Path(name) / PRODUCT.name
            if source.partitions is None:
                file = source.file_name()
                tables[asset.path] = asset(inputs({}, landed={file: folder / file})).data
                continue
            parts = []
            for key in keys:
                file = source.file_name(key)
                rows = asset(inputs({}, landed={file: folder / file}), key).data
                parts.append(rows.with_columns(pl.lit(key).alias(PERIOD)))
            tables[asset.path] = pl.concat(parts)
    return tables


@cache
def datasets(months: int) -> dict[str, pl.DataFrame]:
    """Datasets of the first months."""
    lake = dict(landed(months))
    for asset in (airports, airlines, planes):
        lake[asset.path] = asset(inputs({path: lake[path] for path in asset.inputs}))
    for asset in (weather, flights):
        parts = []
        for key in MONTHS.keys[:months]:
            rows = asset(inputs({path: lake[path] for path in asset.inputs}), key).data
            parts.append(rows.with_columns(pl.lit(key).alias(PERIOD)))
        lake[asset.path] = pl.concat(parts)
    return {path: rows for path, rows in lake.items() if "/landing/" not in path}


def broken_claims(asset: Asset, months: int) -> set[tuple[str, str]]:
    """Month and name of each claim of a partitioned dataset that does not hold on the real months."""
    lake = datasets(months)
    assert asset.path in (FLIGHTS, WEATHER)
    return {
        (key, name)
        for key in MONTHS.keys[:months]
        for name, verdict in verdicts(
            asset, audit_of(asset, lake[asset.path].filter(pl.col(PERIOD) == key), partition=key, base=lake)
        ).items()
        if not verdict.passed
    }
