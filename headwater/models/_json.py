"""One way to write JSON: the same value gives the same bytes, and NaN is refused rather than invented."""

import hashlib
import json
from pathlib import Path
from typing import Any

from headwater.models.errors import RecordError


def to_text(value: Any) -> str:
    """Readable JSON with sorted keys and a final newline."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def digest(value: Any) -> str:
    """Sha256 (hex) of the compact JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def from_text(text: str, *, record: str) -> dict[str, Any]:
    """The JSON object in `text`.

    Raises:
        RecordError: It is not a JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RecordError(record=record, reason=f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(record=record, reason=f"it is a JSON {type(value).__name__}, not an object")
    return value


def file_digest(path: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
