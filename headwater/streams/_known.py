"""What the lake has that events of a batch could be duplicates of."""

import polars as pl

from headwater.lake import Snapshot
from headwater.streams._declaration import TIME, StreamSource
from headwater.streams._sorting import Parsed, spans
from headwater.streams._times import length


def known_rows(base: Snapshot, source: StreamSource, parsed: Parsed) -> pl.DataFrame:
    """Rows of the lake that events of a batch could be duplicates of, times in microseconds."""
    names = list(source.schema)
    plain = [pl.col(name).cast(pl.Int64) if dtype == TIME else pl.col(name) for name, dtype in source.schema.items()]
    none = pl.DataFrame(schema={name: pl.Int64 if dtype == TIME else dtype for name, dtype in source.schema.items()})
    if not parsed.rows:
        return none
    found = spans((row.time for row in parsed.rows), length(source.duplicate_horizon))
    time_column = pl.col(source.event_time)
    near = pl.any_horizontal(time_column.is_between(_instant(begin), _instant(end)) for begin, end in found)
    places = [names.index(name) for name in source.id]
    ids = pl.DataFrame(
        [tuple(row.values[place] for place in places) for row in parsed.rows],
        schema={name: none.schema[name] for name in source.id},
        orient="row",
    ).unique()
    frames = [
        base.table(path).filter(near).select(plain).join(ids.lazy(), on=list(source.id), how="semi").collect()
        for path in (source.path, source.late_path)
        if base.has(path)
    ]
    return pl.concat([none, *frames])


def _instant(microseconds: int) -> pl.Expr:
    return pl.lit(microseconds, dtype=pl.Int64).cast(TIME)
