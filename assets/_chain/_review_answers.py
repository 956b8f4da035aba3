"""What people said of uncertain predictions: empty until `headwater review` writes into it."""

from functools import partial

import polars as pl

from assets._chain._paths import ChainPaths
from headwater.checks import columns_as_declared
from headwater.lake import Kind
from headwater.product import Asset, Inputs, Product
from headwater.review import SCHEMA


def review_answers_asset(product: Product) -> Asset:
    """The table of answers of a product with a review. A build keeps what stands; people add to it."""
    path = ChainPaths(product=product.name).review_answers
    return Asset(
        path=path,
        kind=Kind.TABLE,
        compute=partial(_kept, path=path),
        previous=(path,),
        checks=(columns_as_declared(SCHEMA),),
        description="What people said of uncertain predictions: a label or that they cannot tell, with reason and author.",
        kinds=("polars",),
    )


def _kept(inputs: Inputs, *, path: str) -> pl.DataFrame:
    before = inputs.previous(path)
    if before is None:
        return pl.DataFrame(schema=dict(SCHEMA))
    return before.table(path).select(list(SCHEMA)).collect()
