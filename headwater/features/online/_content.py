"""A product's online features as a folder in the lake: one Parquet file a view, and what describes them.

So they are versioned, audited and rolled back like everything else; a store is a copy that can be made again from a commit.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import polars as pl

from headwater.features.errors import OnlineContentError
from headwater.features.online._interface import OnlineContent, OnlineTable, OnlineView

FORMAT: Final = 1
DESCRIPTION: Final = "online.json"


def write_content(content: OnlineContent, folder: Path) -> None:
    """Writes the views into a folder."""
    for number, table in enumerate(content.tables):
        table.rows.write_parquet(folder / _file(number), statistics=False)
    views = [asdict(table.view) for table in content.tables]
    text = json.dumps({"format": FORMAT, "since": content.since, "views": views}, indent=1, sort_keys=True)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_content(folder: Path) -> OnlineContent:
    """The views in a folder.

    Raises:
        OnlineContentError: A file is missing, or cannot be used; the message names it.
    """
    since, views = _described(folder)
    return OnlineContent(since=since, tables=tuple(_table(folder, number, view) for number, view in enumerate(views)))


def read_shape(folder: Path) -> OnlineContent:
    """The same without rows, for who asks which views there are. Raises OnlineContentError."""
    since, views = _described(folder)
    return OnlineContent(since=since, tables=tuple(OnlineTable(view=view, rows=pl.DataFrame()) for view in views))


def _described(folder: Path) -> tuple[int, list[OnlineView]]:
    try:
        raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise OnlineContentError(
                file=str(folder / DESCRIPTION), problem=f"is of format {raw['format']!r}, not {FORMAT}"
            )
        return int(raw["since"]), [OnlineView.from_json(view) for view in raw["views"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OnlineContentError(file=str(folder / DESCRIPTION), problem=f"cannot be read ({error})") from error


def _table(folder: Path, number: int, view: OnlineView) -> OnlineTable:
    file = folder / _file(number)
    try:
        rows = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OnlineContentError(file=str(file), problem=f"cannot be read ({error})") from error
    if rows.height != view.rows:
        raise OnlineContentError(file=str(file), problem=f"has {rows.height} rows where {DESCRIPTION} says {view.rows}")
    return OnlineTable(view=view, rows=rows)


def _file(number: int) -> str:
    return f"view-{number}.parquet"
