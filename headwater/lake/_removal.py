"""Taking an asset out of a branch: a commit like any other, which a revert undoes."""

import secrets
from datetime import UTC, datetime
from typing import Final

from headwater.lake._interface import Lake, Published
from headwater.lake.errors import PathNotFoundError
from headwater.provenance import Provenance

REMOVED: Final = "remove"
"""The action in the provenance."""


def remove_path(lake: Lake, path: str, *, into: str, message: str | None = None, actor: str = "") -> Published:
    """Removes what stands at `path` on `into`. Its history stays, and what a released model was built from.

    Raises:
        PathNotFoundError: Nothing stands there.
        RefNotFoundError: No such branch.
        MergeConflictError: Another run published there meanwhile.
    """
    id, started = secrets.token_hex(16), datetime.now(UTC).isoformat()
    there = lake.at(into)
    if not there.has(path):
        raise PathNotFoundError(path=path, ref=into, known=there.paths(), remedy="So there is nothing to remove.")
    with lake.transaction(into=into, id=id, hint=path) as tx:
        tx.remove(path)
        record = Provenance(
            transaction=id,
            action=REMOVED,
            outputs=(),
            input_commit=tx.base.commit.id,
            started=started,
            actor=actor,
        )
        return tx.publish(message=f"Remove {path}" + (f": {message}" if message else ""), provenance=record)
