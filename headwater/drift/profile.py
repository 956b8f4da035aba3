"""What is kept of a sample so that drift can be measured later without reading it again.

A profile is exact by default: the sorted values of every numeric column and the counts of every category. Profiles of
batches merge into the profile of the whole, value for value. `compress` bounds the size of a numeric column and says
how far its distribution may be off.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headwater.drift._columns import CATEGORY, ROWS, Frame, Reader, ValueKind, blocks, kind_of, to_kind
from headwater.drift._combine import canonical, merge, same
from headwater.drift._distribution import CategoricalProfile, ColumnProfile, NumericProfile
from headwater.drift.errors import ProfileMismatchError

REFERENCE = "reference"
CURRENT = "current"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceProfile:
    """The distributions of a sample's columns.

    Attributes:
        rows: Rows of the sample.
        columns: Column name to its distribution, in order.
    """

    rows: int
    columns: Mapping[str, ColumnProfile]

    def merge(self, other: "ReferenceProfile") -> "ReferenceProfile":
        """The profile of both samples together; equal to profiling all rows at once.

        Raises:
            ProfileMismatchError: The columns differ.
            ColumnKindError: A column holds values of different kinds.
        """
        left, right = set(self.columns), set(other.columns)
        if left != right:
            raise ProfileMismatchError(only_left=sorted(left - right), only_right=sorted(right - left))
        merged = {name: merge(name, column, other.columns[name]) for name, column in self.columns.items()}
        return ReferenceProfile(rows=self.rows + other.rows, columns=merged)

    def compress(self, points: int = 10_000) -> "ReferenceProfile":
        """The same profile with at most about `points` values a numeric column. Categories stay exact."""
        columns = {
            name: column.compress(points) if isinstance(column, NumericProfile) else column
            for name, column in self.columns.items()
        }
        return ReferenceProfile(rows=self.rows, columns=columns)

    def equals(self, other: "ReferenceProfile") -> bool:
        """Whether both describe the same distributions, to the last row and bit."""
        return (
            self.rows == other.rows
            and list(self.columns) == list(other.columns)
            and all(same(column, other.columns[name]) for name, column in self.columns.items())
        )


def profile(
    frame: Frame, *, columns: Sequence[str] | None = None, categorical: Sequence[str] = (), side: str = REFERENCE
) -> ReferenceProfile:
    """The exact profile of a frame.

    Args:
        frame: The rows, as a Polars frame (eager or lazy) or an Arrow table.
        columns: Columns to profile; None takes all.
        categorical: Columns whose integers or dates are codes, not quantities.
        side: `reference` or `current`, for errors.

    Raises:
        MissingColumnError: One of `columns` or `categorical` is absent.
        UnsupportedColumnError: One is nested, binary or an object.
    """
    reader = Reader(frame, side=side)
    names = reader.names if columns is None else tuple(dict.fromkeys(columns))
    reader.check([*names, *categorical])
    profiles = dict(zip(names, column_profiles(reader, names, categorical=categorical), strict=True))
    rows = next(iter(profiles.values())).rows if profiles else 0
    return ReferenceProfile(rows=rows, columns=profiles)


def profile_batches(
    batches: Iterable[Frame], *, columns: Sequence[str] | None = None, categorical: Sequence[str] = ()
) -> ReferenceProfile:
    """The exact profile of rows that arrive in batches, equal to the profile of all rows at once.

    Profiles are merged in pairs of about equal size, so that n rows cost n log n whatever the batch size.

    Args:
        batches: Frames with the same columns.
        columns: As in `profile`.
        categorical: As in `profile`.
    """
    stack: list[ReferenceProfile] = []
    for batch in batches:
        stack.append(profile(batch, columns=columns, categorical=categorical))
        while len(stack) > 1 and stack[-2].rows <= 2 * stack[-1].rows:
            last = stack.pop()
            stack[-1] = stack[-1].merge(last)
    while len(stack) > 1:
        last = stack.pop()
        stack[-1] = stack[-1].merge(last)
    return stack[0] if stack else ReferenceProfile(rows=0, columns={})


class Scratch:
    """Memory for the values of one column after the other: fresh pages cost as much as the copy into them."""

    def __init__(self) -> None:
        self._held = np.empty(0, np.uint8)

    def copy(self, chunks: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        """The values of one dtype, one after the other, until the next copy is made."""
        size = sum(chunk.nbytes for chunk in chunks)
        if size > len(self._held):
            self._held = np.empty(size, np.uint8)
        return np.concatenate(chunks, out=self._held[:size].view(chunks[0].dtype))


def column_profiles(
    reader: Reader, names: Sequence[str], *, categorical: Collection[str], scratch: Scratch | None = None
) -> Iterator[ColumnProfile]:
    """The exact profiles of columns, one after the other.

    Args:
        reader: Where they are.
        names: Which.
        categorical: Those whose integers or dates are codes.
        scratch: Where the values of one lie until the next is asked for. None: each profile has its own.

    Raises:
        MissingColumnError: One is absent.
        UnsupportedColumnError: One is nested, binary or an object.
    """
    reader.check(names)
    kinds = {name: kind_of(name, reader.schema[name], categorical=name in categorical) for name in names}
    for block in blocks(names):
        counted = [name for name in block if kinds[name] is ValueKind.CATEGORY]
        counts = iter(reader.rows_by_value(counted))
        columns = reader.columns([name for name in block if name not in counted])
        for name in block:
            if name in counted:
                yield _categorical(next(counts))
            else:
                yield _numeric(next(columns), kinds[name], scratch or Scratch())


def _categorical(counts: pl.DataFrame) -> CategoricalProfile:
    there = counts.filter(pl.col(CATEGORY).is_not_null())
    nulls = int(counts.get_column(ROWS).sum()) - int(there.get_column(ROWS).sum())
    return CategoricalProfile(counts=there.sort(CATEGORY), nulls=nulls)


def _numeric(series: pl.Series, kind: ValueKind, scratch: Scratch) -> NumericProfile:
    nulls = series.null_count()
    if kind is ValueKind.NOTHING:
        return NumericProfile(kind=kind, values=np.empty(0, np.float64), nulls=nulls)
    present = to_kind(series.drop_nulls() if nulls else series, kind)
    chunks = [chunk.to_numpy() for chunk in present.get_chunks()]
    values = scratch.copy(chunks)  # the one copy, sorted in place
    values.sort()
    zero = values.dtype.type(0)
    values[np.searchsorted(values, zero) : np.searchsorted(values, zero, side="right")] = 0  # -0.0 too, its equal
    nans = 0
    if values.dtype.kind == "f":
        nans = len(values) - int(np.searchsorted(values, np.nan, side="left"))
        values = values[: len(values) - nans]
    return canonical(NumericProfile(kind=kind, values=values, nulls=nulls, nans=nans))
