"""Verdicts of a commit that holds several partitions: recorded one by one, told as one for each check."""

from collections.abc import Sequence
from dataclasses import replace

from headwater.provenance import CheckRecord, verdicts_on


def claim(check: CheckRecord) -> str:
    """The claim in words, with the partition it was made of where there are several."""
    return check.name if check.partition is None else f"{check.name} ({check.partition})"


def by_name(checks: Sequence[CheckRecord], path: str, partition: str | None) -> tuple[CheckRecord, ...]:
    """One verdict for each check of an asset; of several partitions the asked one's, or the first that failed."""
    found: dict[str, list[CheckRecord]] = {}
    for check in verdicts_on(checks, path):
        found.setdefault(check.name, []).append(check)
    return tuple(_verdict(several, partition) for several in found.values())


def _verdict(several: Sequence[CheckRecord], partition: str | None) -> CheckRecord:
    failed = [check for check in several if not check.passed]
    shown = next((check for check in failed or several if check.partition == partition), (failed or several)[0])
    if not failed or shown.partition is None:
        return shown
    keys = [str(check.partition) for check in failed]
    said = f" {shown.facts['description']}" if "description" in shown.facts else ""
    description = f"Failed for {', '.join(keys)}; shown is {shown.partition}.{said}"
    return replace(shown, facts={**shown.facts, "failed_partitions": keys, "description": description})
