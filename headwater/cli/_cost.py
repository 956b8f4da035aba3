"""`headwater cost`: what products, teams and versions used, and what that costs."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from headwater.cli._output import json_option, show_json, show_rows
from headwater.cli._times import instant

_SHOWN: Final = (
    "product", "team", "version", "commits", "cpu", "wall", "written", "gb_months", "requests", "answering", "cost",
)  # fmt: skip
_MISSING: Final = (
    "Runs that failed before a commit, rebuilds that came out equal beyond the newest few of each path, refusals whose branch was "
    "deleted, commits of others, and answers that the predictions do not hold (not compacted, or dropped by Serving.keep)"
)
"""What used something and stands nowhere."""


@click.command()
@click.option("--by", type=click.Choice(["product", "team", "version"]), default="product", show_default=True)
@click.option("--product", help="This product alone.")
@click.option("--since", metavar="TIME", help="From this instant on (ISO 8601; UTC without a zone).")
@click.option("--until", metavar="TIME", help="Before this instant.")
@json_option
def cost(by: str, product: str | None, since: str | None, until: str | None, as_json: bool) -> None:
    """What was used, as commits and predictions have it on record, priced by the tariff (HEADWATER_TARIFF, else tariff.toml)."""
    from assets._products import product as find
    from assets._products import products
    from headwater.cost import By, answered, cost_report, read_tariff, spent
    from resources.opening import open_lake
    from resources.settings import load_settings

    chosen = [find(product)] if product else list(products())
    settings = load_settings()
    tariff, lake = read_tariff(settings.tariff), open_lake(settings, create=False)
    start = None if since is None else instant(since, "--since")
    end = None if until is None else instant(until, "--until")
    if start is not None and end is not None and start >= end:
        raise click.UsageError(f"--since {since} is not before --until {until}.")
    report = cost_report(
        spent(lake, settings.branch),
        [one for each in chosen for one in answered(lake, each.name, settings.branch, since=start, until=end)],
        by=By(by),
        owners={each.name: each.owners for each in chosen},
        tariff=tariff,
        now=datetime.now(UTC),
        since=start,
        until=end,
    )
    if as_json:
        show_json(
            {
                "by": by, "since": start and start.isoformat(), "until": end and end.isoformat(), "currency": report.currency,
                "rows": [row.to_json() for row in report.rows], "total": report.total.to_json(), "not_on_record": _MISSING,
            }
        )  # fmt: skip
        return
    rows = [_shown(row.to_json(), report.currency) for row in report.rows]
    named = {"product": "together", "team": "together" if by == "team" else "", "version": ""}
    rows += [{**_shown(report.total.to_json(), report.currency), **named}] if len(rows) > 1 else []
    hidden = {"product": ("team", "version"), "team": ("product", "version"), "version": ("team",)}[by]
    show_rows(rows, [name for name in _SHOWN if name not in hidden], as_json=False, empty="Nothing was used on record.")
    click.echo(f"Not on record: {_MISSING[0].lower()}{_MISSING[1:]}.")


def _shown(row: dict[str, Any], currency: str) -> dict[str, Any]:
    ended = [f"{row[name]:g} {name}" for name in ("published", "unchanged", "refused") if row[name]]
    return {
        "product": row["product"],
        "team": row["team"],
        "version": row["version"] or "(none)",
        "commits": ", ".join(ended),
        "cpu": f"{row['cpu_seconds']:,.1f} s",
        "wall": f"{row['wall_seconds']:,.1f} s",
        "written": f"{row['bytes_written'] / 1e6:,.1f} MB",
        "gb_months": f"{row['gb_months']:.6f}",
        "requests": f"{row['requests']:,.0f}",
        "answering": f"{row['answering_seconds']:,.1f} s",
        "cost": f"{row['total']:.4f} {currency}",
    }
