"""From reports to JSON values."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar


class Recorded:
    """A report that can be kept: `to_json` gives what `json.dumps(..., allow_nan=False)` takes.

    Attributes:
        derived: Names of properties that are recorded beside the fields.
    """

    derived: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values: instants in ISO 8601, durations in seconds, what is undefined as null."""
        raw = plain(self)
        assert isinstance(raw, dict)
        return raw


def plain(value: Any) -> Any:
    """The JSON values of a value made of dataclasses, mappings, sequences, instants, durations and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        derived = value.derived if isinstance(value, Recorded) else ()
        return {name: plain(getattr(value, name)) for name in (*(field.name for field in fields(value)), *derived)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no place in a record; say that it is undefined, and why")
    return value
