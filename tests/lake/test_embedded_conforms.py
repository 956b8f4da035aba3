"""The embedded lake keeps every promise of the interface."""

from pathlib import Path

import pytest

from headwater.lake import EmbeddedLake, Lake
from headwater.testing.lake_suite import LakeSuite


class TestEmbeddedLake(LakeSuite):
    @pytest.fixture
    def lake(self, tmp_path: Path) -> Lake:
        return EmbeddedLake.open(tmp_path / "lake")

    def reopen(self, lake: Lake) -> Lake:
        assert isinstance(lake, EmbeddedLake)
        return EmbeddedLake.open(lake.location, create=False)
