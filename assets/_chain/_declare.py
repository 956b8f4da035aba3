"""The parts of a product's declaration that an asset uses, as JSON values for its code version."""

import json
from dataclasses import asdict, is_dataclass
from typing import Any


def declared_values(**parts: Any) -> dict[str, Any]:
    """Each part by name; dataclasses as mappings, everything else as JSON or as its text."""
    found: dict[str, Any] = json.loads(json.dumps({name: _plain(part) for name, part in parts.items()}, default=str))
    return found


def _plain(part: Any) -> Any:
    if isinstance(part, tuple | list):
        return [_plain(item) for item in part]
    return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part
