"""Runs in this process: Ctrl-C ends them, and what follows does not begin."""

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from assets._build import run_assets


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


def test_ctrl_c_in_a_step_is_ctrl_c_and_not_a_refusal() -> None:
    definitions = dg.Definitions(assets=[interrupted, broken])
    with dg.DagsterInstance.ephemeral() as instance:
        failed = run_assets(definitions, instance, frozenset({"toy/two"}), partition=None, actor="user:ada")
        assert "planted" in failed.errors[0]
        with pytest.raises(KeyboardInterrupt):
            run_assets(definitions, instance, frozenset({"toy/one"}), partition=None, actor="user:ada")
