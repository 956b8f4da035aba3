"""Reads segments, also while they are written and after their writer was killed."""

import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headwater.frames import MARK_BYTES, Frame, decode, next_whole
from serving.prediction_log._segment import SUFFIX
from serving.prediction_log.errors import DamagedLogError, LogError

_NAME: Final = re.compile(rf"\d+-[0-9a-f]{{{2 * MARK_BYTES}}}")
"""Other files are no segments: no writer made them."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One file of the log.

    Attributes:
        name: Its name.
        path: Where it is.
        is_final: Whether nothing more will be written to it: it was ended, or its writer is gone.
    """

    name: str
    path: Path
    is_final: bool


def segments(folder: Path) -> tuple[Segment, ...]:
    """The segments of a log, oldest first; none when the folder is not there."""
    if not folder.is_dir():
        return ()
    found = sorted(file for file in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(file.stem))
    return tuple(Segment(name=file.stem, path=file, is_final=not _is_written(file)) for file in found)


def read_frames(segment: Segment, *, start: int = 0, skip_damage: bool = False) -> Iterator[Frame]:
    """The frames from a byte on, as far as they are whole.

    What follows the last whole frame of a segment was never answered. Of one that is still written, it may be a frame on its way.

    Args:
        segment: The segment.
        start: End of the last frame that was read before, 0 for all.
        skip_damage: Goes on behind bytes that are no frame.

    Raises:
        DamagedLogError: Whole frames stand behind bytes that are none.
        LogError: The file cannot be read.
    """
    data, mark = _read(segment), bytes.fromhex(segment.name.rpartition("-")[2])
    while True:
        while (frame := decode(data, start, mark)) is not None:
            yield frame
            start = frame.end
        after = next_whole(data, start, mark) if segment.is_final else None
        if after is None:
            return
        if not skip_damage:
            raise DamagedLogError(path=str(segment.path), offset=start, after=after)
        start = after


def _is_written(path: Path) -> bool:
    """Whether its writer lives: it holds a lock until it ends."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it ended just now, without a record
        return False
    return False


def _read(segment: Segment) -> bytes:
    try:
        return segment.path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LogError(path=str(segment.path), action="read", reason=error.strerror or str(error)) from error
