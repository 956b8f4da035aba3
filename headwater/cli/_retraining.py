"""`headwater retraining`: stopping what trains by itself, and letting it begin again."""

from datetime import UTC, datetime
from typing import Final

import click

from headwater.cli._output import json_option, show_json

_reason: Final = click.option("--reason", required=True, help="Why; kept with the order.")


@click.group()
def retraining() -> None:
    """The kill switch of trainings: it stops them, and leaves releases alone."""


@retraining.command()
@click.argument("product")
@_reason
@json_option
def stop(product: str, reason: str, as_json: bool) -> None:
    """Lets no training begin until `resume`. One that goes on is finished; its version comes in unless the release is held."""
    _order("stop", product, reason, as_json)


@retraining.command()
@click.argument("product")
@_reason
@json_option
def resume(product: str, reason: str, as_json: bool) -> None:
    """Ends a stop. Whether to train is decided again at once, by the rules."""
    _order("resume", product, reason, as_json)


def _order(kind: str, name: str, reason: str, as_json: bool) -> None:
    """Writes the order, and decides anew, so that the decision on record is one that knows of it."""
    from assets._chain._paths import ChainPaths
    from assets._chain._retraining import heard
    from assets._declared import declared
    from assets._products import product as find
    from headwater.cli._heard import built_until_heard
    from headwater.retraining_orders import RetrainingOrderKind, order_retraining
    from headwater.runtime import user
    from resources.opening import open_lake
    from resources.settings import load_settings

    product, settings = find(name), load_settings()
    paths, assets = ChainPaths(product=product.name), {asset.path: asset for asset in declared(product)}
    if paths.retraining not in assets:
        raise click.UsageError(
            f"Product {name!r} does not declare when it is trained again, so nothing can be stopped."
        )
    lake = open_lake(settings, create=False)
    order = order_retraining(
        lake,
        assets[paths.retraining_orders],
        RetrainingOrderKind(kind),
        reason=reason,
        actor=user(),
        into=settings.branch,
        now=lambda: datetime.now(UTC),
    )
    decision, there = assets[paths.retraining], lake.at(settings.branch)
    if all(there.has(path) for path in decision.inputs):
        built_until_heard(lake, decision, settings, lambda: order.id in heard(lake.at(settings.branch), decision.path))
    if as_json:
        show_json({"product": product.name, **order.to_json()})
    else:
        click.echo(f"{product.name}: {kind} retraining, by {order.actor}: {order.reason}")
