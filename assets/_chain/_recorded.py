"""What models read, as the log has it, decoded once a process: reports look at the same predictions one after the other, and again tomorrow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Final

import polars as pl

from headwater.models.preprocessing import Preprocessing

_TEXT: Final = "__text "
_MOST: Final = 50_000
"""Rows that are held at most: with a kilobyte each, 50 MB."""


@dataclass(kw_only=True)
class _Held:
    """Rows that were asked for last, those of one schema.

    Attributes:
        schema: Theirs.
        rows: The text of each, once, and what it says.
        lock: Of whoever reads and replaces them.
    """

    schema: Mapping[str, pl.DataType] = field(default_factory=dict)
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    lock: Lock = field(default_factory=Lock)


@cache
def _held() -> _Held:
    """This process's. A constant would be part of the code version of whoever reads it, with all that it holds at the time."""
    return _Held()


def recorded(preprocessing: Preprocessing, features: pl.Series) -> pl.DataFrame:
    """The same as `preprocessing.recorded(features)`: each text is decoded by itself, so that one is no other the next time.

    Args:
        preprocessing: Of the version whose types are wanted.
        features: JSON objects by name.
    """
    schema, texts = preprocessing.schema, features.alias(_TEXT).to_frame()
    held = _held()
    with held.lock:
        if list(held.schema.items()) != list(schema.items()):
            held.schema, held.rows = schema, pl.DataFrame(schema={_TEXT: pl.String(), **schema})
        new = texts.join(held.rows, on=_TEXT, how="anti").drop_nulls().unique()
        try:
            said = new[_TEXT].str.json_decode(pl.Struct(schema)).struct.unnest()
        except pl.exceptions.ComputeError:  # one that is of another type makes all be read as texts
            return preprocessing.recorded(features)
        both = pl.concat([new.hstack(said), held.rows])
        found = texts.join(both, on=_TEXT, how="left", maintain_order="left")
        held.rows = (both.join(texts, on=_TEXT, how="semi") if both.height > _MOST else both).head(_MOST)
    return found.drop(_TEXT)
