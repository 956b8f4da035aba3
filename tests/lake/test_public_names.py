"""What `headwater.lake` offers, spelled out: a new public name costs a line here."""

import headwater.lake
from headwater.lake import EmbeddedLake, Lake, Snapshot, Transaction, _snapshot, _transaction

NAMES = [
    "Change",
    "Collected",
    "Commit",
    "Diff",
    "EmbeddedLake",
    "Entry",
    "Finding",
    "Kind",
    "Lake",
    "PathChange",
    "Published",
    "Ref",
    "Retention",
    "Snapshot",
    "TableData",
    "Transaction",
    "Verification",
    "WriteMode",
    "digest_folder",
]


def _methods(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_the_public_names_are_these() -> None:
    assert sorted(headwater.lake.__all__) == NAMES


def test_the_embedded_lake_has_every_method_of_the_interface() -> None:
    for protocol, implementation in (
        (Lake, EmbeddedLake),
        (Snapshot, _snapshot.EmbeddedSnapshot),
        (Snapshot, _snapshot.StagedSnapshot),
        (Transaction, _transaction.EmbeddedTransaction),
    ):
        assert _methods(protocol) <= {name for kind in implementation.__mro__ for name in vars(kind)}


def test_the_embedded_lake_is_a_lake_to_the_type_checker() -> None:
    accepted: type[Lake] = EmbeddedLake
    assert accepted is EmbeddedLake
