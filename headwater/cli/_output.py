"""How commands print: JSON for programs, tables for people."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


def console() -> Console:
    """Where people read; wide enough in a pipe that nothing is cut."""
    found = Console(highlight=False, file=sys.stdout)
    return found if found.is_terminal else Console(highlight=False, file=sys.stdout, width=200)


def show_json(value: Any) -> None:
    """Prints one JSON value."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Prints rows as a JSON list (all keys) or as a table (the named columns); what stands in brackets stands there."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        values = (row.get(column) for column in columns)
        table.add_row(*(Text("" if value is None else str(value)) for value in values))  # words of people, no markup
    console().print(table)


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints one thing as JSON or as `name  value` lines."""
    if as_json:
        show_json(facts)
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        text = json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else value
        click.echo(f"{name:<{width}}  {'' if text is None else text}")
