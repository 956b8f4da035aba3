"""`headwater build`, and a day of a replay, where a month cannot be built: the others are, and what reads all of them is not made of two
codes."""

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from rich.console import Console

import assets._build
import assets._declared
from assets._build import RunResult
from assets._plan import below
from headwater.cli import _build, _replay_run
from headwater.lake import EmbeddedLake, Lake
from headwater.materialize import Run, materialize
from headwater.product import Asset, Inputs, table
from resources.settings import load_settings
from tests.recoded_months import LOAD, MONTHS, PRODUCT, TOTAL, new_load, old_days, old_load, total

NOTICE = f"{PRODUCT.name}/notice"


class Shop:
    """A state folder whose runs are done by the library alone, and die where a test says."""

    def __init__(self, lake: Lake, patch: pytest.MonkeyPatch) -> None:
        self.lake = lake
        self.dying: set[tuple[str, str | None]] = set()
        self.assets: Mapping[str, Asset] = {}
        patch.setitem(sys.modules, "headwater.definitions", SimpleNamespace(defs=None))  # of the real products
        patch.setattr(assets._build, "run_assets", self._run)
        patch.setattr(assets._declared, "declared", lambda product: tuple(self.assets.values()))

    def build(self, *code: Asset, of_replay: bool = False) -> Sequence[str]:
        """What failed."""
        self.assets = {asset.path: asset for asset in code}
        if of_replay:
            return _replay_run._build(PRODUCT, load_settings(), is_whole=True)
        return _build._until_fresh(PRODUCT, _build._Progress(Console(file=io.StringIO())))

    def sum(self) -> int:
        """What stands as the total."""
        found = self.lake.at("main").table(TOTAL).collect().item()
        assert isinstance(found, int)
        return found

    def _run(
        self,
        _defs: object,
        _instance: object,
        paths: frozenset[str],
        *,
        partition: str | None,
        actor: str,
        only_stale: bool = True,
    ) -> RunResult:
        failed = frozenset(path for path in paths if (path, partition) in self.dying)
        unbuilt = below(failed, tuple(self.assets.values())) & paths  # as Dagster, which skips what is below a failure
        for path in self.assets:
            if path in paths - unbuilt:
                materialize(self.lake, self.assets[path], partition=partition, run=Run(actor=actor))
        errors = tuple(f"{path} {partition}: killed" for path in sorted(failed))
        return RunResult(run_id="", success=not failed, errors=errors, failed=failed, unbuilt=unbuilt)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    return Shop(EmbeddedLake.open(tmp_path / "lake"), monkeypatch)


@pytest.mark.parametrize("of_replay", [False, True], ids=["build", "replay"])
@pytest.mark.parametrize("month", MONTHS.keys)
def test_what_reads_all_months_waits_for_the_one_of_older_code(shop: Shop, month: str, of_replay: bool) -> None:
    """The sum was built of 1 and 100."""
    for key in MONTHS.keys:
        materialize(shop.lake, old_days, partition=key, run=Run())
    assert shop.build(old_days, old_load, total, of_replay=of_replay) == []
    assert shop.sum() == 2
    shop.dying = {(LOAD, month)}
    assert shop.build(old_days, new_load, total, of_replay=of_replay) == [f"{LOAD} {month}: killed"]
    assert shop.sum() == 2
    shop.dying = set()
    assert shop.build(old_days, new_load, total, of_replay=of_replay) == []
    assert shop.sum() == 200


def test_a_month_that_never_stood_holds_nothing_up(shop: Shop) -> None:
    """What landed and is refused leaves the months beside it as they are, and what is made of them."""
    for key in MONTHS.keys:
        materialize(shop.lake, old_days, partition=key, run=Run())
    shop.dying = {(LOAD, "2013-01")}
    assert len(shop.build(old_days, old_load, total)) == 1
    assert shop.sum() == 1


@pytest.mark.parametrize("of_replay", [False, True], ids=["build", "replay"])
def test_a_refused_table_leaves_what_is_urgent_below_it_to_what_stands(shop: Shop, of_replay: bool) -> None:
    """A build left it out, so that a training that was refused held a roll-back."""
    for key in MONTHS.keys:
        materialize(shop.lake, old_days, partition=key, run=Run())
    first = [old_days, old_load, total, _notice("first")]
    assert shop.build(*first, of_replay=of_replay) == []
    shop.dying = {(TOTAL, None)}
    assert shop.build(old_days, new_load, total, _notice("second"), of_replay=of_replay) == [f"{TOTAL} None: killed"]
    assert shop.sum() == 2
    assert shop.lake.at("main").table(NOTICE).collect().item() == "second 2"


@pytest.mark.parametrize("of_replay", [False, True], ids=["build", "replay"])
def test_where_nothing_stands_what_is_below_waits(shop: Shop, of_replay: bool) -> None:
    for key in MONTHS.keys:
        materialize(shop.lake, old_days, partition=key, run=Run())
    shop.dying = {(TOTAL, None)}
    failed = shop.build(old_days, old_load, total, _notice("first"), of_replay=of_replay)
    assert failed == [f"{TOTAL} None: killed"]
    assert not shop.lake.at("main").has(NOTICE)


def _notice(word: str) -> Asset:
    """What is urgent; another word is other code."""

    @table(NOTICE, inputs=[TOTAL], urgent=True)
    def notice(inputs: Inputs) -> pl.DataFrame:
        return pl.DataFrame({"says": [f"{word} {inputs.table(TOTAL).collect().item()}"]})

    return notice
