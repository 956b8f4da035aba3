"""The embedded online store keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from headwater.features.errors import OnlineStoreError
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


def test_a_store_of_another_format_is_left_alone_and_says_what_to_do(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as other, other.begin(write=True) as txn:
        txn.put(b"f", b"headwater online store 1")
    with pytest.raises(OnlineStoreError, match=r"format 'headwater online store 1'.*remove the folder"):
        EmbeddedOnlineStore(tmp_path)
    with lmdb.open(str(tmp_path)) as other, other.begin() as txn:
        assert txn.get(b"f") == b"headwater online store 1"


def test_a_reader_of_a_store_that_nobody_made_is_told_to_publish_first(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path)).close()
    with pytest.raises(OnlineStoreError, match="nobody has published there yet"):
        EmbeddedOnlineStore(tmp_path, read_only=True)
