"""The page of results: what was measured anew, in its place among what stands."""

from typing import Any

from benchmarks._table import PAGE, merged

MACHINE = {"measured": "2026-01-01T00:00:00+00:00", "processor": "P", "cores": 2, "load": 0.5, "python": "3.11.7"}


def report(name: str, measured: float) -> dict[str, Any]:
    bar = {"what": "times ours", "limit": 2.0, "measured": measured, "at_least": True, "held": measured >= 2}
    return {"name": name, "rows": [{"contender": "ours", "wall_s": measured}], "bars": [bar], "notes": ["Noted."], "machine": MACHINE, "curves": []}  # fmt: skip


def test_what_was_not_measured_stays_on_the_page() -> None:
    """One benchmark alone took the figures of all others off the page."""
    both = merged("", {"lake": report("lake", 3.0), "online": report("online", 1.0)})
    assert merged(both, {}) == both
    again = merged(both, {"online": report("online", 5.0)})
    assert "| lake: times ours | at least 2 | 3 | held |" in again
    assert "| online: times ours | at least 2 | 5 | held |" in again
    assert "**missed**" not in again
    assert again.count("## lake") == again.count("## online") == 1
    added = merged(again, {"digest": report("digest", 9.0)})
    assert [line for line in added.splitlines() if line.startswith("## ")] == ["## lake", "## digest", "## online"]
    assert added.count("Noted.") == 3


def test_the_page_that_stands_is_kept_whole() -> None:
    standing = PAGE.read_text()
    assert merged(standing, {}).split("\n| what |")[1] == standing.split("\n| what |")[1]
