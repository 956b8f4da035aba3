"""`headwater cost` over a real lake: refusals and rebuilds that came out equal cost too, and bytes are those that came in."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from headwater.cli import cli
from headwater.cost import Kind, TariffError, spent
from headwater.lake import EmbeddedLake
from headwater.lake import Kind as LakeKind
from headwater.materialize import Run, materialize
from headwater.product import Asset, Check, Partitions, Verdict
from tests.review.scene import PRODUCT, Scene, prediction

TARIFF = 'currency = "CHF"\n[[prices]]\nsince = 2026-01-01\ncpu_hour = 3600\ngb_written = 1\nanswering_hour = 3600000\n'
MONTHS = Partitions(column="period", keys=("2013-01", "2013-02"))


def asset(rows: int, *, holds: bool = True) -> Asset:
    return Asset(
        path=f"{PRODUCT}/datasets/made",
        kind=LakeKind.TABLE,
        compute=lambda inputs: pl.DataFrame({"a": range(rows)}),
        checks=(Check(name="it_holds", judge=lambda audit: Verdict(passed=holds)),),
        declaration={"rows": rows, "holds": holds},
    )


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    (tmp_path / "prices.toml").write_text(TARIFF)
    monkeypatch.setenv("HEADWATER_TARIFF", str(tmp_path / "prices.toml"))
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ("cost", *words))


def said(*words: str) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def test_answers_of_one_day_are_counted_once_by_stretches_that_meet_within_it(state: Path) -> None:
    """A day belonged whole to each stretch that it touched: two halves of a day were two days."""
    scene = Scene(state)
    given = (prediction(str(number), 0.5) for number in range(3))
    scene.predictions(
        *({**one, "received": datetime(2026, 5, 1, 6 * hour, tzinfo=UTC)} for hour, one in enumerate(given, 1))
    )
    noon = "2026-05-01T12:00:00Z"
    parts = [said("--until", noon), said("--since", noon)]
    assert [part["total"]["requests"] for part in parts] == [1, 2]
    assert said()["total"]["requests"] == 3


def test_what_was_published_refused_and_rebuilt_is_priced(state: Path) -> None:
    scene = Scene(state)
    scene.predictions(prediction("a", 0.5, latency_us=2_000), prediction("b", 0.5, latency_us=3_000))
    for made in (asset(1_000), asset(1_000, holds=False), asset(1_000)):
        materialize(scene.lake, made, run=Run(actor="automation"))
    (row,) = said()["rows"]
    assert (row["published"], row["refused"], row["unchanged"]) == (1, 1, 1)
    assert (row["requests"], row["answering_seconds"], row["answering_price"]) == (2, 0.005, 5.0)
    assert row["cpu_price"] == pytest.approx(row["cpu_seconds"], rel=1e-3)
    assert row["total"] > 5
    versions = {one["version"]: one for one in said("--by", "version")["rows"]}
    assert (versions["1.0.0"]["requests"], versions[""]["published"]) == (2, 1)
    assert said("--by", "team")["rows"][0]["team"] == "team:flights"
    assert said("--until", "2020-01-01")["rows"] == []
    later = said("--since", "2099-01-01")["rows"]
    assert sum(one["cpu_seconds"] for one in later) == 0
    text = call("--by", "version").stdout
    assert "CHF" in text
    assert "Not on record: runs that failed" in text


def test_bytes_written_are_those_that_came_in(state: Path) -> None:
    lake = EmbeddedLake.open(state / "lake")

    def rows(inputs: Any, partition: str) -> pl.DataFrame:
        return pl.DataFrame({"a": range(50_000 if partition == "2013-01" else 10), "period": partition})

    made = Asset(path=f"{PRODUCT}/datasets/months", kind=LakeKind.TABLE, compute=rows, partitions=MONTHS)
    for key in MONTHS.keys:
        materialize(lake, made, run=Run(actor="automation"), partition=key)
    first, second = (one.record.cost.bytes_written for one in spent(lake, "main") if one.kind is Kind.PUBLISHED)
    whole = lake.at("main").entry(made.path).bytes
    assert first + second == whole
    assert second < first / 10, "the other month was not written again"


def test_what_cannot_be_is_refused(state: Path) -> None:
    Scene(state)
    assert call("--since", "soon").exit_code == 2
    assert call("--since", "2026-02-01", "--until", "2026-01-01").exit_code == 2
    assert call("--by", "colour").exit_code == 2
    assert "No product is called" in str(call("--product", "nothing").exception)
    (state / "prices.toml").unlink()
    assert isinstance(call().exception, TariffError)
