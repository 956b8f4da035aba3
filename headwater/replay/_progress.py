"""How far a replay came: enough to go on after a kill, without asking anything twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from headwater.errors import HeadwaterError
from headwater.lake._files import sync

FILE: Final = "replay.json"


class ReplayError(HeadwaterError):
    """A replay cannot go on."""


@dataclass(frozen=True, kw_only=True)
class ReplayProgress:
    """What was played.

    Attributes:
        product: The product.
        first: First day.
        last: Last day.
        commit: The lake's commit before the first day.
        version: The version that was live then: the one that the story never retrains.
        days: Day to facts of it: requests asked, seconds taken, what was live, when it ended.
        lands_over: Whether its days may replace landed files that hold more than they do.
        play: Its number among the plays of this lake, from 1: part of its request ids (`asked_in`). A play that is gone on with keeps it. 0
            is one that began before plays had numbers.
    """

    product: str
    first: date
    last: date
    commit: str
    version: str
    days: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lands_over: bool = False
    play: int = 0


def write_progress(progress: ReplayProgress, folder: Path) -> None:
    """Keeps it, whole or as it was before."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {**asdict(progress), "first": progress.first.isoformat(), "last": progress.last.isoformat()}
    part = folder / f".{FILE}.part"
    part.write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sync(part)
    part.replace(folder / FILE)


def read_progress(folder: Path) -> ReplayProgress | None:
    """What was kept, None when nothing was played. Raises ReplayError."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return ReplayProgress(
            **{**raw, "first": date.fromisoformat(raw["first"]), "last": date.fromisoformat(raw["last"])}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ReplayError(f"{file} cannot be read ({error}). Remove {folder} to begin the replay anew.") from error
