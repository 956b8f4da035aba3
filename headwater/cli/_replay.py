"""`headwater replay`: a past time played again through the real parts, and its story."""

import calendar
import re
import time
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import click

from headwater.cli._options import FiniteRange
from headwater.cli._output import console, json_option, show_json
from headwater.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.product import Product
    from headwater.replay import ReplaySource

_DAY_OR_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")
_MONTH: Final = 7
"""Characters of `YYYY-MM`."""


class NoReplayError(HeadwaterError):
    """A product that has no past to play."""

    def __init__(self, *, product: str) -> None:
        super().__init__(
            f"{product!r} declares no replay. Give its Product(replay=...); assets/flights/replay.py shows how."
        )


@click.command()
@click.argument("name", metavar="PRODUCT")
@click.option("--from", "first", required=True, help="First day or month: 2013-07-01 or 2013-07.")
@click.option("--to", "last", required=True, help="Last day or month, inclusive.")
@click.option("--speed", type=FiniteRange(0, min_open=True), help="Days a minute at most. Default: as fast as it goes.")
@click.option(
    "--every-table", is_flag=True, help="Build every table every day, also those that nothing reads before a training."
)
@click.option(
    "--by-sensors",
    is_flag=True,
    help="Let Dagster's daemon build each day, by its sensors and conditions as in operation: minutes a day.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be played.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin another play: forget how far an earlier one came. What that landed stays, and is landed over day by day, "
    "as every landed file is that holds more than a day that is played. What it answered stays, and counts no more.",
)
@json_option
def replay(
    name: str,
    first: str,
    last: str,
    speed: float | None,
    every_table: bool,
    by_sensors: bool,
    dry_run: bool,
    restart: bool,
    as_json: bool,
) -> None:
    """Plays a past time again: requests go to a real service, files land day by day, what is out of date is built, decisions fall.

    Killed, it goes on where it was when it is started again: what was asked is asked under the same id, and counts once. At the end,
    and whenever it is interrupted, its story stands in the state folder under replay/PRODUCT/index.html.
    """
    from assets._products import product as find

    product = find(name)
    begin, end = _day(first, "--from", is_last=False), _day(last, "--to", is_last=True)
    if end < begin:
        raise click.BadParameter(f"{last} is before {first}.", param_hint="--to")
    source = _source(product)
    if dry_run:
        _tell_plan(product, source, begin, end, restart=restart, as_json=as_json)
        return
    from headwater.cli._replay_run import play

    facts = play(
        product,
        source,
        begin,
        end,
        restart=restart,
        every_table=every_table,
        by_sensors=by_sensors,
        pace=_pace(speed),
        out=console(),
        quiet=as_json,
    )
    if as_json:
        show_json(facts)


def _source(product: "Product") -> "ReplaySource":
    from resources.opening import open_lake
    from resources.packaged import packaged_rows
    from resources.settings import load_settings

    if product.replay is None:
        raise NoReplayError(product=product.name)
    settings = load_settings()
    lake = open_lake(settings, create=False)
    return product.replay(lake.at(settings.branch), packaged_rows(product))


def _tell_plan(
    product: "Product", source: "ReplaySource", first: date, last: date, *, restart: bool, as_json: bool
) -> None:
    """What would be played, without the days that were played before. Exit code 1 when a day would be refused, for it replaces a
    landed file by a shorter one.

    Raises:
        ReplayError: Nothing is known of that time, or another one is half played.
    """
    from headwater.cli._replay_landed import CutLandedError, held_progress, refuse_cuts, require_something
    from headwater.replay import ReplayProgress
    from resources.settings import load_settings

    require_something(product.name, source, first, last)
    settings = load_settings()
    held = held_progress(settings.state / "replay" / product.name, first, restart=restart)
    progress = held or ReplayProgress(
        product=product.name, first=first, last=last, commit="", version="", lands_over=restart
    )
    rows: list[dict[str, Any]] = []
    problem = ""
    for day in source.days(first, last):
        if day.day.isoformat() in progress.days:
            continue
        try:
            if not problem:
                refuse_cuts(product, settings.landing, day, progress)
        except CutLandedError as error:
            problem = str(error)
        files = {f"{name}/{key}" if key else name: rows.height for (name, key), rows in day.files.items()}
        rows.append({"day": day.day.isoformat(), "requests": len(day.requests), "files": files})
    total = sum(int(row["requests"]) for row in rows)
    if as_json:
        show_json({"days": rows, "requests": total, "played_before": len(progress.days), "problem": problem})
    else:
        for row in rows:
            click.echo(f"{row['day']}  {row['requests']:>5} requests  files {row['files']}")
        before = f"; {len(progress.days)} days were played before" if progress.days else ""
        click.echo(f"{len(rows)} days, {total} requests{before}. Nothing was played now.")
    if problem:
        click.echo(f"headwater: {problem}", err=True)
        raise click.exceptions.Exit(1)


def _day(text: str, option: str, *, is_last: bool) -> date:
    try:
        if not _DAY_OR_MONTH.fullmatch(text):  # Python reads weeks too
            raise ValueError(text)
        if len(text) != _MONTH:
            return date.fromisoformat(text)
        month = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        said = f"{text!r} is neither a day such as 2013-07-01 nor a month such as 2013-07."
        raise click.BadParameter(said, param_hint=option) from error
    return month.replace(day=calendar.monthrange(month.year, month.month)[1]) if is_last else month


def _pace(speed: float | None) -> Iterator[None]:
    """Yields once a day, not faster than so many a minute."""
    while True:
        begun = time.monotonic()
        yield
        if speed is not None:
            time.sleep(max(0.0, 60 / speed - (time.monotonic() - begun)))


def summary_line(facts: dict[str, Any]) -> str:
    """One day as a line."""
    parts = [f"{facts['day']}  {facts['asked']:>5} asked"]
    if facts["asked"]:
        parts.append(f"p50 {facts['p50_ms']:.1f} ms")
    parts.append(f"live {facts['live']}")
    if facts.get("auc") is not None:
        parts.append(f"AUC {facts['auc']:.3f} (week of {facts['auc_week']})")
    if facts.get("rollout"):
        parts.append(f"rollout {facts['rollout']}")
    parts.append(f"{facts['decision']}")
    parts.append(f"{facts['seconds']:.0f} s")
    return "\n".join(["  ".join(parts), *(f"            refused  {error}" for error in facts["refused"])])
