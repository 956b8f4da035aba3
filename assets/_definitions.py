"""Every product's Dagster assets."""

from collections.abc import Iterator

import dagster as dg

from assets._bridge import dagster_asset
from assets._dbt_bridge import dagster_dbt_assets
from assets._declared import built_by_dbt, declared, manifest
from assets._products import products


def dagster_assets() -> Iterator[dg.AssetsDefinition]:
    """The Dagster assets of all products."""
    for product in products():
        by_dbt = built_by_dbt(product)
        for asset in declared(product):
            if asset.path not in by_dbt:
                yield dagster_asset(asset, product)
        if by_dbt and (read := manifest()) is not None:
            yield dagster_dbt_assets(product, [a for a in declared(product) if a.path in by_dbt], read)
