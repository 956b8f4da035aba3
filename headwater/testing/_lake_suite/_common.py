"""What the parts of the suite share: frames, a record, and the shortest way to publish."""

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from headwater.lake import Commit, Lake, Published, TableData, WriteMode
from headwater.names import MAIN
from headwater.provenance import CheckRecord, Output, Pin, Provenance

PATH: Final = "shop/datasets/orders"
OTHER: Final = "shop/datasets/customers"
FOLDER: Final = "shop/model"
ROWS: Final = pl.DataFrame({"id": [1, 2, 3], "name": ["ada", "bob", None], "price": [1.5, math.nan, None]})
MORE: Final = pl.DataFrame({"id": [4, 5], "name": ["eve", ""], "price": [-0.0, math.inf]})

AWKWARD: Final = pl.DataFrame(
    {
        "int": pl.Series([1, -(2**31), None], dtype=pl.Int32),  # not the default width
        "float": pl.Series([math.nan, None, -0.0]),  # null, NaN and minus zero differ or don't, by rule
        "text": ["naïve ☃", "", None],  # beyond ASCII; empty is not null
        "blob": [b"\x00\xff", b"", None],  # bytes that are no text
        "day": [dt.date(1969, 12, 31), dt.date(9999, 12, 31), None],  # before the epoch; the last one
        "local": [dt.datetime(2013, 3, 10, 2, 30), None, dt.datetime(1, 1, 1)],  # an hour that New York skipped
        "instant": pl.Series([dt.datetime(2013, 1, 1, 5, microsecond=1), None, None]).dt.replace_time_zone("UTC"),
        "money": pl.Series([Decimal("-0.10"), None, Decimal("99999999.99")], dtype=pl.Decimal(10, 2)),
        "list": [[1, None], [], None],  # empty is not null
        "struct": [{"a": 1, "b": ["x"]}, {"a": None, "b": None}, {"a": 2, "b": []}],
        "flag": [True, False, None],
    }
)
"""One column for each dtype that Delta stores as it is, with the values that are lost most easily."""


class SuiteBase:
    """What every part needs: the lake under test."""

    @pytest.fixture
    def lake(self, tmp_path: Path) -> Lake:
        """An empty lake. Implementations override this."""
        raise NotImplementedError("Override the `lake` fixture with an empty lake of your implementation.")

    def reopen(self, lake: Lake) -> Lake:
        """Another handle on the same lake, as another process would open it. Override when there is such a thing."""
        return lake


def publish(
    lake: Lake,
    path: str,
    data: TableData,
    *,
    into: str = MAIN,
    mode: WriteMode = WriteMode.OVERWRITE,
    partition: tuple[str, str] | None = None,
    id: str | None = None,
) -> Published:
    """One table written and published in one transaction."""
    with lake.transaction(into=into, id=id, hint=path) as tx:
        tx.write_table(path, data, mode=mode, partition=partition)
        return tx.publish(message=f"Write {path}", provenance=None)


def publish_folder(lake: Lake, path: str, source: Path, *, into: str = MAIN) -> Published:
    """One folder written and published in one transaction."""
    with lake.transaction(into=into, hint=path) as tx:
        tx.write_folder(path, source)
        return tx.publish(message=f"Write {path}", provenance=None)


def refuse(lake: Lake, path: str, data: TableData) -> tuple[str, Commit]:
    """One table written and refused: the branch it left, and its commit."""
    with lake.transaction(hint=path) as tx:
        tx.write_table(path, data)
        return tx.branch, tx.refuse(message=f"Refuse {path}", provenance=None)


def rows(lake: Lake, path: str = PATH, *, ref: str = MAIN) -> pl.DataFrame:
    """The rows of a table at a ref, collected."""
    return lake.at(ref).table(path).collect()


def ids(lake: Lake, path: str = PATH, *, ref: str = MAIN) -> list[int]:
    """The sorted `id` column of a table at a ref."""
    return sorted(rows(lake, path, ref=ref).get_column("id").to_list())


def provenance(lake: Lake, path: str = PATH, *, transaction: str = "tx-1", **facts: object) -> Provenance:
    """A record with every field that a check could lose."""
    return Provenance(
        transaction=transaction,
        action="materialize",
        outputs=(Output(path=path, kind="table", data_version="d" * 64, rows=3, facts=facts),),
        input_commit=lake.resolve(MAIN).id,
        inputs=(Pin(path=OTHER, data_version="e" * 64, read=False, role="previous"),),
        checks=(CheckRecord(name="keys_are_unique", passed=False, severity="WARN", blocking=False, facts={"n": 2}),),
        run_id="run",
        git_commit="c" * 40,
        actor="user:ada",
    )


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of a directory: relative name to content."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """A directory with these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
