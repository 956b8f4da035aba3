"""Which play of its lake a replay is: begun anew, or gone on with under the ids that it had."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli._replay_landed import held_progress
from headwater.lake import Lake
from headwater.replay import ReplayDay, ReplayError, ReplayProgress, asked_in, newest_play, read_progress

if TYPE_CHECKING:
    from headwater.product import Product
    from resources.settings import Settings


def begun(
    product: "Product", lake: Lake, settings: "Settings", folder: Path, first: date, last: date, *, restart: bool
) -> ReplayProgress:
    """How far the play has come that this replay is or goes on with.

    Args:
        product: The product.
        lake: Its lake.
        settings: Which branch.
        folder: Where the replay keeps things.
        first: First day.
        last: Last day.
        restart: Whether it is another play in any case.

    Raises:
        ReplayError: Nothing is released, or another time is half played.
    """
    from headwater.registry import live_version

    held = held_progress(folder, first, restart=restart)
    if held is not None and held.days:
        return replace(held, last=max(last, *map(date.fromisoformat, held.days)))
    live = live_version(lake, product.name, ref=settings.branch)
    if live is None:
        raise ReplayError(f"Nothing of {product.name!r} is released. Build it first: `headwater build {product.name}`.")
    played = _newest_play(product, lake, settings)
    fresh = ReplayProgress(
        product=product.name,
        first=first,
        last=last,
        commit=lake.resolve(settings.branch).id,
        version=live,
        lands_over=restart or (held is not None and held.lands_over),
        play=max(played, _kept_play(folder)) + 1,
    )
    if held is None or not held.play or held.version != live:
        return fresh
    # It ended no day: what was built since it began is its own only if something that it asked is there.
    return replace(held, last=last) if held.play == played else replace(fresh, play=held.play)


def asked(day: ReplayDay, play: int) -> ReplayDay:
    """A day with its requests under the ids of a play."""
    return replace(day, requests=tuple(one._replace(id=asked_in(play, one.id)) for one in day.requests))


def _newest_play(product: "Product", lake: Lake, settings: "Settings") -> int:
    """The newest play whose answers are in the lake; 0 without any."""
    from assets._chain._paths import ChainPaths

    path, snapshot = ChainPaths(product=product.name).predictions, lake.at(settings.branch)
    return newest_play(snapshot.table(path)) if snapshot.has(path) else 0


def _kept_play(folder: Path) -> int:
    """The play that stands in the folder: what it asked may not be in the lake yet. 0 where none can be read, to be begun anew over."""
    try:
        held = read_progress(folder)
    except ReplayError:
        return 0
    return held.play if held is not None else 0
