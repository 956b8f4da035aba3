"""What must never happen, tried often: kills, swaps and odd requests under load, and an hour of them. The tests count, this writes it down.

    python -m benchmarks.campaigns                      # 20 kills of each, 60 swaps, 10,000 requests, an hour of soak: about 90 minutes
    python -m benchmarks.campaigns --soak 600           # ten minutes of soak
    python -m benchmarks.campaigns --sample --soak 10   # the samples of the usual tests

Each line is a set of tests, which say themselves what they demand: a kill loses no answer that was given and doubles none, a swap fails
nobody and leaves no answer by the version before, no request gets an answer that the description does not name.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import Bar, Report

_ROOT: Final = Path(__file__).resolve().parents[1]
_HTTP: Final = "tests/serving/http"
_SUMMED: Final = ("answered", "cases", "looks")
_GROWN_MIB: Final = 16.0
_SLOWER: Final = 2.0
_HOUR: Final = 3_600.0
_SAID: Final = 2_000
"""Characters of what a failed campaign printed."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A set of tests.

    Attributes:
        name: What it is.
        node: Where the tests are.
        chosen: Those that count (`-k`), of the heavy ones.
        sample: Those of the usual tests instead.
    """

    name: str
    node: str
    chosen: str
    sample: str = ""


CAMPAIGNS: Final = (
    Campaign(name="kills of the service", node=f"{_HTTP}/test_campaigns.py", chosen="killed_service"),
    Campaign(name="kills of the compactor", node="tests/compaction/test_kills.py", chosen="killed_often", sample="that_are_killed_lose"),
    Campaign(name="swaps and roll-backs", node=f"{_HTTP}/test_campaigns.py", chosen="swaps_and_roll_backs and 60", sample="swaps_and_roll_backs and 3"),
    Campaign(name="requests made from the description", node=f"{_HTTP}/test_openapi.py", chosen="made_from_the_description and 2500", sample="made_from_the_description and 25"),
    Campaign(name="soak", node=f"{_HTTP}/test_campaigns.py", chosen="soak", sample="soak"),
)  # fmt: skip


@dataclass
class Result:
    """What became of a campaign."""

    tests: int = 0
    failed: int = 0
    seconds: float = 0.0
    told: dict[str, float] = field(default_factory=dict)
    said: str = ""


def run(campaign: Campaign, *, sample: bool, soak: float) -> Result:
    """Runs its tests in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.xml"
        chosen = campaign.sample or campaign.chosen if sample else campaign.chosen
        marks = "not heavy" if sample and campaign.name != "soak" else "heavy or not heavy"
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", campaign.node, "-k", chosen, "-m", marks,
            f"--junitxml={file}", "-o", "junit_family=xunit1",
        ]  # fmt: skip
        variables = {**os.environ, "HEADWATER_SOAK_SECONDS": str(soak)}
        done = subprocess.run(command, cwd=_ROOT, env=variables, capture_output=True, text=True, check=False)
        found = read(file) if file.is_file() else Result(failed=1)
    found.said = "" if done.returncode == 0 else done.stdout[-_SAID:] + done.stderr[-_SAID:]
    if done.returncode and not found.failed:
        found.failed = 1
    return found


def read(file: Path) -> Result:
    """What the tests' report says: sums of what they counted, the last of what they measured."""
    found = Result()
    for case in ET.parse(file).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        found.tests += 1
        found.seconds += float(case.get("time", 0))
        found.failed += case.find("failure") is not None or case.find("error") is not None
        for told in case.iter("property"):
            name, value = str(told.get("name")), float(told.get("value") or 0)
            found.told[name] = found.told.get(name, 0.0) + value if name in _SUMMED else value
    return found


def bars(results: Mapping[str, Result]) -> list[Bar]:
    """Nothing fails, and a soak leaves memory and latency as they were."""
    found = [Bar(what=f"{name}: tests that failed", limit=0, measured=of.failed, at_least=False) for name, of in results.items()]  # fmt: skip
    told = results["soak"].told if "soak" in results else {}
    if "grown_mib" in told:
        found.append(Bar(what="soak: MiB grown", limit=_GROWN_MIB, measured=told["grown_mib"], at_least=False))
        found.append(Bar(what="soak: p99 of the last quarter, times the second's", limit=_SLOWER, measured=told["last_p99_ms"] / told["p99_ms"], at_least=False))  # fmt: skip
    return found


def rows(results: Mapping[str, Result]) -> Sequence[dict[str, Any]]:
    """A line each."""
    return [
        {"campaign": name, "tests": of.tests, "failed": of.failed, "seconds": of.seconds, **{key: round(value, 2) for key, value in of.told.items() if key != "seconds"}}
        for name, of in results.items()
    ]  # fmt: skip


def main() -> None:
    """Runs all and writes `results/campaigns.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--soak", type=float, default=_HOUR, help="seconds")
    parser.add_argument("--campaign", action="append", choices=[one.name for one in CAMPAIGNS], default=[])
    asked = parser.parse_args()
    results = {}
    for campaign in CAMPAIGNS:
        if asked.campaign and campaign.name not in asked.campaign:
            continue
        print(campaign.name, flush=True)
        results[campaign.name] = run(campaign, sample=asked.sample, soak=asked.soak)
        if results[campaign.name].said:
            print(results[campaign.name].said, flush=True)
    Report(
        name="campaigns", rows=list(rows(results)), bars=bars(results),
        notes=["`answered` are answers that the log was looked through for; `p99_ms` is that of the second quarter of a soak."],
    ).finish()  # fmt: skip


if __name__ == "__main__":
    main()
