"""Costs put together: by product, by team, by version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final

from headwater.cost._attribution import versions_of
from headwater.cost._records import Answered, Kind, Spent
from headwater.cost._tariff import Tariff

NO_VERSION: Final = ""
_GB: Final = 1e9
_MONTH: Final = timedelta(hours=730.5)
_SUMMED: Final = (
    "published", "unchanged", "refused", "cpu_seconds", "wall_seconds", "bytes_written", "gb_months", "requests", "answering_seconds",
    "cpu_price", "written_price", "stored_price", "answering_price",
)  # fmt: skip


class By(StrEnum):
    """How costs are grouped."""

    PRODUCT = "product"
    TEAM = "team"
    VERSION = "version"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was used and what that costs. Numbers may be fractions, where several own a product.

    Attributes:
        product: The product; empty in sums over several.
        team: The owner, when grouped by team.
        version: The version, when grouped by it; empty for what belongs to none.
        published, unchanged, refused: Transactions by how they ended.
        cpu_seconds, wall_seconds: Of these.
        bytes_written: To the lake, by these.
        gb_months: 10^9 bytes that stood in the lake, times months of 730.5 hours.
        requests: Predictions.
        answering_seconds: From receipt to record, all together.
        cpu_price, written_price, stored_price, answering_price: What that costs.
    """

    product: str = ""
    team: str = ""
    version: str = NO_VERSION
    published: float = 0
    unchanged: float = 0
    refused: float = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    bytes_written: float = 0
    gb_months: float = 0.0
    requests: float = 0
    answering_seconds: float = 0.0
    cpu_price: float = 0.0
    written_price: float = 0.0
    stored_price: float = 0.0
    answering_price: float = 0.0

    @property
    def total(self) -> float:
        """All prices together."""
        return self.cpu_price + self.written_price + self.stored_price + self.answering_price

    def plus(self, other: "Cost", share: float = 1.0) -> "Cost":
        """Both together, of the other one a share."""
        return replace(self, **{name: getattr(self, name) + share * getattr(other, name) for name in _SUMMED})

    def to_json(self) -> dict[str, Any]:
        """JSON values, to the millionth."""
        numbers = {name: round(getattr(self, name), 6) for name in _SUMMED}
        return {
            "product": self.product, "team": self.team, "version": self.version, **numbers, "total": round(self.total, 6),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """Costs by group.

    Attributes:
        by: How they are grouped.
        currency: Of the prices.
        rows: The groups, the dearest first.
        total: All of them together.
    """

    by: By
    currency: str
    rows: tuple[Cost, ...]
    total: Cost


def cost_report(
    records: Sequence[Spent],
    answers: Iterable[Answered],
    *,
    by: By,
    owners: Mapping[str, Sequence[str]],
    tariff: Tariff,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> CostReport:
    """What was used between two instants, priced as of when it was used.

    A transaction that wrote for several products is shared evenly, and so is a product that several own. What stands in the lake costs
    from the commit that wrote it until the next one at its path, or the one that removed it; earlier versions that history keeps are not counted again.

    Args:
        records: Every transaction on record, oldest first: what was there before `since` is stored all the same.
        answers: What versions answered.
        by: Product, team, or version.
        owners: Products to who owns them; only these are reported.
        tariff: The prices.
        now: Until when what stands is stored.
        since: From this instant on; None from the beginning.
        until: Before this instant; None takes `now`.
    """
    start, end = since or datetime(1970, 1, 1, tzinfo=UTC), until or now
    versions = {product: versions_of(records, product) for product in owners}
    found: dict[tuple[str, str], Cost] = {}

    def add(product: str, version: str, cost: Cost) -> None:
        key = (product, version if by is By.VERSION else NO_VERSION)
        found[key] = found.get(key, Cost(product=product, version=key[1])).plus(cost)

    for one in records:
        products = [product for product in one.products if product in owners]
        if start <= one.time < end:
            for product in products:
                share = Cost().plus(_used(one, tariff), 1 / len(one.products))
                add(product, versions[product].get(one.record.transaction, NO_VERSION), share)
    for path, one, size, left, right in _stored(records, min(end, now)):
        product, left = path.split("/", 1)[0], max(left, start)
        if product in owners and left < right:
            version = versions[product].get(one.record.transaction, NO_VERSION)
            add(product, version, _held(size, left, right, tariff))
    for answer in answers:
        day = datetime.combine(answer.day, time(), UTC)
        if answer.product in owners and start <= day + timedelta(days=1, microseconds=-1) and day < end:
            add(answer.product, answer.version, _answering(answer, tariff, day))
    rows = _by_team(found.values(), owners) if by is By.TEAM else list(found.values())
    total = Cost()
    for row in rows:
        total = total.plus(row)
    ordered = sorted(rows, key=lambda row: (-row.total, row.product, row.team, row.version))
    return CostReport(by=by, currency=tariff.currency, rows=tuple(ordered), total=total)


def _used(one: Spent, tariff: Tariff) -> Cost:
    used, prices = one.record.cost, tariff.at(one.time)
    return Cost(
        published=one.kind is Kind.PUBLISHED,
        unchanged=one.kind is Kind.UNCHANGED,
        refused=one.kind is Kind.REFUSED,
        cpu_seconds=used.cpu_seconds,
        wall_seconds=used.wall_seconds,
        bytes_written=used.bytes_written,
        cpu_price=used.cpu_seconds / 3_600 * prices.cpu_hour,
        written_price=used.bytes_written / _GB * prices.gb_written,
    )


def _stored(records: Sequence[Spent], end: datetime) -> Iterator[tuple[str, Spent, int, datetime, datetime]]:
    """By path and published write: its bytes, from when, until when."""
    writes: dict[str, list[tuple[Spent, int | None]]] = {}
    for one in records:
        if one.kind is Kind.PUBLISHED:
            sizes: dict[str, int | None] = {output.path: output.bytes or 0 for output in one.record.outputs}
            sizes |= dict.fromkeys(one.removed)
            for path, size in sizes.items():
                writes.setdefault(path, []).append((one, size))
    for path, found in writes.items():
        ends = [later.time for later, _ in found[1:]] + [end]
        for (one, size), until in zip(found, ends, strict=True):
            if size is not None:
                yield path, one, size, one.time, min(until, end)


def _held(size: int, left: datetime, right: datetime, tariff: Tariff) -> Cost:
    found = Cost()
    for start, end, prices in tariff.periods(left, right):
        months = size / _GB * ((end - start) / _MONTH)
        found = found.plus(Cost(gb_months=months, stored_price=months * prices.gb_month))
    return found


def _answering(answer: Answered, tariff: Tariff, day: datetime) -> Cost:
    price = answer.seconds / 3_600 * tariff.at(day).answering_hour
    return Cost(requests=answer.requests, answering_seconds=answer.seconds, answering_price=price)


def _by_team(costs: Iterable[Cost], owners: Mapping[str, Sequence[str]]) -> list[Cost]:
    found: dict[str, Cost] = {}
    for cost in costs:
        teams = owners[cost.product]
        for team in teams:
            found[team] = found.get(team, Cost(team=team)).plus(cost, 1 / len(teams))
    return list(found.values())
