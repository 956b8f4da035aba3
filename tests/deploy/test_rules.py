"""What the rules make of numbers that a service seldom shows: alerts that woke people for nothing, and beside each what has to."""

from pathlib import Path

from tests.deploy.prometheus import firing_at

PRODUCT = 'product="p"'
SINGLE, BATCH, SLOW = (
    f"headwater_{name}{{{PRODUCT}}}" for name in ("request_seconds_count", "batch_seconds_count", "slow_requests_total")
)
FAILING, SLOWED = ({f"Headwater{kind}Budget{how}" for how in ("Burning", "Leaking")} for kind in ("Error", "Latency"))
"""What fires while a budget burns: in the first hours the long times know of nothing else either."""


def ended(code: int, version: str = "") -> str:
    """The series of requests that ended so."""
    return f'headwater_requests_total{{{PRODUCT},version="{version}",code="{code}"}}'


def firing(folder: Path, minute: int, series: dict[str, str]) -> set[str]:
    """The alerts that fire at a minute, scraped every fifteen seconds; what is not said stands at zero."""
    begun = dict.fromkeys((*map(ended, (429, 500, 503, 504)), SINGLE, BATCH, SLOW), "0x1400")
    return firing_at(folder, minute, {**begun, **series}, interval="15s")


def test_the_first_answers_of_a_version_count_although_no_scrape_saw_it_at_zero(tmp_path: Path) -> None:
    """Two failures after a thousand answers between two scrapes (0.2%) were all that its series told of."""
    young = {ended(200, "1.1.0"): "_x40 1000x300", ended(503): "0x40 2x300", SINGLE: "0x40 1002x300"}
    assert firing(tmp_path, 11, young) == set()
    batches = {**young, SINGLE: "0x40 2x300", BATCH: "0x40 1000x300"}
    assert firing(tmp_path, 11, batches) == set()
    bad = {**young, ended(503): "0x40 200x300", SINGLE: "0x40 1200x300"}
    assert firing(tmp_path, 11, bad) == FAILING


def promised(name: str, values: str) -> dict[str, str]:
    """What the watch says that the product declares."""
    return {f"headwater_promised_{name}{{{PRODUCT}}}": values}


def test_a_product_keeps_its_promises_while_the_watch_is_away(tmp_path: Path) -> None:
    """One of whose requests half may fail was held to the usual promise, and woke somebody a minute after the watch was gone."""
    failing = {SINGLE: "0+10x600", ended(200, "1.0.0"): "0+8x600", ended(503): "0+2x600", SLOW: "0+8x600"}
    watch = 'up{job="headwater-watch"}'
    lenient = {**promised("errors", "0.5x600"), **promised("latency_share", "0.1x600")}
    assert firing(tmp_path, 59, {**failing, **lenient}) == set()
    forgotten = {**promised("errors", "0.5x240 stale"), **promised("latency_share", "0.1x240 stale")}
    gone = {**failing, **forgotten, watch: "1x240 0x300"}
    assert firing(tmp_path, 61, gone) == set()
    assert firing(tmp_path, 75, gone) == {"HeadwaterWatchAway"}
    assert firing(tmp_path, 75, {**failing, watch: "1x240 0x300"}) == {"HeadwaterWatchAway", *FAILING, *SLOWED}
    stricter = {**lenient, **promised("errors", "0.5x240 0.01x300")}
    assert firing(tmp_path, 62, {**failing, **stricter}) == FAILING, "what is declared now counts at once"


def test_a_budget_is_judged_from_as_many_requests_on_as_the_product_declares(tmp_path: Path) -> None:
    """One of four requests failed in the night, and somebody got up for it."""
    few = {SINGLE: "0x40 3x60 4x300", ended(200, "1.0.0"): "0x40 3x360", ended(503): "0x100 1x300", SLOW: "0x100 4x300"}
    assert firing(tmp_path, 27, few) == set()
    assert firing(tmp_path, 27, {**few, **promised("min_requests", "3x400")}) == {*FAILING, *SLOWED}
    many = {
        name: values.replace("1x", "30x").replace("3x", "90x").replace("4x", "120x") for name, values in few.items()
    }
    assert firing(tmp_path, 27, many) == {*FAILING, *SLOWED}
    batches = {**few, BATCH: "0x40 100x400"}
    assert firing(tmp_path, 27, {**batches, SINGLE: "0x400", SLOW: "0x400", ended(503): "0x100 25x300"}) == FAILING
    assert firing(tmp_path, 27, {**batches, ended(503): "0x400"}) == set(), "a batch says nothing of latency"


def test_a_compaction_is_late_beside_what_the_product_declares(tmp_path: Path) -> None:
    """What may wait a quarter of an hour was told to be late in each one."""
    log = f'{PRODUCT},log="service_failures"'
    oldest, declared = (f"headwater_log_{name}_seconds{{{log}}}" for name in ("oldest", "longest_wait"))
    rhythm = {oldest: " ".join(["0+15x60"] * 12), declared: "900x800"}
    for minute in (14, 29, 44):
        assert firing(tmp_path, minute, rhythm) == set()
    dead = {oldest: "0+15x200", declared: "900x800"}
    assert firing(tmp_path, 24, dead) == set()
    assert firing(tmp_path, 28, dead) == {"HeadwaterCompactionLate"}
