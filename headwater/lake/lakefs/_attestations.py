"""Attestations: objects on a branch of their own, one a record, newest last by name."""

import json
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from headwater.lake.lakefs._calls import ServerAnswerError
from headwater.lake.lakefs._history import INTERNAL
from headwater.lake.lakefs._snapshot import Parts
from headwater.names import MAIN, TRANSACTION_KEY, check_path
from headwater.provenance import Provenance

BRANCH: Final = f"{INTERNAL}attestations"
_RECORDS: Final = "_records"
KEPT: Final = 20
"""Records kept for one path and partition; a freshness check needs the newest that fits, older ones only cost."""


class Attestations:
    """Records that a rebuild came out equal.

    Args:
        parts: The lake.
    """

    def __init__(self, parts: Parts) -> None:
        """Remembers the lake."""
        self._parts = parts

    def add(self, provenance: Provenance) -> None:
        """Keeps a record for each output."""
        self._make_branch()
        text = json.dumps(provenance.to_metadata()).encode()
        for output in provenance.outputs:
            folder = f"{output.path}/{_RECORDS}/{quote(output.partition or '', safe='')}-"
            known = [item.path for item in self._parts.server.list(BRANCH, folder)]
            name = f"{folder}/{time.time_ns():020d}-{quote(provenance.transaction, safe='')[:80]}.json"
            self._parts.objects.put(BRANCH, name, text)
            self._parts.objects.delete(BRANCH, known[: max(len(known) + 1 - KEPT, 0)])
        self._commit(provenance.transaction)

    def of(self, path: str) -> tuple[Provenance, ...]:
        """Records kept for `path`, newest first."""
        prefix = f"{check_path(path)}/{_RECORDS}/"
        if self._parts.server.branch_head(BRANCH) is None:
            return ()
        keys = [item.path for item in self._parts.server.list(BRANCH, prefix)]
        found = []
        for key in sorted(keys, key=lambda key: key.rpartition("/")[2], reverse=True):
            data = self._parts.objects.get(BRANCH, key)
            record = Provenance.from_metadata(json.loads(data), commit=f"attestation {key}") if data else None
            if record is not None:
                found.append(record)
        return tuple(found)

    def _make_branch(self) -> None:
        """Makes the branch off the repository's first commit, which holds nothing."""
        if self._parts.server.branch_head(BRANCH) is None:
            *_, first = self._parts.history.first_parents(self._parts.history.head(MAIN))
            self._parts.server.create_branch(BRANCH, source=first.id, hidden=True)

    def _commit(self, transaction: str) -> None:
        """Commits what is staged; another process may have committed ours with its own."""
        try:
            self._parts.server.commit(
                BRANCH, message="Keep an attestation", metadata={TRANSACTION_KEY: f"{transaction}/attestation"}
            )
        except ServerAnswerError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
