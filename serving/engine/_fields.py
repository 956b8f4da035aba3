"""Checks the fields of a request against a request schema, and gives their values as training had them."""

import difflib
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from headwater.features.online._rows import microseconds
from headwater.models import FieldType, RequestField, RequestSchema
from serving.engine.errors import FieldsError, RequestTimeError

_WHOLE: Final = range(-(2**63), 2**63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NAMED: Final = 20
"""Fields that an error names: neither it nor the time it takes may grow with what somebody sends."""
_LONGEST_NAME: Final = 60
_Read = Callable[[Any], Any]


class _WrongError(Exception):
    """A value that its field cannot have."""


class RequestFields:
    """Reads requests of one schema."""

    def __init__(self, product: str, schema: RequestSchema) -> None:
        """Prepares the fields."""
        self._product = product
        self._known = {field.name: field for field in schema.fields}
        self._readers = tuple((field.name, _reader(field), field.required) for field in schema.fields)
        self._optional = {field.name: None for field in schema.fields if not field.required}
        self._zone = ZoneInfo(schema.zone) if schema.zone is not None else None
        self._time = schema.time

    def read(self, raw: Any) -> dict[str, Any]:
        """The values of all fields; optional ones that are absent are None.

        Raises:
            FieldsError: Fields are missing, unknown, or of other types; all are named.
        """
        if type(raw) is not dict:
            raise FieldsError(product=self._product, fields={"entity": f"is {shown(raw)}, not an object of fields"})
        try:
            found = {name: read(raw[name]) for name, read, _ in self._readers if name in raw}
        except _WrongError:
            found = {}
        if len(found) != len(self._readers) or len(raw) != len(found):
            if problems := dict(islice(self._problems(raw), _MOST_NAMED)):
                raise FieldsError(product=self._product, fields=problems)
            found = {**self._optional, **found}
        return found

    def time(self, raw: Any) -> int:
        """A prediction time in microseconds since 1970. Raises RequestTimeError."""
        try:
            moment = _instant(raw, self._zone)
        except _WrongError as error:
            raise RequestTimeError(time=shown(raw), problem=str(error)) from error
        return microseconds(moment)

    def moment(self, at: int) -> datetime:
        """A prediction time as training had it."""
        moment = _EPOCH + timedelta(microseconds=at)
        return moment.replace(tzinfo=None) if self._zone is None else moment.astimezone(self._zone)

    def _problems(self, raw: Mapping[str, Any]) -> Any:
        for name, read, required in self._readers:
            if name not in raw:
                if required:
                    yield name, "is missing"
                continue
            try:
                read(raw[name])
            except _WrongError as error:
                yield name, str(error)
        for name in raw:
            if name not in self._known:
                yield name[:_LONGEST_NAME], self._unknown(name[:_LONGEST_NAME])

    def _unknown(self, name: str) -> str:
        if name == self._time:
            return "is the prediction time: it stands beside the entity, as 'time'"
        near = difflib.get_close_matches(name, self._known, n=1)
        return f"is no field; did you mean {near[0]!r}" if near else f"is no field; fields are {', '.join(self._known)}"


def _reader(field: RequestField) -> _Read:
    match field.dtype:
        case FieldType.INT64:
            return _whole_within(field)
        case FieldType.FLOAT64:
            return _number if field.within is None else _number_within(*field.within)
        case FieldType.STRING:
            return _text
        case FieldType.BOOLEAN:
            return _flag
        case FieldType.DATE:
            return _day
        case FieldType.TIME:
            zone = ZoneInfo(field.zone) if field.zone is not None else None
            return lambda raw: None if raw is None else _instant(raw, zone)


def _whole_within(field: RequestField) -> _Read:
    low, high = map(int, field.within or ())
    held = range(low, high + 1)
    wanted = "a whole number of 64 bits" if held == _WHOLE else f"a whole number from {low} to {high}"

    def whole(raw: Any) -> int | None:
        if type(raw) is int and raw in held:
            return raw
        if raw is None:
            return None
        if type(raw) is float and raw.is_integer() and int(raw) in held:  # JSON has one kind of number
            return int(raw)
        raise _WrongError(f"is {shown(raw)}, not {wanted}")

    return whole


def _number(raw: Any) -> float | None:
    kind = type(raw)
    if kind is float and math.isfinite(raw):
        return raw
    if raw is None:
        return None
    if kind is int and raw in _WHOLE:
        return float(raw)
    raise _WrongError(f"is {shown(raw)}, not a finite number")


def _number_within(low: float, high: float) -> _Read:
    def number(raw: Any) -> float | None:
        found = _number(raw)
        if found is None or low <= found <= high:
            return found
        raise _WrongError(f"is {shown(raw)}, not a number from {low:g} to {high:g}")

    return number


def _text(raw: Any) -> str | None:
    if type(raw) is str or raw is None:
        return raw
    raise _WrongError(f"is {shown(raw)}, not a text")


def _flag(raw: Any) -> bool | None:
    if raw is None or type(raw) is bool:
        return raw
    raise _WrongError(f"is {shown(raw)}, neither true nor false")


def _day(raw: Any) -> date | None:
    if raw is None:
        return None
    if type(raw) is str:
        try:
            return date.fromisoformat(raw)
        except ValueError:
            pass
    raise _WrongError(f"is {shown(raw)}, not a date such as 2013-07-01")


def _instant(raw: Any, zone: ZoneInfo | None) -> datetime:
    if type(raw) is str:
        try:
            found = datetime.fromisoformat(raw)
            if (found.tzinfo is None) is (zone is None):
                return found if zone is None else found.astimezone(zone)
        except (ValueError, OverflowError):
            pass
    example = "2013-07-01T12:00:00" if zone is None else "2013-07-01T12:00:00Z"
    raise _WrongError(f"is {shown(raw)}, not a time {'without' if zone is None else 'with'} a zone such as {example}")


def shown(raw: Any) -> str:
    """A value that somebody sent, for an error: short, however long or deep it is."""
    if isinstance(raw, str):
        raw = raw[:60]
    elif isinstance(raw, list | dict):
        return "a list" if isinstance(raw, list) else "an object"
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."
