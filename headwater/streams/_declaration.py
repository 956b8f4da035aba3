"""What a user declares of a stream: its columns, its times, and what becomes of late and doubled events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.lengths import LONGEST
from headwater.materialize import REJECTED_SUFFIX
from headwater.names import check_path
from headwater.product import DeclarationError

TIME: Final = pl.Datetime("us", "UTC")
KNOWN_AT, LOG_PARTITION, LOG_OFFSET = "known_at", "log_partition", "log_offset"
ADDED: Final[Mapping[str, pl.DataType]] = {KNOWN_AT: TIME, LOG_PARTITION: pl.Int32(), LOG_OFFSET: pl.Int64()}
"""Columns beside the declared ones: when the log took the event, and its place there."""
WATERMARK: Final = "watermark"
LATE_SUFFIX, OFFSETS_SUFFIX = ".late", ".offsets"
_KINDS: Final = (pl.Int64(), pl.Float64(), pl.String(), pl.Boolean(), TIME)
_NO_KEYS: Final = (pl.Float64(),)


class Late(StrEnum):
    """What becomes of an event that lies behind the watermark.

    `APART` keeps it in `<path>.late`: what was computed up to the watermark stays what it was. `MERGED` puts it among the
    others, for tables whose readers look at `known_at` or compute everything anew.
    """

    APART = "apart"
    MERGED = "merged"


@dataclass(frozen=True, kw_only=True)
class StreamSource:
    """Events that arrive one by one in a log, as JSON objects, and become rows of the table at `path`.

    Attributes:
        path: Lake path of the table. Beside it lie `<path>.late`, `<path>.rejected` and `<path>.offsets`.
        columns: Field of an event to its dtype: Int64, Float64, String, Boolean, or Datetime("us", "UTC") (ISO 8601 text with
            a zone, or whole microseconds since 1970). Other fields of an event are passed over.
        event_time: The column that says when what the event describes happened.
        id: Columns that name an event: a second one with the same values is a duplicate.
        optional: Columns that may be absent or null.
        allowed_lateness: How far the watermark stays behind the newest event time. More waits longer, less makes more events late.
        duplicate_horizon: Two events of one id are duplicates when their event times are at most so far apart.
        allowed_ahead: How far an event time may lie behind the moment at which the log took the event. One farther in the
            future is rejected: it would drag the watermark past all others.
        idle_after: A partition without events for so long, by the log's times, does not hold the watermark back.
        arrives_within: An event is in the log at most so long after its event time, as a rule. Streamed views need it: they count
            what takes longer as they count late events. None says nothing.
        late: What becomes of late events.
        owners: `team:x` or an email.
        description: One sentence.
    """

    path: str
    columns: Mapping[str, pl.DataType | type[pl.DataType]]
    event_time: str
    id: tuple[str, ...]
    optional: tuple[str, ...] = ()
    allowed_lateness: timedelta = timedelta(minutes=5)
    duplicate_horizon: timedelta = timedelta(days=1)
    allowed_ahead: timedelta = timedelta(minutes=5)
    idle_after: timedelta = timedelta(minutes=5)
    arrives_within: timedelta | None = None
    late: Late = Late.APART
    owners: tuple[str, ...] = ()
    description: str = ""
    schema: pl.Schema = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_path(self.path + REJECTED_SUFFIX)
        schema = {name: dtype() if isinstance(dtype, type) else dtype for name, dtype in self.columns.items()}
        object.__setattr__(self, "schema", pl.Schema(schema))
        self._check_columns()
        for name in ("allowed_lateness", "duplicate_horizon", "allowed_ahead", "idle_after", "arrives_within"):
            length = getattr(self, name)
            if length is not None and not timedelta(0) <= length <= LONGEST:
                raise self._error(f"its {name} is {length}.", f"Give zero or more, {LONGEST} at most.")

    def _check_columns(self) -> None:
        for name, dtype in self.schema.items():
            if dtype not in _KINDS:
                raise self._error(
                    f"column {name!r} is {dtype}.", f"An event's columns are {', '.join(map(str, _KINDS))}."
                )
            if name in ADDED or name == WATERMARK or name.startswith("__"):
                raise self._error(f"column {name!r} has a name that Headwater adds itself.", "Call it otherwise.")
        named = (self.event_time, *self.id, *self.optional)
        if unknown := [name for name in named if name not in self.schema]:
            raise self._error(f"it names {', '.join(map(repr, unknown))}.", "Declare the column.")
        if self.schema[self.event_time] != TIME:
            raise self._error(f"event time {self.event_time!r} is {self.schema[self.event_time]}.", f"Make it {TIME}.")
        if not self.id or any(self.schema[name] in _NO_KEYS for name in self.id):
            raise self._error("no event can be told from another.", "Declare id columns, none of them Float64.")
        if taken := sorted({self.event_time, *self.id} & set(self.optional)):
            raise self._error(f"{', '.join(map(repr, taken))} may be absent.", "An event has its time and its id.")

    def _error(self, problem: str, remedy: str) -> DeclarationError:
        return DeclarationError(what="StreamSource", name=self.path, problem=problem, remedy=remedy)

    @property
    def late_path(self) -> str:
        """Where late events are kept when they are kept apart."""
        return self.path + LATE_SUFFIX

    @property
    def rejected_path(self) -> str:
        """Where events are kept that are none, with the reason."""
        return self.path + REJECTED_SUFFIX

    @property
    def offsets_path(self) -> str:
        """The folder that says how far the log was read, and where the watermark stands."""
        return self.path + OFFSETS_SUFFIX

    @property
    def rows_schema(self) -> pl.Schema:
        """Of the table: the declared columns, and those that are added."""
        return pl.Schema({**self.schema, **ADDED})

    @property
    def declared(self) -> Mapping[str, Any]:
        """What the tables depend on, as JSON, for the code version."""
        return {
            "columns": {name: str(dtype) for name, dtype in self.schema.items()},
            "event_time": self.event_time,
            "id": list(self.id),
            "optional": sorted(self.optional),
            "seconds": {
                name: getattr(self, name).total_seconds()
                for name in ("allowed_lateness", "duplicate_horizon", "allowed_ahead", "idle_after")
            },
            "late": str(self.late),
        }
