"""What was judged of the content that stands in the lake: the checks of the builds that made it. No Dagster."""

from collections.abc import Iterator

from headwater.lake import Entry, Lake, Snapshot
from headwater.materialize import BY_HAND
from headwater.provenance import CheckRecord, Provenance, verdicts_on


def recorded_verdicts(
    lake: Lake, snapshot: Snapshot, path: str, partition: str | None = None
) -> tuple[CheckRecord, ...]:
    """Each check's newest verdict on exactly what stands at `path`, or in its partition.

    A revert, an import or an outside commit judges nothing itself. If a build made the same data version before, its
    verdicts hold for it; content that no build ever made has none.

    Args:
        lake: The lake.
        snapshot: Where it stands.
        path: The asset.
        partition: Its partition, or None.
    """
    entry = standing(snapshot, path, partition)
    if entry is None:
        return ()
    version = entry.data_version if partition is None else entry.partitions[partition]
    found: dict[str, CheckRecord] = {}
    for record in sorted(_builds(lake, snapshot, path, partition, version), key=lambda r: r.started, reverse=True):
        for check in verdicts_on(record.checks, path):
            found.setdefault(check.name, check)
    return tuple(found.values())


def standing(snapshot: Snapshot, path: str, partition: str | None = None) -> Entry | None:
    """The entry at a path, None when nothing stands there or the partition does not."""
    if not snapshot.has(path):
        return None
    entry = snapshot.entry(path)
    return entry if partition is None or partition in entry.partitions else None


def _builds(lake: Lake, snapshot: Snapshot, path: str, partition: str | None, version: str) -> Iterator[Provenance]:
    """Attested builds of a data version, and the newest one that published it."""
    for record in lake.attestations(path):
        if _made(record, path, partition, version):
            yield record.only(path, partition)
    for commit in lake.log(snapshot.commit.id, path=path):
        made = commit.provenance
        if made is not None and made.action not in BY_HAND and _made(made, path, partition, version):
            yield made.only(path, partition)
            return


def _made(record: Provenance, path: str, partition: str | None, version: str) -> bool:
    output = record.output(path, partition)
    if output is None or output.partition != partition:
        return False
    return version == (output.data_version if partition is None else output.partition_version)
