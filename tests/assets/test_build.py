"""Runs in this process: Ctrl-C ends them, and what follows does not begin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from assets._automation import condition_for
from assets._build import run_assets, run_waves
from assets._plan import Stale
from headwater.feeds import Feed
from headwater.lake import Kind
from headwater.product import Asset, Partitions


@dg.asset(key=["toy", "one"])
def interrupted() -> None:
    raise DagsterExecutionInterruptedError


@dg.asset(key=["toy", "two"])
def broken() -> None:
    raise ValueError("planted")


@dg.asset(key=["toy", "three"], deps=[["toy", "two"]])
def below_it() -> None:
    raise AssertionError("what it is made of was not built")


@dg.asset(key=["toy", "four"])
def beside_it() -> None:
    """Has nothing to do with what fails."""


def test_a_failure_tells_what_was_not_built_for_it() -> None:
    definitions = dg.Definitions(assets=[broken, below_it, beside_it])
    with dg.DagsterInstance.ephemeral() as instance:
        wanted = frozenset({"toy/two", "toy/three", "toy/four"})
        failed = run_assets(definitions, instance, wanted, partition=None, actor="user:ada")
    assert len(failed.errors) == 1
    assert failed.unbuilt == {"toy/two", "toy/three"}


def _toy(
    inputs: Mapping[str, Sequence[str]], built: list[str], **declared: Mapping[str, Any]
) -> tuple[dg.Definitions, list[Asset]]:
    """Assets of a product `toy` that note what was built, the first of them refused; and their declarations, with more of some."""

    def made(name: str) -> dg.AssetsDefinition:
        @dg.asset(key=["toy", name], deps=[["toy", one] for one in inputs[name]])
        def build() -> None:
            if name == next(iter(inputs)):
                raise ValueError("planted")
            built.append(name)

        return build

    assets = [
        Asset(path=f"toy/{name}", kind=Kind.TABLE, compute=str, inputs=tuple(f"toy/{one}" for one in above), **declared.get(name, {}))
        for name, above in inputs.items()
    ]  # fmt: skip
    return dg.Definitions(assets=[made(name) for name in inputs]), assets


def _built(definitions: dg.Definitions, assets: Sequence[Asset], stands: Callable[[str], bool]) -> list[str]:
    """Builds what lies below the first asset; what failed."""
    stale = [Stale(path=assets[0].path, partition=None, reasons=())]
    with dg.DagsterInstance.ephemeral() as instance:
        return run_waves(definitions, instance, lambda: stale, stands, assets, actor="user:ada")


@pytest.mark.parametrize(("standing", "made"), [(True, ["urgent", "below_it", "report"]), (False, [])])
def test_who_reads_a_refused_table_waits_unless_it_is_urgent(standing: bool, made: list[str]) -> None:
    """A training set was built below a refused feature table: it came in a later run than that, and automation would have waited."""
    inputs = {"refused": (), "same_run": ("refused",), "urgent": ("refused",), "later": ("refused", "urgent"),
              "below_it": ("later",), "report": ("urgent",)}  # fmt: skip
    built = list[str]()
    errors = _built(*_toy(inputs, built, urgent={"urgent": True}), lambda path: standing)
    assert (built, len(errors)) == (made, 1)


def test_what_does_not_read_a_refused_table_itself_is_built_of_what_stands() -> None:
    """One bad register held up every table below it, at any depth: no outcome came in any more, and the error named the register alone."""
    inputs = {
        "refused": (),
        "reader": ("refused",),
        "other": (),
        "outcomes": ("reader", "other"),
        "new": ("reader",),
        "lacks_it": ("new",),
    }
    built = list[str]()
    definitions, assets = _toy(inputs, built)
    errors = _built(definitions, assets, lambda path: path not in ("toy/reader", "toy/new"))
    assert (built, len(errors)) == ([], 1)  # whoever lacks an input waits with it
    errors = _built(definitions, assets, lambda path: path not in ("toy/new", "toy/lacks_it"))
    assert (sorted(built), len(errors)) == (["lacks_it", "new", "outcomes"], 1)


def test_readers_of_a_fed_table_are_built_of_what_stands_also_where_dagster_skipped_them() -> None:
    inputs = {"log": (), "outcomes": ("log",), "report": ("outcomes",)}
    built = list[str]()
    feed = Feed(folder="x/toy", backlog=lambda *_: None, settle=lambda *_: None)
    errors = _built(*_toy(inputs, built, log={"feed": feed, "previous": ("toy/log",)}), lambda path: True)
    assert (built, len(errors)) == (["outcomes", "report"], 1)


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")  # of the evaluation that the test asks for
def test_a_month_comes_in_below_a_refused_register_as_by_automation() -> None:
    """The register of planes was bad: every later build left out the months too, which read what was made of it before."""
    months = dg.StaticPartitionsDefinition(["1", "2"])
    inputs = {"landed_register": (), "register": ("landed_register",), "landed": (), "flights": ("landed", "register")}
    parted, keys = {"landed", "flights"}, {name: dg.AssetKey(["toy", name]) for name in inputs}
    is_bad, built = False, list[tuple[str, str | None]]()

    def made(name: str) -> dg.AssetsDefinition:
        deps, is_parted = [keys[one] for one in inputs[name]], name in parted
        condition = condition_for(deps, is_partitioned=is_parted, partitioned=frozenset(keys[one] for one in parted))

        @dg.asset(
            key=keys[name], deps=deps, partitions_def=months if is_parted else None, automation_condition=condition if deps else None,
            check_specs=[dg.AssetCheckSpec("held", asset=keys[name], blocking=True)],
        )  # fmt: skip
        def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
            refused = is_bad and name == "landed_register"
            yield dg.AssetCheckResult(passed=not refused, check_name="held")
            if refused:
                raise dg.Failure("refused")
            built.append((name, context.partition_key if is_parted else None))
            yield dg.MaterializeResult(data_version=dg.DataVersion(f"{name} {is_bad}"))

        return build

    definitions = dg.Definitions(assets=[made(name) for name in inputs])
    partitions = Partitions(column="period", keys=("1", "2"))
    assets = [
        Asset(path=f"toy/{name}", kind=Kind.TABLE, compute=str, inputs=tuple(f"toy/{one}" for one in above),
              partitions=partitions if name in parted else None, landed=() if above else (name,))
        for name, above in inputs.items()
    ]  # fmt: skip
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for names, month in ((["landed_register", "register"], None), (["landed"], "1"), (["flights"], "1")):
            selection = [keys[name] for name in names]
            assert job.execute_in_process(instance=instance, asset_selection=selection, partition_key=month).success
        seen = dg.evaluate_automation_conditions(definitions, instance)
        is_bad = True
        job.execute_in_process(instance=instance, asset_selection=[keys["landed_register"]], raise_on_error=False)
        job.execute_in_process(instance=instance, asset_selection=[keys["landed"]], partition_key="2")
        seen = dg.evaluate_automation_conditions(definitions, instance, cursor=seen.cursor)
        asked = {name for name in inputs if seen.get_num_requested(keys[name])}
        built.clear()
        stale = [
            Stale(path="toy/landed_register", partition=None, reasons=()),
            Stale(path="toy/landed", partition="2", reasons=()),
        ]
        errors = run_waves(definitions, instance, lambda: stale, lambda path: True, assets, actor="user:ada")
    assert (asked, built, len(errors)) == ({"flights"}, [("landed", "2"), ("flights", "2")], 1)


def test_ctrl_c_in_a_step_is_ctrl_c_and_not_a_refusal() -> None:
    definitions = dg.Definitions(assets=[interrupted, broken])
    with dg.DagsterInstance.ephemeral() as instance:
        failed = run_assets(definitions, instance, frozenset({"toy/two"}), partition=None, actor="user:ada")
        assert "planted" in failed.errors[0]
        with pytest.raises(KeyboardInterrupt):
            run_assets(definitions, instance, frozenset({"toy/one"}), partition=None, actor="user:ada")
