"""A day of a replay built as in operation: Dagster's daemon with its sensors and conditions does it, and the replay waits."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from headwater.lake import Lake
from headwater.replay import ReplayError

if TYPE_CHECKING:
    from headwater.product import Product
    from resources.settings import Settings

_LOOK: Final = 1.0
_STILL: Final = 90.0
"""Seconds in which nothing runs and nothing changes until what is left counts as refused: the sensors try what they missed within that."""
_PATIENCE: Final = 1_800.0
_QUIET: Final = 2
"""Looks in a row that find nothing left: between two, a run may be on its way from one asset to the next."""


class DayNotBuiltError(ReplayError):
    """The daemon did not get a day done, or ended."""


@contextmanager
def daemon_of(settings: "Settings", told: Callable[[str], None]) -> "Iterator[Callable[[], bool]]":
    """Dagster with its daemon, until the end; the one of `headwater up` where that is open over the same state.

    Yields:
        Whether it still runs.
    """
    from headwater.cli._guarded import guarded
    from headwater.cli._up import (
        LOOPBACK,
        AlreadyUpError,
        _begin_storage,
        _dagster,
        _environment,
        _only_one,
        _start,
        _stop,
    )
    from resources.dagster_home import prepare_dagster_home

    try:
        with _only_one(settings.state):
            home = prepare_dagster_home(settings.dagster_home, postgres=settings.postgres)
            port, logs = _free_port(), settings.state / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            variables = _environment(settings.state, home, settings.scratch)
            _begin_storage(home, variables)
            with guarded() as guard:
                dagster = _start(_dagster(port), variables, logs / "dagster.log", guard)
                told(f"Dagster UI  http://{LOOPBACK}:{port}")
                try:
                    yield lambda: dagster.poll() is None
                finally:
                    _stop([dagster])
    except AlreadyUpError:
        told("`headwater up` is open: its daemon builds.")
        yield lambda: True


def wait_until_built(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    is_alive: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Sequence[str]:
    """Waits until the sensors have nothing left to do; what they gave up, as errors.

    Raises:
        DayNotBuiltError: The daemon ended, or is not done within half an hour.
    """
    from resources.dagster_home import dagster_instance

    with dagster_instance(settings) as instance:
        return _waited(lambda: _look(instance, product, lake, settings), settings, is_alive, clock)


def _waited(
    look: "Callable[[], tuple[frozenset[str], bool]]",
    settings: "Settings",
    is_alive: Callable[[], bool],
    clock: Callable[[], float],
) -> Sequence[str]:
    began = since = clock()
    before: frozenset[str] | None = None
    quiet = 0
    while True:
        left, is_running = look()
        quiet = 0 if left or is_running else quiet + 1
        if quiet >= _QUIET:
            return ()
        if left != before or is_running:
            before, since = left, clock()
        elif left and clock() - since > _STILL:
            return [f"{path} is left: no sensor builds it." for path in sorted(left)]
        if not is_alive():
            raise DayNotBuiltError(f"Dagster ended. Its log is {settings.state / 'logs' / 'dagster.log'}.")
        if clock() - began > _PATIENCE:
            raise DayNotBuiltError(
                f"The daemon is not done within {_PATIENCE / 60:.0f} minutes: {', '.join(sorted(left))}."
            )
        time.sleep(_LOOK)


def _look(instance: Any, product: "Product", lake: Lake, settings: "Settings") -> tuple[frozenset[str], bool]:
    """What is left to do, and whether a run is in progress or queued."""
    from sensors._busy import busy_assets

    is_running = bool(busy_assets(instance, frozenset({product.name})))  # first: what it ends with is seen then
    return frozenset(_left(product, lake, settings)), is_running


def _left(product: "Product", lake: Lake, settings: "Settings") -> Iterator[str]:
    """What is stale, and tables in whose feed something waits."""
    from assets._declared import declared
    from assets._plan import stale_assets
    from headwater.materialize import read_positions

    now, assets = lake.at(settings.branch), declared(product)
    for asset in assets:
        if asset.feed is None:
            continue
        waits = asset.feed.backlog(settings.state / asset.feed.folder, read_positions(now, asset.path), 1)
        if waits.records:
            yield asset.path
    for item in stale_assets(lake, assets, branch=settings.branch, landing=settings.landing, snapshot=now):
        yield item.path if item.partition is None else f"{item.path} {item.partition}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found
