"""The lakeFS lake keeps every promise of the interface, over real HTTP."""

import pytest

from headwater.lake import Lake
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.testing.lake_suite import LakeSuite


class TestLakeFSLake(LakeSuite):
    @pytest.fixture
    def lake(self, settings: LakeFSSettings) -> Lake:
        return LakeFSLake.open(settings)

    def reopen(self, lake: Lake) -> Lake:
        assert isinstance(lake, LakeFSLake)
        return LakeFSLake.open(lake.settings, create=False)
