"""Blocks that both kinds of card have."""

from collections.abc import Mapping, Sequence

from governance.cards._document import (
    Badge,
    Block,
    Cell,
    Code,
    Identifier,
    Missing,
    Table,
    Tone,
    identifier,
    pairs,
    table_or_missing,
)  # fmt: skip
from governance.cards.facts import RunFacts
from headwater.provenance import CheckRecord, Pin

_VERDICTS = {True: Badge(text="holds", tone=Tone.GOOD), False: Badge(text="fails", tone=Tone.BAD)}


def verdict(passed: bool) -> Badge:
    """The badge of a claim."""
    return _VERDICTS[passed]


def owners(names: Sequence[str]) -> Block:
    """Who answers for it."""
    return table_or_missing(("Owner",), [(name,) for name in names], "owners")


def inputs(pins: Sequence[Pin]) -> Block:
    """What a build read."""
    rows = [(Identifier(text=pin.path), Identifier(text=pin.data_version), pin.role, pin.read) for pin in pins]
    header = ("Input", "Data version", "Role", "Read")
    return table_or_missing(header, rows, "inputs of the build", caption="What the build read, with data versions.")


def checks(records: Sequence[CheckRecord], what: str) -> Block:
    """Verdicts of an audit."""
    rows = [(item.name, verdict(item.passed), item.severity, item.blocking, _facts(item.facts)) for item in records]
    return table_or_missing(("Check", "Verdict", "Severity", "Blocking", "Facts"), rows, what)


def _facts(facts: Mapping[str, object]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in sorted(facts.items()))


def digests(files: Mapping[str, str], what: str) -> Block:
    """Sha256 by file."""
    rows = [(name, Identifier(text=digest)) for name, digest in sorted(files.items())]
    return table_or_missing(("File", "sha256"), rows, what)


def provenance(data_version: str | None, code_version: str | None, run: RunFacts) -> Table:
    """Which data, which code, which run."""
    rows: dict[str, Cell] = {
        "Data version": identifier(data_version),
        "Code version": identifier(code_version),
        "Input commit of the lake": identifier(run.lake_commit),
        "Git commit": identifier(run.git_commit),
    }
    if run.git_commit:
        rows["Uncommitted changes in the code"] = run.git_dirty
    rows |= {"Run": identifier(run.run_id), "Started": run.started, "Asked for by": run.actor}
    return pairs(rows)


def effort(run: RunFacts) -> Block:
    """Times and sizes."""
    if run.cost is None:
        return Missing(what="duration, CPU seconds and bytes written")
    return pairs(
        {
            "Wall time, seconds": run.cost.wall_seconds,
            "CPU time, seconds": run.cost.cpu_seconds,
            "Written to the lake, bytes": run.cost.bytes_written,
        }
    )


def packages(run: RunFacts) -> Block:
    """The software environment."""
    if not run.environment:
        return Missing(what="software environment")
    rows = [(Identifier(text=name), version) for name, _, version in (line.partition("==") for line in run.environment)]
    return Table(header=("Package", "Version"), rows=tuple(rows), folded=True, caption="Installed when it was built.")


def command(text: str | None, what: str) -> Block:
    """A command to run."""
    return Code(text=text, language="bash") if text else Missing(what=what)
