"""Facts as strict JSON: what a function or a check reports is made plain before anything is published."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from headwater.errors import HeadwaterError


class FactError(HeadwaterError):
    """A fact that no JSON can hold."""

    def __init__(self, *, name: str, found: str) -> None:
        self.name, self.found = name, found
        super().__init__(
            f"Fact {name!r} is a {found}, which JSON cannot hold. Report numbers, texts, lists or mappings."
        )


def plain_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts as JSON reads them back.

    A number that is not finite becomes null, which means undefined; instants become ISO 8601, decimals and paths text,
    durations seconds, bytes hex; NumPy and Polars values become Python's.

    Raises:
        FactError: A value has no plain form.
    """
    return {str(key): _plain(value, str(key)) for key, value in facts.items()}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, name)
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), name)
    if isinstance(value, Mapping):
        return {str(_plain(key, name)): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, name) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, name) for item in value), key=repr)
    return _plain_object(value, name)


def _plain_object(value: Any, name: str) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | PurePath):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, pl.Series):
        return _plain(value.to_list(), name)
    if isinstance(value, pl.DataFrame):
        return _plain(value.to_dicts(), name)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), name) for field in fields(value)}
    if isinstance(value, int):
        return int(value)
    raise FactError(name=name, found=type(value).__qualname__)
