"""Facts as canonical JSON: sorted, compact where it matters, without NaN, equal for equal facts."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from governance.cards.errors import UnstatableFactError


def canonical(facts: Any, *, without: frozenset[str] = frozenset()) -> str:
    """JSON text of a dataclass, keys sorted, one line a leaf, ending in a newline.

    Args:
        facts: A dataclass instance.
        without: Names of its own fields to leave out.

    Raises:
        UnstatableFactError: A value is NaN, infinite, or of a type that JSON lacks.
    """
    values = {item.name: getattr(facts, item.name) for item in fields(facts) if item.name not in without}
    return json.dumps(_plain(values, ""), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnstatableFactError(where=where, value=repr(value))
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name), f"{where}.{item.name}") for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{number}]") for number, item in enumerate(value)]
    raise UnstatableFactError(where=where, value=type(value).__name__)
