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
