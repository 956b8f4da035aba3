"""Tables that people write into: a build keeps what stands."""

from collections.abc import Mapping
from functools import partial

import polars as pl

from headwater.checks import columns_as_declared
from headwater.lake import Kind
from headwater.product import Asset, Inputs


def kept_table(path: str, schema: Mapping[str, pl.DataType], description: str) -> Asset:
    """A table that is empty until somebody writes into it, and that no build changes.

    Args:
        path: Its lake path.
        schema: Its columns.
        description: One sentence.
    """
    return Asset(
        path=path,
        kind=Kind.TABLE,
        compute=partial(_kept, path=path, schema=schema),
        previous=(path,),
        checks=(columns_as_declared(schema),),
        description=description,
        kinds=("polars",),
    )


def _kept(inputs: Inputs, *, path: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    before = inputs.previous(path)
    if before is None:
        return pl.DataFrame(schema=dict(schema))
    return before.table(path).select(list(schema)).collect()
