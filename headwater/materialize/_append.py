"""Writes what a fed table gained, and up to where its feed was taken, to one transaction.

The lake replays two blind appends of one table. So the positions carry the id of their transaction: two builds that took the
same records conflict there, and the second one begins again behind what the first one took.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from headwater.feeds import Appended, Positions
from headwater.lake import Entry, Lake, Snapshot, Transaction
from headwater.materialize._adding import add_rows
from headwater.materialize._audit import REJECTED_SUFFIX
from headwater.names import MAIN
from headwater.product import Asset

POSITIONS_SUFFIX: Final = ".positions"
_FILE: Final = "positions.json"


def read_positions(snapshot: Snapshot, path: str) -> Positions:
    """Up to where the feed of the table at `path` was taken; empty when nothing was."""
    if not snapshot.has(path + POSITIONS_SUFFIX):
        return {}
    document = json.loads((snapshot.folder(path + POSITIONS_SUFFIX) / _FILE).read_text(encoding="utf-8"))
    found: dict[str, Any] = document["positions"]
    return found


def kept_beside(asset: Asset) -> tuple[str, ...]:
    """Paths that builds of a fed table write beside it."""
    return (asset.path + POSITIONS_SUFFIX, asset.path + REJECTED_SUFFIX) if asset.feed is not None else ()


def settle(lake: Lake, asset: Asset, state: Path | None) -> None:
    """Lets the feed of a table forget what main holds, whatever branch was built."""
    if asset.feed is not None and state is not None:
        asset.feed.settle(state / asset.feed.folder, read_positions(lake.at(MAIN), asset.path))


def append(tx: Transaction, path: str, found: Appended, *, scratch: Path | None) -> Entry:
    """Stages what a build took; nothing at all when it took nothing.

    Args:
        tx: The transaction.
        path: The table.
        found: What its function returned.
        scratch: Existing directory for temporary files; None takes the system's.
    """
    written = _write_rows(tx, path, found)
    if found.rejected is not None and (found.rejected.height or found.rejected_replaces):
        aside = path + REJECTED_SUFFIX
        if found.rejected_replaces:
            tx.write_table(aside, found.rejected)
        else:
            add_rows(tx, aside, found.rejected)
        written = True
    # Before anything was taken there is nothing that two builds could both take.
    if (written and found.positions) or dict(found.positions) != dict(read_positions(tx.base, path)):
        _write_positions(tx, path, found.positions, scratch)
    return tx.staged().entry(path)


def _write_rows(tx: Transaction, path: str, found: Appended) -> bool:
    if found.replaces or not tx.base.has(path):
        tx.write_table(path, found.data)
        return True
    rows = found.data.lazy().collect()
    if rows.height:
        add_rows(tx, path, rows)
    return rows.height > 0


def _write_positions(tx: Transaction, path: str, positions: Mapping[str, Any], scratch: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="positions-", dir=scratch) as name:
        document = {"positions": positions, "transaction": tx.id}
        (Path(name) / _FILE).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
        tx.write_folder(path + POSITIONS_SUFFIX, Path(name))
