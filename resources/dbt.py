"""dbt: a manifest that is never older than the project, and a DuckDB file over pinned lake tables."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headwater.errors import HeadwaterError
from headwater.lake import Snapshot
from headwater.runtime import project_root

DATABASE: Final = "lake.duckdb"
_PARSED: Final = ("*.sql", "*.yml", "*.csv")


class DbtError(HeadwaterError):
    """dbt could not do what was asked."""

    def __init__(self, *, action: str, said: str) -> None:
        self.action = action
        super().__init__(f"dbt could not {action}: {said.strip()[-1500:]}")


def dbt_folder() -> Path:
    """The dbt project."""
    return project_root() / "dbt_project"


def ensure_manifest(project: Path | None = None) -> Path:
    """Parses the dbt project unless its manifest belongs to the very files that are there; returns the manifest.

    Raises:
        DbtError: dbt cannot parse the project.
    """
    folder = project or dbt_folder()
    target = folder / "target"
    manifest, mark = target / "manifest.json", target / "headwater.sha256"
    digest = _project_digest(folder)
    if manifest.is_file() and mark.is_file() and mark.read_text() == digest:
        return manifest
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (manifest.is_file() and mark.is_file() and mark.read_text() == digest):
            _parse(folder)
            mark.write_text(digest)
    return manifest


def _parse(folder: Path) -> None:
    program = [str(Path(sys.executable).with_name("dbt")), "--quiet", "parse", "--no-partial-parse"]
    done = subprocess.run(
        [*program, "--project-dir", str(folder), "--profiles-dir", str(folder)],
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_LOG_PATH": str(folder / "target")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DbtError(action="parse the project", said=done.stdout + done.stderr)


def _project_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    files = {file for pattern in _PARSED for file in folder.rglob(pattern)}
    for file in sorted(files):
        if "target" not in file.relative_to(folder).parts:
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def make_database(file: Path, *, schema: str, tables: Mapping[str, str], snapshot: Snapshot) -> None:
    """A DuckDB file whose views show lake tables at one commit.

    Args:
        file: The database to make.
        schema: Schema of the views.
        tables: View name to lake path.
        snapshot: The pinned commit.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    import duckdb

    with duckdb.connect(str(file)) as connection:
        connection.execute("set threads = 1")
        connection.execute(f'create schema if not exists "{schema}"')
        for name, path in tables.items():
            select = _select(snapshot, path, copies=file.parent / "copies")
            connection.execute(f'create view "{schema}"."{name}" as {select}')


def _select(snapshot: Snapshot, path: str, *, copies: Path) -> str:
    table = snapshot.delta(path)
    if "deletionVectors" in (table.protocol().reader_features or ()):
        raise DbtError(action=f"read {path}", said="the table has deletion vectors; compact it first")
    uris = table.file_uris()
    if not uris or any("://" in uri.removeprefix("file://") for uri in uris):
        copy = copies / f"{path.replace('/', '.')}.parquet"  # empty, or on another machine: DuckDB gets a copy
        copies.mkdir(parents=True, exist_ok=True)
        snapshot.table(path).collect().write_parquet(copy)
        uris = [str(copy)]
    columns = ", ".join(f'"{name}"' for name in snapshot.entry(path).schema)
    quoted = ", ".join("'" + uri.removeprefix("file://").replace("'", "''") + "'" for uri in uris)
    return (
        f"select {columns} from read_parquet([{quoted}], hive_partitioning = true, hive_types_autocast = false, "
        "union_by_name = true)"
    )
