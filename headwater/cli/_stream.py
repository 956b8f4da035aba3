"""`headwater stream`: events that come in one by one, and the online features that they carry on."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from headwater.cli._output import json_option, show_json
from headwater.cli._serve import open_store, redis_option
from headwater.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.features.online import Refreshed
    from headwater.lake import Lake
    from headwater.product import Product
    from headwater.streams import Counts
    from resources.settings import Settings


class NoEventsError(HeadwaterError):
    """A product that declares no events."""

    def __init__(self, *, product: str) -> None:
        super().__init__(
            f"{product!r} declares no events. Give its Product(events=(StreamSource(...),)); docs/streams.md shows how."
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
    """
    product, lake, settings = _opened(name, needs_events=False)
    done = refreshed(product, lake, settings, redis=redis)
    if as_json:
        show_json(_told(done))
        return
    for view, facts in _told(done)["views"].items():
        said = f"{facts['rows']} rows up to {facts['until']}"
        click.echo(f"{view}: {facts['waits_for'] or said}")
    click.echo("Rows were added." if done.is_changed else "Nothing new.")


@stream.command()
@click.argument("name", metavar="PRODUCT")
@click.option("--every", type=click.FloatRange(1), default=60.0, show_default=True, help="Seconds between two rounds.")
@redis_option
def follow(name: str, every: float, redis: str | None) -> None:
    """Ingests and refreshes PRODUCT's streams round by round, until it is stopped.

    It may be killed at any instant, and several may run at once: each event is taken once.
    """
    product, lake, settings = _opened(name)
    while True:
        begun = time.monotonic()
        counts = ingested(product, lake, settings)
        done = refreshed(product, lake, settings, redis=redis)
        taken = sum(each.taken for each in counts.values())
        click.echo(
            f"{datetime.now().astimezone():%H:%M:%S}  {taken} events, rows {'added' if done.is_changed else 'as before'}"
        )
        time.sleep(max(0.0, every - (time.monotonic() - begun)))


def ingested(product: "Product", lake: "Lake", settings: "Settings") -> Mapping[str, "Counts"]:
    """Takes what waits in the logs of a product's streams into the lake; what became of it, by stream."""
    from headwater.streams import catch_up
    from resources.opening import open_event_log, this_run

    found = {}
    for source in product.events:
        log = open_event_log(settings, source)
        try:
            found[source.path] = catch_up(
                lake, source, log, run=this_run(), scratch=settings.scratch, branch=settings.branch
            )
        finally:
            log.close()
    return found


def refreshed(
    product: "Product", lake: "Lake", settings: "Settings", *, redis: str | None = None, until: datetime | None = None
) -> "Refreshed":
    """One round of `refresh_online` into the store of a service, where the newest features are published first."""
    from headwater.features.online import refresh_online
    from headwater.features.online._content import read_content
    from serving.publication import is_published, store_name

    snapshot = lake.at(settings.branch)
    content = read_content(snapshot.folder(f"{product.name}/online_features"))
    place, store = store_name(product.name, content), open_store(settings, redis)
    try:
        if not is_published(store, place, content):  # no service has come to it yet
            store.publish(place, content, commit=snapshot.commit.id)
        return refresh_online(lake, product, store, name=place, until=until, ref=settings.branch)
    finally:
        store.close()


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


def _told(done: "Refreshed") -> dict[str, Any]:
    views = {
        view: {"rows": made.rows, "until": made.until.isoformat() if made.until else None, "waits_for": made.waits_for}
        for view, made in done.views.items()
    }
    return {"commit": done.commit, "is_changed": done.is_changed, "views": views}
