"""The typed record that every published commit carries: what was made, from what, by which code, checked how.

One place writes it (`headwater.materialize`), one place reads it (`Provenance.from_metadata`). The schema is
versioned: a reader refuses a newer one instead of guessing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from headwater.errors import HeadwaterError
from headwater.names import ASSET_FACT, PROVENANCE_KEY, TRANSACTION_KEY

SCHEMA_VERSION: Final = 1


class ProvenanceError(HeadwaterError):
    """A commit's provenance cannot be read."""

    def __init__(self, *, commit: str, reason: str) -> None:
        self.commit, self.reason = commit, reason
        super().__init__(f"The provenance of commit {commit} cannot be read: {reason}.")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One input as it was read.

    Attributes:
        path: Lake path of the input.
        data_version: Its data version at the input commit.
        read: Whether the asset's function really read it (a declared input may go unread).
        role: `input`; `landed` for a file from outside (its sha256); `log` for the events of a log (its partition, and their
            offsets as `first..end`); `previous` for its own past, which never makes it stale.
        partition: Which partition of the output read it, where one commit holds several; None means all of them.
    """

    path: str
    data_version: str
    read: bool = True
    role: str = "input"
    partition: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """One check's verdict as it stood at publication.

    Attributes:
        name: The claim, such as `keys_are_unique`.
        passed: Whether it held.
        severity: `ERROR` or `WARN`.
        blocking: Whether a failure refuses publication.
        facts: Small JSON values people read: counts, limits, examples.
        partition: Which partition was judged, where one commit holds several; None means what the commit holds.
    """

    name: str
    passed: bool
    severity: str = "ERROR"
    blocking: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    partition: str | None = None


def verdicts_on(checks: Sequence[CheckRecord], path: str) -> tuple[CheckRecord, ...]:
    """The verdicts on one of the assets that a transaction built: those on the whole, and those that name it."""
    return tuple(check for check in checks if check.facts.get(ASSET_FACT, path) == path)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One asset (or one partition of it) that a commit published.

    Attributes:
        path: Lake path and asset key.
        partition: Partition key, or None.
        kind: `table` or `folder`.
        data_version: Digest of the whole asset's logical content after this commit.
        partition_version: Digest of the partition's content, when there is a partition.
        code_version: Digest of the asset's own code and declaration.
        definition: Digest over `code_version` and the definitions of all inputs: what changed when only data did not.
        rows: Row count after the commit (tables).
        bytes: Size in bytes after the commit.
        facts: Small JSON values of the asset's kind, such as a model's semantic version and metrics.
    """

    path: str
    partition: str | None = None
    kind: str
    data_version: str
    partition_version: str | None = None
    code_version: str = ""
    definition: str = ""
    rows: int | None = None
    bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a materialization used.

    Attributes:
        wall_seconds: From pin to publish.
        cpu_seconds: User and system time of the process and its children.
        bytes_written: Bytes written to the lake.
        lake_seconds: The share of `wall_seconds` spent on pin, audit, publish and report rather than on the function.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes_written: int = 0
    lake_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made the outputs of one commit.

    Attributes:
        transaction: The transaction's id; the same id never publishes twice.
        action: `materialize`, `land`, `revert`, `merge`, `import`, `remove`, `order`, `refuse`.
        outputs: What the commit changed.
        input_commit: The commit at which every input was read.
        inputs: Each input's path and data version.
        checks: Verdicts of the audit.
        run_id: The Dagster run, when one made it.
        git_commit: Commit of the code that ran, None outside a git checkout.
        git_dirty: Whether tracked files differed from that commit.
        environment: Digest of interpreter and resolved packages.
        started: ISO 8601 UTC instant of the pin.
        cost: What it used.
        actor: Who or what asked for it, such as `user:ada`, `sensor:landed_data`.
        schema_version: Version of this record's schema.
    """

    transaction: str
    action: str
    outputs: tuple[Output, ...]
    input_commit: str
    inputs: tuple[Pin, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    run_id: str | None = None
    git_commit: str | None = None
    git_dirty: bool = False
    environment: str = ""
    started: str = ""
    cost: Cost = field(default_factory=Cost)
    actor: str = ""
    schema_version: int = SCHEMA_VERSION

    def output(self, path: str, partition: str | None = None) -> Output | None:
        """The output at `path`, or None when this commit did not write it.

        Args:
            path: Lake path.
            partition: Which one, where the commit holds several; without one of that key the first is given.
        """
        found = [output for output in self.outputs if output.path == path]
        return next((output for output in found if output.partition == partition), found[0] if found else None)

    def only(self, path: str, partition: str | None) -> "Provenance":
        """The record as if the commit held this output alone: its pins and its checks, not those of other partitions."""
        output = self.output(path, partition)
        if partition is None or output is None or output.partition != partition:
            return self
        own = (None, partition)
        return replace(
            self,
            outputs=(output,),
            inputs=tuple(pin for pin in self.inputs if pin.partition in own),
            checks=tuple(check for check in self.checks if check.partition in own),
        )

    def to_metadata(self) -> dict[str, str]:
        """Commit metadata: strings to strings, as both lakes store it."""
        raw = asdict(self)
        for item in (*raw["inputs"], *raw["checks"]):
            if item["partition"] is None:
                del item["partition"]
        text = json.dumps(raw, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return {PROVENANCE_KEY: text, TRANSACTION_KEY: self.transaction}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, commit: str) -> "Provenance | None":
        """The record a commit carries, None when it carries none (an outside commit).

        Raises:
            ProvenanceError: It is not JSON, lacks a field, or was written by a newer Headwater.
        """
        text = metadata.get(PROVENANCE_KEY)
        if text is None:
            return None
        try:
            raw = json.loads(text)
            version = int(raw.get("schema_version", 0))
            if version > SCHEMA_VERSION:
                raise ProvenanceError(
                    commit=commit,
                    reason=f"it has schema {version}, this Headwater reads up to {SCHEMA_VERSION}; upgrade Headwater",
                )
            return cls(
                **{
                    **raw,
                    "outputs": tuple(Output(**item) for item in raw["outputs"]),
                    "inputs": tuple(Pin(**item) for item in raw["inputs"]),
                    "checks": tuple(CheckRecord(**item) for item in raw["checks"]),
                    "cost": Cost(**raw["cost"]),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProvenanceError(commit=commit, reason=f"{type(error).__name__}: {error}") from error
