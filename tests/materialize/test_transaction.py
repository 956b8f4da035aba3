"""The transaction around a build when something goes wrong in the middle of it."""

import math
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headwater.lake import EmbeddedLake
from headwater.lake.errors import MergeConflictError
from headwater.materialize import (
    BY_HAND,
    INPUTS_USABLE,
    FactError,
    LandedFileChangedError,
    Outcome,
    Run,
    Status,
    materialize,
    plain_facts,
)
from headwater.product import Asset, Audit, Check, Inputs, Partitions, RejectedInputError, Result, Verdict, table
from headwater.provenance import Provenance

MONTHS = Partitions.months("2013-01", "2013-06")


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def build(lake: EmbeddedLake, asset: Asset, **more: Any) -> Outcome:
    return materialize(lake, asset, run=Run(actor="test"), **more)


def months_asset(meet: Any = None) -> Asset:
    @table("toy/months", partitions=MONTHS)
    def months(inputs: Inputs, key: str) -> pl.DataFrame:
        """By month."""
        if meet is not None:
            meet()
        return pl.DataFrame({"x": [int(key[-2:])]})

    return months


def test_another_partition_published_meanwhile_makes_this_one_build_again(lake: EmbeddedLake) -> None:
    rival = [lambda: build(lake, months_asset(), partition="2013-02")]
    outcome = build(lake, months_asset(lambda: rival.pop()() if rival else None), partition="2013-01")
    assert outcome.status is Status.PUBLISHED
    assert sorted(lake.at("main").table("toy/months").collect()["x"]) == [1, 2]
    assert outcome.provenance is not None
    assert outcome.provenance.input_commit == lake.resolve("main~1").id


PUBLISHER = """
import sys, time
from pathlib import Path
import polars as pl
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, materialize
from headwater.product import Partitions, table

folder, key, go = sys.argv[1:]

@table("toy/months", partitions=Partitions.months("2013-01", "2013-06"))
def months(inputs, key):
    (Path(go) / key).touch()
    while len(list(Path(go).iterdir())) < 3:
        time.sleep(0.01)
    return pl.DataFrame({"x": [int(key[-2:])]})

print(materialize(EmbeddedLake.open(Path(folder)), months, run=Run(), partition=key).status)
"""


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("2013-01", "2013-02", "2013-03"), ["published"] * 3),
        (("2013-01", "2013-01", "2013-02"), ["published", "published", "unchanged"]),
    ],
    ids=["three partitions", "one partition twice"],
)
def test_processes_that_pinned_one_commit_all_end_well(
    lake: EmbeddedLake, tmp_path: Path, keys: tuple[str, ...], told: list[str]
) -> None:
    go = tmp_path / "go"
    go.mkdir()
    if len(set(keys)) < 3:
        (go / "third").touch()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(lake.location), key, str(go)], stdout=subprocess.PIPE, text=True
        )
        for key in keys
    ]
    assert sorted(worker.communicate(timeout=120)[0].strip() for worker in workers) == told
    assert lake.at("main").table("toy/months").collect().height == len(set(keys))
    assert len([c for c in lake.log() if c.message.startswith("Materialize")]) == len(set(keys))
    assert lake.verify().clean


def test_the_same_asset_built_to_something_else_meanwhile_is_a_conflict(lake: EmbeddedLake) -> None:
    def numbers(value: int, meet: Any = None) -> Asset:
        @table("toy/numbers")
        def made(inputs: Inputs) -> pl.DataFrame:
            """One number."""
            if meet is not None:
                meet()
            return pl.DataFrame({"x": [value]})

        return made

    with pytest.raises(MergeConflictError):
        build(lake, numbers(1, lambda: build(lake, numbers(2))))
    assert build(lake, numbers(2, lambda: None)).status is Status.UNCHANGED
    assert lake.at("main").table("toy/numbers").collect()["x"].to_list() == [2]


def test_the_same_partition_built_to_something_else_meanwhile_is_a_conflict(lake: EmbeddedLake) -> None:
    @table("toy/months", partitions=MONTHS)
    def other(inputs: Inputs, key: str) -> pl.DataFrame:
        """Another answer."""
        return pl.DataFrame({"x": [99]})

    rival = months_asset(lambda: build(lake, other, partition="2013-01"))
    with pytest.raises(MergeConflictError):
        build(lake, rival, partition="2013-01")


class Colour(Enum):
    RED = 1


AWKWARD = {
    "nan": math.nan,
    "inf": math.inf,
    "enum": Colour.RED,
    "instant": datetime(2013, 1, 1, tzinfo=UTC),
    "duration": timedelta(seconds=90),
    "numpy": np.float32(0.5),
    "numpy_nan": np.float64("nan"),
    "array": np.array([1, 2]),
    "decimal": Decimal("1.10"),
    "bytes": b"\xff",
    "tuple": (1, math.nan),
    "path": Path("a/b"),
    "rows": pl.DataFrame({"x": [1]}),
    "nested": {1: {"deep": np.int64(3)}},
    "true": np.True_,
}


def test_awkward_facts_are_published_as_strict_json_and_read_back_equal(lake: EmbeddedLake) -> None:
    check = Check(name="reports", judge=lambda audit: Verdict(passed=True, facts=AWKWARD))

    @table("toy/facts", checks=[check])
    def facts(inputs: Inputs) -> Result:
        """One row."""
        return Result(data=pl.DataFrame({"x": [1]}), facts=AWKWARD)

    outcome = build(lake, facts)
    kept = lake.resolve("main").provenance
    assert kept == outcome.provenance
    assert kept is not None
    found = kept.outputs[0].facts
    assert {name: found[name] for name in ("nan", "inf", "numpy_nan", "enum", "bytes", "tuple")} == {
        "nan": None, "inf": None, "numpy_nan": None, "enum": 1, "bytes": "ff", "tuple": [1, None],
    }  # fmt: skip
    assert found["instant"] == "2013-01-01T00:00:00+00:00"
    assert found["nested"] == {"1": {"deep": 3}}
    assert "NaN" not in str(kept.to_metadata())
    assert dict(kept.checks[-1].facts) == dict(found)


def test_a_fact_without_a_plain_form_refuses_the_build_before_anything_is_published(lake: EmbeddedLake) -> None:
    @table("toy/facts")
    def facts(inputs: Inputs) -> Result:
        """One row."""
        return Result(data=pl.DataFrame({"x": [1]}), facts={"what": object()})

    before = lake.resolve("main").id
    with pytest.raises(FactError, match="'what' is a object"):
        build(lake, facts)
    assert lake.resolve("main").id == before
    assert plain_facts({"a": (1,)}) == {"a": [1]}


@pytest.mark.parametrize(
    "answer",
    [TypeError("no"), AttributeError("no"), RuntimeError("no"), AssertionError("no"), None, True, math.nan, "yes"],
    ids=repr,
)
def test_a_check_that_raises_or_answers_nonsense_fails_and_leaves_its_branch(lake: EmbeddedLake, answer: Any) -> None:
    def judge(audit: Audit) -> Verdict:
        if isinstance(answer, Exception):
            raise answer
        return answer if answer in (None, True) else Verdict(passed=answer)

    @table("toy/judged", checks=[Check(name="holds", judge=judge)])
    def judged(inputs: Inputs) -> pl.DataFrame:
        """One row."""
        return pl.DataFrame({"x": [1]})

    outcome = build(lake, judged)
    assert outcome.status is Status.REFUSED
    assert not lake.at("main").has("toy/judged")
    assert lake.at(str(outcome.branch)).has("toy/judged")


def test_a_check_that_makes_polars_panic_fails(lake: EmbeddedLake) -> None:
    def judge(audit: Audit) -> Verdict:
        raise pl.exceptions.PanicException("index out of bounds")

    @table("toy/judged", checks=[Check(name="holds", judge=judge)])
    def judged(inputs: Inputs) -> pl.DataFrame:
        """One row."""
        return pl.DataFrame({"x": [1]})

    assert build(lake, judged).status is Status.REFUSED


def test_an_interrupted_function_leaves_main_and_no_branch(lake: EmbeddedLake) -> None:
    @table("toy/slow")
    def slow(inputs: Inputs) -> pl.DataFrame:
        """Interrupted."""
        raise KeyboardInterrupt

    before = lake.branches()
    with pytest.raises(KeyboardInterrupt):
        build(lake, slow)
    assert lake.branches() == before
    assert lake.verify().clean


BAD = pl.LazyFrame({"x": ["1", "two"]})
MISFITS = {
    "a strict cast": lambda: BAD.select(pl.col("x").cast(pl.Int64)),
    "a column that is not there": lambda: BAD.select("gone"),
    "a dtype that does not fit": lambda: BAD.select(pl.col("x").dt.year()),
}


@pytest.mark.parametrize("eager", [True, False], ids=["in the function", "in its plan"])
@pytest.mark.parametrize("query", MISFITS.values(), ids=MISFITS.keys())
def test_a_query_that_fails_on_its_data_is_refused_with_its_message(
    lake: EmbeddedLake, query: Any, eager: bool
) -> None:
    @table("toy/plan")
    def plan(inputs: Inputs) -> pl.LazyFrame | pl.DataFrame:
        """Fails."""
        return query().collect() if eager else query()

    before = lake.resolve("main").id
    outcome = build(lake, plan)
    assert outcome.status is Status.REFUSED
    assert [(check.name, check.passed) for check in outcome.checks] == [(INPUTS_USABLE, False)]
    assert "Error: " in outcome.checks[0].facts["problem"]
    assert str(outcome.branch) in [branch.name for branch in lake.branches()]
    assert lake.resolve("main").id == before


@pytest.mark.parametrize("error", [TypeError("no"), KeyError("no"), OSError("no")], ids=repr)
def test_a_programming_error_in_the_function_is_raised(lake: EmbeddedLake, error: Exception) -> None:
    @table("toy/plan")
    def plan(inputs: Inputs) -> pl.DataFrame:
        """Fails."""
        raise error

    with pytest.raises(type(error)):
        build(lake, plan)
    assert [branch.name for branch in lake.branches()] == ["main"]


def test_a_store_that_does_not_answer_is_no_fault_of_the_data(lake: EmbeddedLake) -> None:
    @table("toy/plan")
    def plan(inputs: Inputs) -> pl.DataFrame:
        """Fails."""
        raise pl.exceptions.ComputeError("object-store error: Generic S3 error: error sending request")

    with pytest.raises(pl.exceptions.ComputeError):
        build(lake, plan)


def test_an_empty_table_and_an_empty_partition_are_published(lake: EmbeddedLake) -> None:
    @table("toy/months", partitions=MONTHS)
    def months(inputs: Inputs, key: str) -> pl.DataFrame:
        """None."""
        return pl.DataFrame(schema={"x": pl.Int64})

    assert build(lake, months, partition="2013-01").status is Status.PUBLISHED
    assert lake.at("main").entry("toy/months").rows == 0
    assert build(lake, months, partition="2013-01").status is Status.UNCHANGED


def test_rejected_rows_that_no_table_can_hold_do_not_hide_the_reason(lake: EmbeddedLake) -> None:
    @table("toy/picky")
    def picky(inputs: Inputs) -> pl.DataFrame:
        """Refuses."""
        raise RejectedInputError("Row 3 is no number.", rows=pl.DataFrame({"o": [object()]}))

    outcome = build(lake, picky)
    assert outcome.status is Status.REFUSED
    assert outcome.checks[0].facts["problem"] == "Row 3 is no number."
    assert "not_kept" in outcome.checks[0].facts


def landed_asset(read: Any) -> Asset:
    @table("toy/landed", landed=("n.txt",))
    def landed(inputs: Inputs) -> pl.DataFrame:
        """The number in the file."""
        return pl.DataFrame({"x": [int(read(inputs.landed("n.txt")))]})

    return landed


def test_a_file_replaced_while_it_is_read_is_read_again(lake: EmbeddedLake, tmp_path: Path) -> None:
    file = tmp_path / "landing" / "toy" / "n.txt"
    file.parent.mkdir(parents=True)
    file.write_text("1")
    fresh = [2]

    def read(path: Path) -> str:
        if fresh:
            new = path.with_name("new")
            new.write_text(str(fresh.pop()))
            new.replace(path)
        return path.read_text()

    outcome = build(lake, landed_asset(read), landing=tmp_path / "landing")
    assert outcome.provenance is not None
    from headwater.materialize import file_sha256

    assert outcome.provenance.inputs[0].data_version == file_sha256(file)
    assert lake.at("main").table("toy/landed").collect().item() == 2


def test_a_file_that_never_stays_still_is_refused(lake: EmbeddedLake, tmp_path: Path) -> None:
    file = tmp_path / "landing" / "toy" / "n.txt"
    file.parent.mkdir(parents=True)
    file.write_text("1")

    def read(path: Path) -> str:
        path.write_text(path.read_text() + "0")
        return path.read_text()

    with pytest.raises(LandedFileChangedError, match=r"n\.txt"):
        build(lake, landed_asset(read), landing=tmp_path / "landing")
    assert not lake.at("main").has("toy/landed")


def test_a_retry_after_a_build_that_came_out_equal_publishes_nothing_twice(lake: EmbeddedLake) -> None:
    run = Run(run_id="r-1", actor="test")
    build(lake, months_asset(), partition="2013-01")
    head = lake.resolve("main").id
    for _ in range(2):
        outcome = materialize(lake, months_asset(), run=run, partition="2013-01")
        assert outcome.status is Status.UNCHANGED
    assert lake.resolve("main").id == head


@table("toy/a")
def a_one(inputs: Inputs) -> pl.DataFrame:
    """One."""
    return pl.DataFrame({"x": [1]})


@table("toy/a")
def a_two(inputs: Inputs) -> pl.DataFrame:
    """Two."""
    return pl.DataFrame({"x": [2]})


def test_what_reads_a_reverted_input_sees_the_record_of_the_build_that_made_it(lake: EmbeddedLake) -> None:
    seen: list[Provenance] = []

    @table("toy/b", inputs=["toy/a"])
    def b(inputs: Inputs) -> pl.LazyFrame:
        """The same."""
        seen.append(inputs.provenance("toy/a"))
        return inputs.table("toy/a")

    build(lake, a_one)
    before = build(lake, b).provenance
    changed = build(lake, a_two)
    build(lake, b)
    lake.revert(str(changed.commit), actor="user:ada")
    after = build(lake, b).provenance
    assert before is not None
    assert after is not None
    assert seen[-1].action not in BY_HAND
    assert after.outputs[0].definition == before.outputs[0].definition != ""


def test_partitions_that_a_revert_did_not_touch_keep_their_own_record(lake: EmbeddedLake) -> None:
    from headwater.materialize import record_of

    build(lake, months_asset(), partition="2013-01")
    second = build(lake, months_asset(), partition="2013-02")
    third = build(lake, months_asset(), partition="2013-03")
    lake.revert(str(third.commit))
    record = record_of(lake, lake.at("main"), "toy/months", "2013-02")
    assert record is not None
    assert record.commit.id == second.commit


def test_threads_of_one_process_publish_partitions_of_one_table(lake: EmbeddedLake) -> None:
    found: list[Status] = []
    threads = [
        threading.Thread(target=lambda key=key: found.append(build(lake, months_asset(), partition=key).status))
        for key in MONTHS.keys[:3]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [Status.PUBLISHED] * 3
