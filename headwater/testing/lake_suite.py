"""The lake's conformance suite: what every implementation of `headwater.lake.Lake` must do.

Run it over an implementation of your own by subclassing it in a test module:

    import pytest

    from headwater.testing.lake_suite import LakeSuite

    class TestMyLake(LakeSuite):
        @pytest.fixture
        def lake(self, tmp_path):
            return MyLake(tmp_path / "lake")     # empty, with a protected `main`

        def reopen(self, lake):
            return MyLake(lake.location)         # as another process would open it

Each test is one promise of the interface; none looks below it.
"""

from headwater.testing._lake_suite._care import CareSuite
from headwater.testing._lake_suite._folders import FoldersSuite
from headwater.testing._lake_suite._history import HistorySuite
from headwater.testing._lake_suite._partitions import PartitionsSuite
from headwater.testing._lake_suite._refs import RefsSuite
from headwater.testing._lake_suite._tables import TablesSuite
from headwater.testing._lake_suite._transactions import TransactionsSuite

__all__ = ["LakeSuite"]


class LakeSuite(TablesSuite, PartitionsSuite, FoldersSuite, TransactionsSuite, RefsSuite, HistorySuite, CareSuite):
    """Every promise of the interface. Override the `lake` fixture, and `reopen` when it means something."""
