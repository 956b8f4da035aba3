"""Room on the disk of the state folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from headwater.watching._samples import Sample


def read_disk(state: Path) -> Iterator[Sample]:
    """Free and whole size of the disk that a state folder is on. Raises OSError."""
    found = shutil.disk_usage(state)
    yield Sample(name="disk_free_bytes", value=found.free)
    yield Sample(name="disk_size_bytes", value=found.total)
