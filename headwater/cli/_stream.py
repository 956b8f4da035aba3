"""`headwater stream`: events that come in one by one, and the online features that they carry on."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from headwater.cli._options import FiniteRange
from headwater.cli._output import json_option, show_json
from headwater.cli._serve import open_store, redis_option
from headwater.cli._signals import ended
from headwater.errors import HeadwaterError
from headwater.names import MAIN

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from headwater.features.online import OnlineStore, OnlineVersion, Refreshed
    from headwater.lake import Lake
    from headwater.product import Product
    from headwater.streams import Counts, StreamSource
    from resources.settings import Settings

_T = TypeVar("_T")
_UNSEEN: Final = timedelta(minutes=1)
"""Clocks differ, and an event is stamped before anybody can read it: so long ago, what had arrived can be read now."""


class NoEventsError(HeadwaterError):
    """A product that declares no events."""

    def __init__(self, *, product: str) -> None:
        super().__init__(
            f"{product!r} declares no events. Give its Product(events=(StreamSource(...),)); docs/streams.md shows how."
        )


class AnotherBranchError(HeadwaterError):
    """Online features that a branch other than main would write."""

    def __init__(self, *, product: str, branch: str) -> None:
        super().__init__(
            f"The online features of {product!r} answer for main, and this is branch {branch!r}, which is not to be seen there. "
            "Merge it first, or try it on main of a lake of its own (HEADWATER_STATE). `headwater stream ingest` takes events on any branch."
        )


@click.group()
def stream() -> None:
    """Streams: events that arrive one by one."""


@stream.command()
@click.argument("name", metavar="PRODUCT")
@json_option
def ingest(name: str, as_json: bool) -> None:
    """Takes what waits in the logs of PRODUCT's streams into the lake, each event once."""
    product, lake, settings = _opened(name)
    found = {path: _counts(counts) for path, counts in ingested(product, lake, settings).items()}
    if as_json:
        show_json(found)
        return
    for path, counts in found.items():
        click.echo(f"{path}: " + ", ".join(f"{value} {what}" for what, value in counts.items()))


@stream.command()
@click.argument("name", metavar="PRODUCT")
@redis_option
@json_option
def refresh(name: str, redis: str | None, as_json: bool) -> None:
    """Adds what PRODUCT's streams say, up to their watermarks, to the online features that a service looks up.

    What was published meanwhile is taken first. Running it again adds nothing twice; run it as often as features shall be fresh.
    Exit code 1 when something that was carried on cannot be any more.
    """
    product, lake, settings = _opened(name, needs_events=False)
    done = refreshed(product, lake, settings, redis=redis)
    if as_json:
        show_json(_told(done))
    else:
        for place, one in done.refreshed.items():
            for view, facts in _views(one).items():
                said = f"{facts['rows']} rows up to {facts['until']}"
                older = "" if place == done.name else f" (older, {place})"
                click.echo(f"{view}{older}: {facts['waits_for'] or said}")
        for what in done.left:
            click.echo(f"Not carried on: {what}")
        click.echo("Rows were added." if done.is_changed else "Nothing new.")
    if done.left:
        raise click.exceptions.Exit(1)


@stream.command()
@click.argument("name", metavar="PRODUCT")
@click.option("--every", type=FiniteRange(1), default=60.0, show_default=True, help="Seconds between two rounds.")
@redis_option
def follow(name: str, every: float, redis: str | None) -> None:
    """Ingests and refreshes PRODUCT's streams round by round, until Ctrl-C or SIGTERM stops it.

    It may be killed at any instant, and several may run at once: each event is taken once. What a log, the lake or the store refuses is
    told, and tried again in the next round; it ingests also where nothing is online yet.
    """
    product, _, settings = _opened(name)
    if product.streams:
        check_branch(product, settings)
    stopped = ended()
    while not stopped.is_set():
        begun = time.monotonic()
        for line in _followed(product, settings, redis, stopped):
            click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {line}")
        stopped.wait(max(0.0, every - (time.monotonic() - begun)))


def _followed(product: "Product", settings: "Settings", redis: str | None, stopped: "threading.Event") -> Iterator[str]:
    """One round, told: what was done, then what was not."""
    from resources.opening import open_lake

    failures: list[str] = []
    lake = _tried("the lake", partial(open_lake, settings, create=False), failures)
    if lake is not None:
        taken: list[int] = []
        begun = datetime.now(UTC) - _UNSEEN
        for source in product.events:
            _tried(source.path, partial(_taken, source, lake, settings, taken, stopped.is_set), failures)
        is_all = not failures and not stopped.is_set()  # every log was read until it had no more
        said = [f"{sum(taken)} events"]
        if product.streams and not stopped.is_set():
            add = partial(_added, product, lake, settings, redis, failures, begun if is_all else None)
            said += filter(None, [_tried("online features", add, failures)])
        yield ", ".join(said)
    yield from (f"failed: {what}" for what in failures)


def _added(
    product: "Product",
    lake: "Lake",
    settings: "Settings",
    redis: str | None,
    failures: list[str],
    read: datetime | None,
) -> str:
    """What a round did to the online features, in words."""
    if not lake.at(MAIN).has(_online(product)):
        return "nothing is online yet"
    done = refreshed(product, lake, settings, redis=redis, read=read)
    failures += (f"{what}; it is not carried on" for what in done.left)
    return f"rows {'added' if done.is_changed else 'as before'}"


def _tried(what: str, call: "Callable[[], _T]", failures: list[str]) -> "_T | None":
    """What a call gives; None, and a line among the failures, where a log, the lake or a store refuses it for now."""
    from headwater.features.errors import FeatureViewError
    from headwater.product import DeclarationError
    from headwater.streams.errors import StreamStateError
    from resources.settings import SettingsError

    try:
        return call()
    except (DeclarationError, FeatureViewError, SettingsError, StreamStateError):  # no later round would go better
        raise
    except (HeadwaterError, OSError) as error:
        failures.append(f"{what}: {error}")
        return None


def ingested(product: "Product", lake: "Lake", settings: "Settings") -> Mapping[str, "Counts"]:
    """Takes what waits in the logs of a product's streams into the lake; what became of it, by stream."""
    return {source.path: _taken(source, lake, settings, [], None) for source in product.events}


def _taken(
    source: "StreamSource", lake: "Lake", settings: "Settings", taken: list[int], stop: "Callable[[], bool] | None"
) -> "Counts":
    """What waits in one log; `taken` gets the rows of each batch, also where a later one fails."""
    from headwater.streams import catch_up
    from resources.opening import open_event_log, this_run

    log = open_event_log(settings, source)
    try:
        return catch_up(
            lake,
            source,
            log,
            run=this_run(),
            progress=lambda done: taken.append(done.counts.taken),
            stop=stop,
            scratch=settings.scratch,
            branch=settings.branch,
        )
    finally:
        log.close()


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one refresh did.

    Attributes:
        name: Where the newest features are published.
        refreshed: What was done, by where they are published: those, and older ones that the release still reads.
        left: What no stream carries on, each a sentence that names it.
    """

    name: str
    refreshed: Mapping[str, "Refreshed"]
    left: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        """Whether any row was added or replaced."""
        return any(one.is_changed for one in self.refreshed.values())


def refreshed(
    product: "Product",
    lake: "Lake",
    settings: "Settings",
    *,
    redis: str | None = None,
    until: datetime | None = None,
    read: datetime | None = None,
) -> Round:
    """One round of `refresh_online` into the store of a service, where the newest features are published first.

    Where the release still reads features of an older shape, these are carried on too.

    Raises:
        AnotherBranchError: The settings name another branch than main.
        PathNotFoundError: No online features were built yet.
    """
    from headwater.cli._carried_on import older_name
    from headwater.features.online._content import read_content
    from serving.publication import is_behind, published, published_for

    check_branch(product, settings)
    snapshot = lake.at(MAIN)
    content = read_content(snapshot.folder(_online(product)))
    older = older_name(lake, product.name)
    store = open_store(settings, redis)
    try:
        precedes = partial(is_behind, lake)
        newest = published_for(store, product.name, content, commit=snapshot.commit.id, precedes=precedes).name
        places = {newest: published(store, newest), **({older: published(store, older)} if older else {})}
        left = [
            f"view {streamed.view!r}: it is not among the published features; build {product.name}"
            for streamed in product.streams
            if (there := places[newest]) is not None and streamed.view not in there.views
        ]
        found: dict[str, Refreshed] = {}
        for place, there in places.items():
            if there is not None:  # no service has come to it: it publishes an older shape itself
                one, more = _extended(product, lake, store, there, until=until, read=read)
                left += more
                found |= {place: one} if one is not None else {}
        return Round(name=newest, refreshed=found, left=tuple(left))
    finally:
        store.close()


def _extended(
    product: "Product", lake: "Lake", store: "OnlineStore", there: "OnlineVersion", **more: Any
) -> "tuple[Refreshed | None, tuple[str, ...]]":
    """What was added to one publication, and what cannot be."""
    from headwater.cli._carried_on import carried
    from headwater.features.errors import MissingColumnError, OnlineTypeError
    from headwater.features.online import refresh_online

    wanted = carried(product, there)
    try:
        return refresh_online(lake, wanted.product, store, name=there.product, **more), wanted.left
    except (MissingColumnError, OnlineTypeError):
        pass
    # A view that was made otherwise is named; the others go on.
    left, done = list(wanted.left), None
    for streamed in wanted.product.streams:
        try:
            one = refresh_online(lake, replace(wanted.product, streams=(streamed,)), store, name=there.product, **more)
        except (MissingColumnError, OnlineTypeError) as error:
            left.append(f"view {streamed.view!r} of {there.product}: {error}")
            continue
        views = {**done.views, **one.views} if done else one.views
        is_changed = one.is_changed or (done is not None and done.is_changed)
        done = replace(one, views=views, is_changed=is_changed)
    return done, tuple(left)


def check_branch(product: "Product", settings: "Settings") -> None:
    """Where features are published is named by the product and their shape: a service on main would answer from another branch's."""
    if settings.branch != MAIN:
        raise AnotherBranchError(product=product.name, branch=settings.branch)


def _online(product: "Product") -> str:
    return f"{product.name}/online_features"


def _opened(name: str, *, needs_events: bool = True) -> "tuple[Product, Lake, Settings]":
    from assets._products import product as find
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings, found = load_settings(), find(name)
    if needs_events and not found.events:
        raise NoEventsError(product=name)
    return found, open_lake(settings, create=False), settings


def _counts(counts: "Counts") -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("taken", "late", "duplicates", "rejected")}


def _told(done: Round) -> dict[str, Any]:
    """The newest features' round as before there were others; those by name."""
    told = {
        name: {"commit": one.commit, "is_changed": one.is_changed, "views": _views(one)}
        for name, one in done.refreshed.items()
    }
    newest = told.pop(done.name, {})
    return {
        **newest,
        "is_changed": done.is_changed,
        "name": done.name,
        "older": told,
        "not_carried_on": list(done.left),
    }


def _views(done: "Refreshed") -> dict[str, Any]:
    return {
        view: {"rows": made.rows, "until": made.until.isoformat() if made.until else None, "waits_for": made.waits_for}
        for view, made in done.views.items()
    }
