"""What is attributed to whom, and that it adds up: over versions to their product, over teams to all."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater.cost
from headwater.cost import (
    Answered,
    By,
    CostReport,
    Kind,
    Prices,
    Spent,
    Tariff,
    TariffError,
    cost_report,
    read_tariff,
    versions_of,
)
from headwater.names import RELEASED_FACT, VERSION_FACT
from headwater.provenance import Cost, Output, Pin, Provenance

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = timedelta(hours=730.5)
TARIFF = Tariff(
    currency="EUR", prices=(Prices(since=START, cpu_hour=3_600, gb_written=1, gb_month=10, answering_hour=3_600),)
)


def spent(
    number: int,
    path: str,
    *reads: str,
    version: str = "",
    released: str = "",
    partition: str | None = None,
    kind: Kind = Kind.PUBLISHED,
    data: str | None = None,
    cpu: float = 1.0,
) -> Spent:
    """The transaction of an hour: it wrote one path, and read others as `path@data version`."""
    facts = {**({VERSION_FACT: version} if version else {}), **({RELEASED_FACT: released} if released else {})}
    output = Output(
        path=path, partition=partition, kind="table", data_version=data or f"{path}:{number}", bytes=10**9, facts=facts
    )
    record = Provenance(
        transaction=f"t{number}",
        action="materialize",
        outputs=(output,),
        input_commit="",
        inputs=tuple(Pin(path=one.split("@")[0], data_version=one.split("@")[1]) for one in reads),
        cost=Cost(wall_seconds=2.0, cpu_seconds=cpu, bytes_written=10**9),
    )
    time = START + timedelta(hours=number)
    return Spent(record=record, kind=kind, time=time, commit=f"c{number}" if kind is not Kind.UNCHANGED else "")


def report(records: Sequence[Spent], answers: Sequence[Answered] = (), **more: Any) -> CostReport:
    owners = more.pop("owners", {"toy": ("team:toy",)})
    given = {"by": By.PRODUCT, "tariff": TARIFF, "now": START + timedelta(days=30), **more}
    return cost_report(records, answers, owners=owners, **given)


HISTORY = (
    spent(0, "toy/landing/a", partition="2013-01"),
    spent(1, "toy/landing/a", partition="2013-02"),
    spent(2, "toy/landing/b"),  # nothing ever needed it
    spent(3, "toy/training_set", "toy/landing/a@toy/landing/a:1"),
    spent(4, "toy/model", "toy/training_set@toy/training_set:3", version="1.0.0", data="m1"),
    spent(5, "toy/evaluation", "toy/model@m1", version="1.0.0"),
    spent(6, "toy/drift_page", "toy/model@m1"),
    spent(7, "toy/release", released="1.0.0"),
    spent(8, "toy/landing/a", partition="2013-02"),
    spent(9, "toy/training_set", "toy/landing/a@toy/landing/a:8"),
    spent(10, "toy/model", "toy/training_set@toy/training_set:9", version="1.0.1", data="m2"),
    spent(11, "toy/release", released="1.0.1", kind=Kind.REFUSED),
    spent(12, "toy/training_set", "toy/landing/a@toy/landing/a:8"),  # no model of it yet
    spent(13, "other/model", version="7.0.0"),
    spent(14, "toy/drift_report", kind=Kind.UNCHANGED),
)


def test_the_public_names_are_these() -> None:
    assert headwater.cost.__all__ == [
        "Answered", "By", "Cost", "CostReport", "Kind", "Prices", "Spent", "Tariff", "TariffError", "answered", "cost_report",
        "read_tariff", "spent", "versions_of",
    ]  # fmt: skip


def test_a_transaction_belongs_to_the_version_that_it_is_about_read_or_was_first_needed_by() -> None:
    found = versions_of(HISTORY, "toy")
    first = {f"t{number}" for number in (0, 1, 3, 4, 5, 6, 7)}
    assert {id for id, version in found.items() if version == "1.0.0"} == first
    assert {id for id, version in found.items() if version == "1.0.1"} == {"t8", "t9", "t10", "t11"}
    assert set(found.values()) == {"1.0.0", "1.0.1"}, "what nothing needed yet, and other products, belong to none"


def test_versions_add_up_to_their_product_and_teams_to_all() -> None:
    answers = (Answered(product="toy", version="1.0.0", day=date(2026, 1, 2), requests=5, seconds=2.0),)
    owners = {"toy": ("team:a", "team:b"), "other": ("team:b",)}
    products = {row.product: row for row in report(HISTORY, answers, owners=owners).rows}
    by_version = report(HISTORY, answers, owners=owners, by=By.VERSION)
    for product, row in products.items():
        parts = [part for part in by_version.rows if part.product == product]
        for name in ("cpu_seconds", "wall_seconds", "bytes_written", "gb_months", "requests", "total", "published"):
            assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(row, name)), name
    teams = report(HISTORY, answers, owners=owners, by=By.TEAM)
    assert teams.total.total == pytest.approx(sum(row.total for row in products.values()))
    assert {row.team: row.published for row in teams.rows} == {"team:a": 6.0, "team:b": 7.0}
    none = next(row for row in by_version.rows if (row.product, row.version) == ("toy", ""))
    assert (none.published, none.unchanged) == (2, 1)
    assert products["toy"].refused == 1


def test_what_stands_costs_until_the_next_write_and_only_within_the_window() -> None:
    records = (spent(0, "toy/a"), spent(24, "toy/a"))
    (row,) = report(records, now=START + MONTH).rows
    assert row.gb_months == pytest.approx(1.0), "one write replaces the other"
    assert row.stored_price == pytest.approx(10.0)
    half = START + MONTH / 2
    (row,) = report(records, now=START + MONTH, since=half).rows
    assert (row.published, row.gb_months) == (0, pytest.approx(0.5)), "what was there before is stored all the same"
    (row,) = report(records, now=START + MONTH, until=START + timedelta(hours=24)).rows
    assert (row.published, row.gb_months) == (1, pytest.approx(timedelta(hours=24) / MONTH))
    assert report(records, now=START, until=START).rows == ()


def test_each_use_has_the_price_of_its_time() -> None:
    new = Prices(since=START + timedelta(hours=1), cpu_hour=7_200, gb_month=20)
    tariff = Tariff(currency="EUR", prices=(*TARIFF.prices, new))
    (row,) = report((spent(0, "toy/a"), spent(1, "toy/b")), tariff=tariff, now=START + timedelta(hours=2)).rows
    assert row.cpu_price == pytest.approx(1 + 2)
    hour = timedelta(hours=1) / MONTH
    assert row.stored_price == pytest.approx(10 * hour + 20 * hour + 20 * hour)
    assert tariff.at(START - timedelta(days=99)) == TARIFF.prices[0], "the first also holds before"


@given(st.lists(st.tuples(st.sampled_from("abcm"), st.sampled_from("abcm"), st.sampled_from(list(Kind))), max_size=25))
def test_whatever_read_whatever_the_parts_add_up(edges: list[tuple[str, str, Kind]]) -> None:
    records, newest = [], dict[str, str]()
    for number, (to, of, kind) in enumerate(edges):
        path = "toy/model" if to == "m" else f"toy/{to}"
        source = "toy/model" if of == "m" else f"toy/{of}"
        reads = [f"{source}@{newest[source]}"] if source in newest else []
        made = spent(number, path, *reads, version=f"1.0.{number}" if to == "m" else "", kind=kind)
        records.append(made)
        if kind is Kind.PUBLISHED:
            newest[path] = made.record.outputs[0].data_version
    whole, parts = report(records), report(records, by=By.VERSION)
    assert parts.total.total == pytest.approx(whole.total.total)
    assert sum(row.published + row.unchanged + row.refused for row in parts.rows) == pytest.approx(len(records))


def test_the_tariff_of_the_checkout_can_be_read() -> None:
    assert read_tariff(ROOT / "tariff.toml").currency == "EUR"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("currency = ", "is no TOML"),
        ("[[prices]]\nsince = 2026-01-01", "names no currency"),
        ('currency = "EUR"', "has no"),
        ('currency = "EUR"\nprices = [1]', "that are none"),
        ('currency = "EUR"\n[[prices]]\ncpu_hour = 1', "since = None"),
        ('currency = "EUR"\n[[prices]]\nsince = 2026-01-01\ncpu_hour = -1', "cpu_hour = -1"),
        ('currency = "EUR"\n[[prices]]\nsince = 2026-01-01\ncpu_hour = nan', "cpu_hour = nan"),
        ('currency = "EUR"\n[[prices]]\nsince = 2026-01-01\ncpu_hours = 1', "'cpu_hours'"),
        ('currency = "EUR"\nx = 1\n[[prices]]\nsince = 2026-01-01', "means nothing"),
        ('currency = "EUR"\n[[prices]]\nsince = 2026-01-01\n[[prices]]\nsince = 2026-01-01', "same `since`"),
    ],
)
def test_a_tariff_that_cannot_be_used_says_what_is_wrong(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "tariff.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(TariffError, match=problem):
        read_tariff(file)
