"""`headwater log`: what waits in the logs of answers and of failures, and taking it into the lake."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from headwater.cli._output import json_option, show_rows
from headwater.errors import HeadwaterError
from headwater.materialize import Outcome, Status

if TYPE_CHECKING:
    from headwater.feeds import Positions
    from headwater.lake import Lake
    from headwater.product import Asset
    from resources.settings import Settings

_EVERY: Final = 2**62
COLUMNS: Final = ("product", "log", "segments", "bytes", "damaged", "waiting", "oldest_seconds")
"""What `headwater log status` shows."""
_TAKEN: Final = ("appended", "repeated", "contrary", "unreadable", "expired")
"""What becomes of the records that a build takes out of a log."""


class StandsStillError(HeadwaterError):
    """A build left records that wait, and everything else as it was."""

    def __init__(self, *, path: str, waiting: int) -> None:
        self.path, self.waiting = path, waiting
        super().__init__(
            f"'{path}' stands still: {waiting:,} records wait in its log, and a build took none of them and changed nothing, as the "
            "next one would. They are safe there, but the log grows. What its builds did stands in their runs in the UI: look there, "
            "and compare the table's columns with what the product declares."
        )


@click.group()
def log() -> None:
    """Prediction logs: what was answered, on its way into the lake."""


@log.command()
@click.option("--product", help="This product's log alone.")
@json_option
def status(product: str | None, as_json: bool) -> None:
    """What waits in each product's logs, of answers and of failures. Exit code 1 when a segment is damaged."""
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    lake = open_lake(settings)
    fed = [*fed_assets(product), *fed_assets(product, failures=True)]
    rows = sorted((_waiting(lake, settings, asset) for asset in fed), key=lambda row: row["product"])
    show_rows(rows, COLUMNS, as_json=as_json, empty="No product has a prediction log.")
    if any(row["damaged"] for row in rows):
        raise click.exceptions.Exit(1)


@log.command()
@click.option("--product", help="This product's log alone.")
@json_option
def compact(product: str | None, as_json: bool) -> None:
    """Takes what waits into each product's predictions, and its failures into theirs.

    What keeps a product from it is told, and the others are taken all the same. Exit code 1 when something was refused or a segment
    is damaged, 2 when a product could not be compacted.
    """
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    lake = open_lake(settings)
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    is_whole = True
    for failures in (False, True):
        for asset in fed_assets(product, failures=failures):
            done: list[dict[str, Any]] = []
            try:
                done.extend(_compact(lake, settings, asset))
                is_taken = done[-1]["status"] != Status.REFUSED
            except HeadwaterError as error:
                click.echo(f"headwater: {error}", err=True)
                is_whole = is_taken = False
            rows += [row for row in done if not failures or _is_told(row)]
            damaged += _damage(lake, settings, asset, done, is_taken=is_taken)
    columns = ("path", "status", "appended", "repeated", "contrary", "unreadable", "expired", "dropped", "rows")
    empty = "No product has a prediction log." if is_whole else "Nothing was taken."
    show_rows(rows, columns, as_json=as_json, empty=empty)
    for line in damaged:
        click.echo(line, err=True)
    if not is_whole:
        raise click.exceptions.Exit(2)
    if damaged or any(row["status"] == Status.REFUSED for row in rows):
        raise click.exceptions.Exit(1)


def _damage(
    lake: "Lake", settings: "Settings", asset: "Asset", rows: Sequence[Mapping[str, Any]], *, is_taken: bool
) -> Iterator[str]:
    """A line for each damaged segment of a log that its builds told of, and one for what waits there.

    Args:
        lake: The lake.
        settings: Where the log is.
        asset: The table that is fed from it.
        rows: What its builds said, in order. Each tells of all damaged segments that it found, also of those that were there before.
        is_taken: Whether nothing kept the builds from taking all that waited.
    """
    from serving.prediction_log import damaged_segments

    assert asset.feed is not None
    names = {name for row in rows for name in row.get("damaged") or ()}
    aside = damaged_segments(settings.state / asset.feed.folder)
    for name in sorted(names, key=lambda name: (name not in aside, name)):
        said = f"headwater: '{asset.path}' lacks records: {name} in its log held bytes that are none."
        if name not in aside:
            yield f"{said}{' All others were taken.' if is_taken else ''} It is still in the log: leave it there."
            continue
        yield (
            f"{said} All others{'' if is_taken else ' in it'} were taken, and it is kept with the ending .damaged: look at the disk, and "
            "delete it when it is clear why."
        )
    if names and not is_taken and (waits := _left(lake, settings, asset)):
        took = sum(row.get(name) or 0 for row in rows if row["status"] != Status.REFUSED for name in _TAKEN)
        said = f"headwater: '{asset.path}': the builds above took {took:,} {'record' if took == 1 else 'records'} of its log"
        yield f"{said}{'; the last one was refused' if rows[-1]['status'] == Status.REFUSED else ''}, and {waits}."


def _left(lake: "Lake", settings: "Settings", asset: "Asset") -> str:
    """What waits in a log, in words; empty where nothing does."""
    try:
        waiting = _waiting(lake, settings, asset)["waiting"]
    except HeadwaterError as error:
        return f"what waits there cannot be counted ({error})"
    return f"{waiting:,} {'waits' if waiting == 1 else 'wait'} there" if waiting else ""


def _is_told(row: dict[str, Any]) -> bool:
    """Whether there were failures at all."""
    told = ("appended", "unreadable", "expired", "damaged")
    return row["status"] == Status.REFUSED or any(row.get(name) for name in told)


def fed_assets(name: str | None, *, failures: bool = False) -> "list[Asset]":
    """The predictions of some products, or what the service could not answer."""
    from assets._chain._paths import ChainPaths
    from assets._declared import declared
    from assets._products import product as find
    from assets._products import products

    chosen = [find(name)] if name else list(products())
    every = [ChainPaths(product=product.name) for product in chosen]
    paths = {one.service_failures if failures else one.predictions for one in every}
    return [asset for product in chosen for asset in declared(product) if asset.path in paths]


def _waiting(lake: "Lake", settings: "Settings", asset: "Asset") -> dict[str, Any]:
    from headwater.materialize import read_positions
    from serving.prediction_log import damaged_segments, log_bytes, segments

    assert asset.feed is not None
    folder = settings.state / asset.feed.folder
    found = asset.feed.backlog(folder, read_positions(lake.at(settings.branch), asset.path), _EVERY)
    age = (datetime.now(UTC) - found.oldest).total_seconds() if found.oldest is not None else None
    return {
        "product": asset.product,
        "log": asset.path.rpartition("/")[2],
        "segments": len(segments(folder)),
        "bytes": log_bytes(folder),
        "damaged": len(damaged_segments(folder)),
        "waiting": found.records,
        "oldest": found.oldest,
        "oldest_seconds": None if age is None else round(age, 1),
    }


def _compact(lake: "Lake", settings: "Settings", asset: "Asset") -> Iterator[dict[str, Any]]:
    """One row for each transaction: as many as it takes until nothing waits.

    Raises:
        StandsStillError: One said that more waits, and changed nothing.
    """
    from headwater.materialize import materialize
    from resources.opening import this_run
    from resources.tracing import traced

    run, more = this_run(), True

    def build() -> Outcome:
        return materialize(lake, asset, run=run, scratch=settings.scratch, state=settings.state, branch=settings.branch)

    while more:
        before = _standing(lake, settings, asset)
        outcome = traced(build, asset=asset, partition=None, run_id="", lake=lake, settings=settings)
        refused = outcome.status is Status.REFUSED
        more = not refused and bool(outcome.facts.get("more"))
        rows = outcome.entry.rows if outcome.entry and not refused else None
        yield {"path": asset.path, "status": outcome.status.value, "rows": rows, **outcome.facts}
        if more and _standing(lake, settings, asset) == before:
            raise StandsStillError(path=asset.path, waiting=_waiting(lake, settings, asset)["waiting"])


def _standing(lake: "Lake", settings: "Settings", asset: "Asset") -> tuple[str, "Positions"]:
    """What a build that gets on changes: the table, or up to where its feed was taken."""
    from headwater.materialize import read_positions

    now = lake.at(settings.branch)
    return now.entry(asset.path).data_version if now.has(asset.path) else "", read_positions(now, asset.path)
