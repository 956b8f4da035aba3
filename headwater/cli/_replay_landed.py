"""What a replay is not begun over: times of which nothing is known, another half-played time, and landed files that hold more than its
days would land."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from headwater.product import Product
from headwater.replay import ReplayDay, ReplayError, ReplayProgress, ReplaySource, read_progress

_EDGE: Final = 31
"""So many days at either end of a replay without a request and without a file are a mistake in the time."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A landed file that a day would replace by a shorter one.

    Attributes:
        file: The file, below the landing folder.
        landed: Lines that it has.
        left: Lines that would be left.
    """

    file: str
    landed: int
    left: int


class CutLandedError(ReplayError):
    """A day would replace what has landed by less."""

    def __init__(self, *, day: date, cuts: Iterable[Cut]) -> None:
        said = ", ".join(f"{cut.file} ({cut.landed:,} lines) by {cut.left:,} lines" for cut in cuts)
        super().__init__(
            f"{day} would replace {said}: that has landed already. Begin behind what has landed, "
            "or let trainings see only what was played: land over it with --restart."
        )


class NothingToPlayError(ReplayError):
    """An end of a replay lies where nothing is known."""

    def __init__(self, *, product: str, first: date, last: date) -> None:
        said = f"on {first}" if first == last else f"from {first} to {last}"
        super().__init__(
            f"{product!r} has neither a request nor a file {said}, so there is nothing to play. Check --from and --to."
        )


def require_something(product: str, source: ReplaySource, first: date, last: date) -> None:
    """Refuses a time whose first or last days hold nothing. Raises NothingToPlayError."""
    span = min((last - first).days + 1, _EDGE)
    for offsets, begin in ((range(span), first), (range(span - 1, -1, -1), last - timedelta(days=span - 1))):
        if not any(_has_something(source, begin + timedelta(days=offset)) for offset in offsets):
            raise NothingToPlayError(product=product, first=begin, last=begin + timedelta(days=span - 1))


def _has_something(source: ReplaySource, day: date) -> bool:
    try:
        return any(found.requests or found.files for found in source.days(day, day))
    except OverflowError:  # the day has no midnight in UTC, or none behind it: the year 1, the year 9999
        return False


def next_day(progress: ReplayProgress) -> date:
    """The first day that was not played yet."""
    return date.fromisoformat(max(progress.days)) + timedelta(days=1) if progress.days else progress.first


def held_progress(folder: Path, first: date, *, restart: bool) -> ReplayProgress | None:
    """How far an earlier replay came that this one goes on with, None when it begins anew. One that ended no day hinders no other.

    Raises:
        ReplayError: That one began on another day.
    """
    held = None if restart else read_progress(folder)
    if held is not None and not held.days and held.first != first:
        return None
    if held is not None and held.first != first:
        raise ReplayError(
            f"A replay from {held.first} to {held.last} stands in {folder}. Go on with --from {held.first}, or begin anew with --restart."
        )
    return held


def refuse_cuts(product: Product, landing: Path, day: ReplayDay, progress: ReplayProgress) -> None:
    """Refuses a day that would replace files by shorter ones that this replay has not landed itself. Raises CutLandedError."""
    own = {file for facts in progress.days.values() for file in facts.get("landed", ())}
    cuts = tuple(cut for cut in cuts_of(product, landing, day) if cut.file not in own)
    if cuts and not progress.lands_over:
        raise CutLandedError(day=day.day, cuts=cuts)


def landed_files(product: Product, day: ReplayDay) -> dict[str, bytes]:
    """What a day lands: file below the landing folder to its content."""
    sources = {source.name: source for source in product.sources}
    return {
        f"{product.name}/{sources[name].file_name(partition)}": rows.write_csv().encode()
        for (name, partition), rows in day.files.items()
    }


def cuts_of(product: Product, landing: Path, day: ReplayDay) -> Iterator[Cut]:
    """Which landed files a day would replace by shorter ones."""
    for file, content in landed_files(product, day).items():
        if not (landing / file).is_file():
            continue
        landed, left = (len(held.splitlines()) for held in ((landing / file).read_bytes(), content))
        if left < landed:
            yield Cut(file=file, landed=landed, left=left)
