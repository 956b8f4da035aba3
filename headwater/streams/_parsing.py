"""From an event's bytes to a row, or to the reason why it is none. Pure; nothing that arrives can raise."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import polars as pl

from headwater.streams._declaration import TIME, StreamSource
from headwater.streams._interface import LogEvent
from headwater.streams._times import EARLIEST, LATEST, as_time, in_microseconds, length

_INT64: Final = 2**63
_SHOWN: Final = 120


class Reason(StrEnum):
    """Why an event was rejected."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    AHEAD_OF_TIME = "ahead_of_time"
    ID_TAKEN = "id_taken"


class Row(NamedTuple):
    """An event that can be a row.

    Attributes:
        values: In the order of the declared columns; times in microseconds since 1970.
        time: Its event time, in microseconds since 1970.
        event: As the log has it. It could be known from when the log took it.
    """

    values: tuple[Any, ...]
    time: int
    event: LogEvent


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """An event that can be no row, with the reason and a sentence that names the field."""

    event: LogEvent
    reason: Reason
    detail: str


class _BadError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail


def parser(source: StreamSource) -> Callable[[LogEvent], Row | Rejected]:
    """What makes rows of a source's events."""
    fields = [(name, _READERS[dtype], name in source.optional) for name, dtype in source.schema.items()]
    place = list(source.schema).index(source.event_time)
    ahead = length(source.allowed_ahead)

    def parse(event: LogEvent) -> Row | Rejected:
        try:
            found = _object(event.data)
            values = tuple(_value(found, name, read, optional) for name, read, optional in fields)
            if values[place] > event.appended + ahead:
                said = f"{source.event_time!r} is {as_time(values[place])}, and the event arrived at {as_time(event.appended)}"
                raise _BadError(Reason.AHEAD_OF_TIME, said)
        except _BadError as bad:
            return Rejected(event=event, reason=bad.reason, detail=bad.detail)
        return Row(values, values[place], event)

    return parse


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:  # also of bytes that are no UTF-8
        raise _BadError(Reason.NOT_JSON, f"{type(error).__name__}: {_short(str(error))}") from error
    if not isinstance(found, dict):
        raise _BadError(Reason.NOT_AN_OBJECT, f"it is a {type(found).__name__}, not an object with fields")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number)


def _value(found: dict[str, Any], name: str, read: Callable[[Any], Any], optional: bool) -> Any:
    value = found.get(name)
    if value is None:
        if optional:
            return None
        raise _BadError(Reason.MISSING, f"{name!r} is {'null' if name in found else 'absent'}")
    try:
        return read(value)
    except (ValueError, OverflowError) as error:
        shown = _short(repr(value)) if type(value) in (str, int, float, bool) else f"a {type(value).__name__}"
        said = f"{name!r} is {shown}: {_short(str(error))}"
        raise _BadError(Reason.WRONG_TYPE, said) from error


def _short(text: str) -> str:
    """A beginning that any table can hold: half a character of a text is shown, not kept."""
    return text[:_SHOWN].encode("utf-8", "backslashreplace").decode()


def _integer(value: Any) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise ValueError("a whole number of 64 bits is wanted")
    return value


def _float(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(number := float(value)):
        raise ValueError("a finite number is wanted")
    return number


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a text is wanted")
    value.encode()  # half a character has no UTF-8
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false is wanted")
    return value


def _time(value: Any) -> int:
    if type(value) is str:
        value = in_microseconds(datetime.fromisoformat(value))
    elif type(value) is not int:
        raise ValueError("ISO 8601 with a zone, or whole microseconds since 1970, are wanted")
    if not EARLIEST <= value <= LATEST:
        raise ValueError("the years 1 to 9999 are wanted")
    return int(value)


_READERS: Final[dict[pl.DataType, Callable[[Any], Any]]] = {
    pl.Int64(): _integer,
    pl.Float64(): _float,
    pl.String(): _text,
    pl.Boolean(): _boolean,
    TIME: _time,
}
