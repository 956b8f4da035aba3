"""Sums of digests over rows that pass by."""

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from headwater.lake._digest import TableDigest, canonical_schema, digest_batches, digest_frame


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The Arrow schema under which delta-rs and the digest take rows of a Polars schema."""
    return schema.to_arrow(compat_level=pl.CompatLevel.oldest())


def no_rows(schema: pl.Schema) -> TableDigest:
    """The digest of an empty table."""
    return TableDigest.empty(canonical_schema(arrow_schema(schema)))


class Tally:
    """The digest of the rows that passed, in all and by partition key."""

    def __init__(self, schema: pl.Schema, *, column: str | None) -> None:
        """Starts with no rows.

        Args:
            schema: Schema of the frames to come.
            column: Partition column to keep separate sums for, or None.
        """
        self._column = column
        self.total = no_rows(schema)
        self.partitions: dict[str, TableDigest] = {}

    def add(self, frame: pl.DataFrame, arrow: pa.Table | None = None) -> None:
        """Counts the rows of `frame`, which `arrow` holds too if the caller has it."""
        if self._column is None:
            self.total += digest_frame(frame) if arrow is None else digest_batches(arrow.to_batches(), arrow.schema)
            return
        for (key,), part in frame.partition_by(self._column, as_dict=True).items():
            digest = digest_frame(part)
            self.total += digest
            self.partitions[str(key)] = self.partitions[str(key)] + digest if str(key) in self.partitions else digest


def total_digest(parts: Mapping[str, TableDigest]) -> TableDigest:
    """The digest of a table from those of its partitions, of which there is at least one."""
    digests = iter(parts.values())
    total = next(digests)
    for digest in digests:
        total = total + digest
    return total
