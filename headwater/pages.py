"""Small HTML pages without scripts: what a report looks like when a person opens it."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{padding:.25rem .6rem;text-align:left;"
    "border-bottom:1px solid #d8dee4;vertical-align:top}.numbers td,.numbers th{text-align:right}"
    ".numbers :is(td,th):first-child,.worded :is(td,th):last-child{text-align:left}img{max-width:100%}"
    ".verdict{font-size:1.15rem;border-left:4px solid #1f5f8b;padding-left:1rem}"
    "td.worse{background:#fbe4e0}td.better{background:#e2f2e5}"
)


def write_page(file: Path, title: str, parts: Iterable[str]) -> None:
    """Writes a page.

    Args:
        file: Where.
        title: Text.
        parts: HTML of the body, in order.
    """
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title><style>{STYLE}</style>"
    file.write_text(f"{head}<h1>{html.escape(title)}</h1>{''.join(parts)}</html>", encoding="utf-8")


def paragraph(text: str) -> str:
    """A paragraph of text."""
    return f"<p>{html.escape(text)}</p>"


def heading(text: str) -> str:
    """The heading of a section."""
    return f"<h2>{html.escape(text)}</h2>"


def table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: bool = False,
    worded: bool = True,
    marks: Sequence[str] = (),
) -> str:
    """A table, or the word "None." for one without rows.

    Args:
        names: Column headings.
        rows: Texts of the cells.
        numbers: Whether the columns behind the first hold numbers.
        worded: Whether the last one holds words nevertheless.
        marks: For each row the class of its last cell: `worse`, `better` or none; empty marks none.
    """
    body = "".join(_row(row, marks[at] if marks else "") for at, row in enumerate(rows))
    if not body:
        return paragraph("None.")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    kind = f" class='numbers{' worded' if worded else ''}'" if numbers else ""
    return f"<table{kind}><tr>{head}</tr>{body}</table>"


def _row(cells: Sequence[str], mark: str) -> str:
    opened = ["<td>"] * (len(cells) - 1) + [f"<td class='{mark}'>" if mark else "<td>"]
    written = (f"{tag}{html.escape(cell)}</td>" for tag, cell in zip(opened, cells, strict=True))
    return f"<tr>{''.join(written)}</tr>"
