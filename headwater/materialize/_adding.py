"""Adds rows to a table, whose files stay few enough to be read fast."""

from typing import Final

import polars as pl

from headwater.lake import Entry, Transaction, WriteMode

_MOST_FILES: Final = 500
_FILE_BYTES: Final = 32 * 2**20


def add_rows(tx: Transaction, path: str, rows: pl.DataFrame) -> Entry:
    """Stages rows beside those that stand at `path`; without any they become the table.

    Each append adds a file, and whoever reads or appends looks at all of them. So a table of very many files is written as a
    whole, with the new rows: once in so many appends, which costs each of them little.

    Args:
        tx: The transaction.
        path: The table.
        rows: What is added, with the table's columns.

    Raises:
        TableWriteError: The rows do not fit the table.
    """
    if not tx.base.has(path):
        return tx.write_table(path, rows)
    entry = tx.base.entry(path)
    if entry.files < _MOST_FILES + entry.bytes // _FILE_BYTES:
        return tx.write_table(path, rows, mode=WriteMode.APPEND)
    return tx.write_table(path, pl.concat([tx.base.table(path), rows.lazy().select(list(entry.schema))]))
