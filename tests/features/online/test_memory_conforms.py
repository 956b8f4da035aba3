"""The online store in memory keeps the contract."""

import pytest

from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.testing.online_suite import OnlineStoreSuite


class TestMemory(OnlineStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryOnlineStore:
        return MemoryOnlineStore()
