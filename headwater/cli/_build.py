"""`headwater build` and `headwater status`: what is stale, and making it fresh."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from headwater.cli._guarded import heeding_signals
from headwater.cli._output import console, json_option, show_rows
from headwater.materialize import Outcome, Status

if TYPE_CHECKING:
    from assets._plan import Stale
    from headwater.lake import Lake
    from headwater.product import Product
    from resources.settings import Settings


@click.command()
@click.argument("product", required=False)
@json_option
def status(product: str | None, as_json: bool) -> None:
    """What is out of date or waits, and why. Exit code 1 when anything is out of date."""
    from assets._products import product as find
    from assets._products import products

    chosen = [find(product)] if product else list(products())
    late = [_row(item, waits=False) for one in chosen for item in _stale(one)]
    held = [_row(item, waits=True) for one in chosen for item in _held(one)]
    rows = late + held + _stopped(chosen) + _undeclared(product)
    show_rows(rows, ("asset", "partition", "why"), as_json=as_json, empty="Everything is up to date.")
    if late:
        raise click.exceptions.Exit(1)


def _row(item: "Stale", *, waits: bool) -> dict[str, object]:
    why = "; ".join(map(str, item.reasons))
    return {"asset": item.path, "partition": item.partition, "why": f"waits: {why}" if waits else why, "waits": waits}


def _stale(product: "Product") -> "tuple[Stale, ...]":
    from assets._declared import declared
    from assets._plan import stale_assets
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    return stale_assets(open_lake(settings), declared(product), branch=settings.branch, landing=settings.landing)


def _held(product: "Product") -> "tuple[Stale, ...]":
    """What is left alone although it is not there."""
    from assets._declared import declared
    from assets._plan import held_assets
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    return held_assets(open_lake(settings), declared(product), branch=settings.branch, landing=settings.landing)


def _stopped(chosen: "Sequence[Product]") -> list[dict[str, object]]:
    """Products whose trainings somebody stopped."""
    from assets._chain._paths import ChainPaths
    from headwater.retraining_orders import read_retraining_orders, stopped_by
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    there, rows = open_lake(settings).at(settings.branch), list[dict[str, object]]()
    for paths in (ChainPaths(product=one.name) for one in chosen):
        path = paths.retraining_orders
        order = stopped_by(read_retraining_orders(there.table(path))) if there.has(path) else None
        if order is not None:
            why = f"waits: {order.actor} stopped retraining: {order.reason}"
            rows.append({"asset": paths.training_order, "partition": None, "why": why, "waits": True})
    return rows


def _undeclared(product: str | None) -> list[dict[str, object]]:
    from assets._declared import all_declared
    from assets._plan import undeclared
    from assets._products import products
    from headwater.streams import assets_of
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    streamed = [asset for one in products() for source in one.events for asset in assets_of(source).values()]
    snapshot = open_lake(settings).at(settings.branch)
    found = undeclared(snapshot, [*all_declared(), *streamed], product=product)
    why = "waits: no declared asset makes or reads it; `headwater lake remove {}` takes it out of the lake"
    return [{"asset": path, "partition": None, "why": why.format(path), "waits": True} for path in found]


@click.command()
@click.argument("products", nargs=-1)
@click.option("--landed-only", is_flag=True, help="Take what has landed; land no packaged data.")
def build(products: tuple[str, ...], landed_only: bool) -> None:
    """Lands the packaged data and builds everything that is out of date. Exit code 1 when something was refused."""
    from assets._products import product as find
    from assets._products import products as every
    from resources.lock import only_one_build
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings, out = load_settings(), console()
    chosen = [find(name) for name in products] or list(every())
    failed = False
    with heeding_signals(), only_one_build(settings.state):
        open_lake(settings, create=True)
        for product in chosen:
            failed = not _build_product(product, out, land=not landed_only) or failed
    if failed:
        raise click.exceptions.Exit(1)


def _build_product(product: "Product", out: Console, *, land: bool) -> bool:
    from headwater.cli._summary import show_summary
    from resources.packaged import land_packaged
    from resources.settings import load_settings

    settings, started = load_settings(), time.perf_counter()
    out.print(f"[bold]{product.name}[/bold]  {escape(product.question)}")
    if land:
        land_packaged(product, settings.landing, told=lambda name: out.print(f"  landed     {name}"))
    progress = _Progress(out)
    errors = _until_fresh(product, progress)
    for error in errors:
        out.print(f"  {error}", style="red", soft_wrap=True, markup=False)
    seconds = time.perf_counter() - started
    out.print(f"  {progress.summary()} in {seconds:.1f} s")
    show_summary(product, settings, out)
    return not errors


def _until_fresh(product: "Product", progress: "_Progress") -> Sequence[str]:
    """Runs what is stale, wave by wave, until nothing is left or something was refused."""
    if not _stale(product):
        return ()
    from assets._build import run_waves
    from assets._declared import declared
    from headwater.definitions import defs
    from headwater.runtime import user
    from resources.dagster_home import dagster_instance
    from resources.opening import open_lake
    from resources.progress import Listener, listening
    from resources.settings import load_settings

    settings = load_settings()
    listener = Listener(started=progress.started, ended=progress.ended)
    with dagster_instance(settings, for_runs=True) as instance, listening(listener), logged(settings.state):
        there = partial(stands, open_lake(settings), settings)
        return run_waves(defs, instance, lambda: _stale(product), there, declared(product), actor=user())


def stands(lake: "Lake", settings: "Settings", path: str) -> bool:
    """Whether something is published under a path."""
    return lake.at(settings.branch).has(path)


@contextmanager
def logged(state: Path) -> Iterator[None]:
    """Sends what tools such as dbt print to a log file, so that progress stays readable."""
    folder = state / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "build.log").open("a", encoding="utf-8") as log, redirect_stdout(log):
        yield


class _Progress:
    """Prints a line for each asset as it ends."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._begun = 0.0
        self.counts: dict[str, int] = {}
        self.wall = 0.0
        self.lake = 0.0

    def started(self, path: str, partition: str | None) -> None:
        self._begun = time.perf_counter()
        if self._out.is_terminal:
            self._out.print(f"  [dim]building   {path} {partition or ''}[/dim]", end="\r")

    def ended(self, outcome: Outcome) -> None:
        self.counts[outcome.status] = self.counts.get(outcome.status, 0) + 1
        if outcome.status is Status.FRESH:
            return
        cost = outcome.provenance.cost if outcome.provenance else None
        wall = cost.wall_seconds if cost else 0.0
        self.wall += wall
        self.lake += cost.lake_seconds if cost else 0.0
        rows = f"{outcome.entry.rows:,} rows" if outcome.entry and outcome.entry.rows is not None else ""
        colour = "red" if outcome.status is Status.REFUSED else "green"
        name = f"{outcome.path} {outcome.partition or ''}".strip()
        held = sum(check.passed for check in outcome.checks)
        self._out.print(
            f"  [{colour}]{outcome.status:<10}[/{colour}] {name:<44} {rows:>14}  "
            f"{held}/{len(outcome.checks)} checks  {wall:6.2f} s"
        )

    def summary(self) -> str:
        """Counts by status, and the share of pin, audit, publish, report."""
        if not self.counts:
            return "nothing to do"
        parts = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        share = f"; {100 * self.lake / self.wall:.0f}% of it in the lake" if self.wall else ""
        return parts + share
