"""Runs in this process: Ctrl-C ends them, and what follows does not begin."""

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from assets._build import run_assets, run_waves
from assets._plan import Stale
from headwater.lake import Kind
from headwater.product import Asset


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


@pytest.mark.parametrize(("standing", "made"), [(True, ["urgent", "report"]), (False, [])])
def test_below_a_refused_table_only_what_is_urgent_is_built_of_what_stands(standing: bool, made: list[str]) -> None:
    """A training set was built below a refused feature table: it came in a later run than that, and automation would have waited."""
    inputs = {"refused": (), "same_run": ("refused",), "urgent": ("refused",), "later": ("refused", "urgent"),
              "below_it": ("later",), "report": ("urgent",)}  # fmt: skip
    built = list[str]()

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(key=["toy", name], deps=[["toy", one] for one in inputs[name]])
        def build() -> None:
            if name == "refused":
                raise ValueError("planted")
            built.append(name)

        return build

    declared = [
        Asset(
            path=f"toy/{name}",
            kind=Kind.TABLE,
            compute=str,
            inputs=tuple(f"toy/{one}" for one in above),
            urgent=name == "urgent",
        )
        for name, above in inputs.items()
    ]
    stale = [Stale(path="toy/refused", partition=None, reasons=())]
    definitions = dg.Definitions(assets=[asset(name) for name in inputs])
    with dg.DagsterInstance.ephemeral() as instance:
        errors = run_waves(definitions, instance, lambda: stale, lambda path: standing, declared, actor="user:ada")
    assert (built, len(errors)) == (made, 1)


def test_ctrl_c_in_a_step_is_ctrl_c_and_not_a_refusal() -> None:
    definitions = dg.Definitions(assets=[interrupted, broken])
    with dg.DagsterInstance.ephemeral() as instance:
        failed = run_assets(definitions, instance, frozenset({"toy/two"}), partition=None, actor="user:ada")
        assert "planted" in failed.errors[0]
        with pytest.raises(KeyboardInterrupt):
            run_assets(definitions, instance, frozenset({"toy/one"}), partition=None, actor="user:ada")
