"""Column lineage of a dbt model from its compiled SQL."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headwater.lake import Snapshot


def compiled_sql(target: Path, model: str) -> str | None:
    """The SQL that dbt ran for a model, None when it did not get that far."""
    found = sorted((target / "compiled").rglob(f"{model}.sql"))
    return found[0].read_text() if found else None


def dbt_column_lineage(
    sql: str, columns: Sequence[str], *, schema: str, sources: Mapping[str, str], snapshot: Snapshot
) -> Mapping[str, list[str]]:
    """Output column to the source columns it is made of, each `<path>:<column>`; a column that can't be known is absent.

    Args:
        sql: Compiled SQL in DuckDB's dialect.
        columns: Output columns.
        schema: Schema of the source views.
        sources: View name to lake path.
        snapshot: The pinned commit, for the sources' columns.
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    known = {schema: {name: dict.fromkeys(snapshot.entry(path).schema, "text") for name, path in sources.items()}}
    found: dict[str, list[str]] = {}
    for column in columns:
        try:
            root = lineage(column, sql, schema=known, dialect="duckdb")
        except (SqlglotError, ValueError, KeyError, RecursionError):
            continue
        names = set()
        for node in root.walk():
            if isinstance(node.expression, exp.Table) and node.expression.name in sources:
                names.add(f"{sources[node.expression.name]}:{node.name.rsplit('.', 1)[-1]}")
        if names:
            found[column] = sorted(names)
    return found
