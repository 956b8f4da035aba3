"""Pictures in a folder as text that a browser shows. No Dagster."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MEDIA_TYPES: Final[Mapping[str, str]] = {".svg": "image/svg+xml", ".png": "image/png"}
MOST_BYTES: Final = 300_000
"""Dagster keeps what is shown with every event, in its database."""


def pictures(folder: Path, *, most_bytes: int = MOST_BYTES) -> Mapping[str, str]:
    """Markdown images by file name without suffix, sorted: SVG and PNG files that lie in the folder itself.

    Args:
        folder: Where they are.
        most_bytes: Length of all texts; what goes beyond is left out.
    """
    found: dict[str, str] = {}
    room = most_bytes
    for file in sorted(folder.iterdir()):
        if file.suffix not in MEDIA_TYPES or file.stat().st_size > room:
            continue
        data = base64.b64encode(file.read_bytes()).decode("ascii")
        text = f"![{file.stem}](data:{MEDIA_TYPES[file.suffix]};base64,{data})"
        if len(text) <= room:
            found[file.stem] = text
            room -= len(text)
    return found
