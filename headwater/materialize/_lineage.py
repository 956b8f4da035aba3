"""Column lineage from Polars' own plans: which input columns each output column is made of.

The function runs a second time on empty inputs that tell which columns a plan asks them for. What a function computes
before it returns (a `collect` of its own, a fit) is not in its plan: then nothing is claimed. Columns that only decide
which rows meet (join keys, filters, sort keys) count as well, since a change of them changes the output.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
from polars.io.plugins import register_io_source

from headwater.errors import HeadwaterError
from headwater.lake import Entry, Snapshot
from headwater.product import Asset, Inputs, Result

_MOST_COLUMNS: Final = 200


def column_lineage(asset: Asset, inputs: Inputs, *, partition: str | None = None) -> Mapping[str, list[str]]:
    """Output column to the input columns it comes from, each `<path>:<column>`; empty where it cannot be known.

    Args:
        asset: A table asset whose function returned a lazy frame.
        inputs: What the function read: schemas come from there, rows do not.
        partition: The partition being built.
    """
    empty = _EmptyInputs(inputs)
    try:
        returned = asset.compute(empty, partition) if asset.partitions else asset.compute(empty)
        frame = returned.data if isinstance(returned, Result) else returned
        if not isinstance(frame, pl.LazyFrame) or empty.asked:
            return {}
        names = frame.collect_schema().names()
        if len(names) > _MOST_COLUMNS:
            return {}
        return {name: empty.asked_by(frame.select(name)) for name in names}
    except (HeadwaterError, pl.exceptions.PolarsError, ArithmeticError, LookupError, TypeError, ValueError):
        return {}  # a function may need rows to run; its lineage by column is then unknown


class _EmptyInputs:
    """Inputs without rows that write down which of their columns a plan reads."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self.asked: set[str] = set()

    def table(self, path: str) -> pl.LazyFrame:
        schema = self._inputs.table(path).collect_schema()

        def rows(
            with_columns: Sequence[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            wanted = list(with_columns) if with_columns is not None else schema.names()
            read = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
            self.asked |= {f"{path}:{name}" for name in read}
            yield pl.DataFrame(schema={name: schema[name] for name in wanted})

        return register_io_source(rows, schema=schema)

    def asked_by(self, frame: pl.LazyFrame) -> list[str]:
        """The input columns that collecting `frame` reads."""
        self.asked = set()
        frame.collect()
        return sorted(self.asked)

    def entry(self, path: str) -> Entry:
        return self._inputs.entry(path)

    def previous(self, path: str, *, commit: str | None = None) -> Snapshot | None:
        return self._inputs.previous(path, commit=commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inputs, name)
