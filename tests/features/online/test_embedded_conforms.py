"""The embedded online store keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.features.online import OnlineStore
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.testing.online_suite import OnlineStoreSuite


class TestEmbedded(OnlineStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EmbeddedOnlineStore]:
        store = EmbeddedOnlineStore(tmp_path / "online")
        yield store
        store.close()

    def reopen(self, store: OnlineStore) -> OnlineStore:
        assert isinstance(store, EmbeddedOnlineStore)
        return EmbeddedOnlineStore(store.folder, read_only=True)

    def reopen_for_writing(self, store: OnlineStore) -> OnlineStore:
        assert isinstance(store, EmbeddedOnlineStore)
        return EmbeddedOnlineStore(store.folder)
