"""The orders of a product's release: empty until `headwater release` writes into it."""

from functools import partial

import polars as pl

from assets._chain._paths import ChainPaths
from headwater.checks import columns_as_declared
from headwater.lake import Kind
from headwater.product import Asset, Inputs, Product
from headwater.release_orders import SCHEMA


def release_orders_asset(product: Product) -> Asset:
    """The table of orders of a product with a model. A build keeps what stands; commands add to it."""
    path = ChainPaths(product=product.name).release_orders
    return Asset(
        path=path,
        kind=Kind.TABLE,
        compute=partial(_kept, path=path),
        previous=(path,),
        checks=(columns_as_declared(SCHEMA),),
        description="What people ordered of the release: promote, hold, resume, roll back, deprecate, retire; with reason and actor.",
        kinds=("polars",),
    )


def _kept(inputs: Inputs, *, path: str) -> pl.DataFrame:
    before = inputs.previous(path)
    if before is None:
        return pl.DataFrame(schema=dict(SCHEMA))
    return before.table(path).select(list(SCHEMA)).collect()
