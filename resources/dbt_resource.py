"""The dbt command line as a Dagster resource."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import dagster as dg

from resources.dbt import dbt_folder

RUN_RESULTS: Final = "run_results.json"
_BUILDS_OF_A_PROCESS: Final = 50
"""dbt keeps something of each run; a fresh process forgets it."""
_kept: list[ProcessPoolExecutor] = []


@dataclass(frozen=True, kw_only=True)
class DbtBuild:
    """How a `dbt build` ended.

    Attributes:
        results: What dbt says of each model and test that it came to, as in its run results; None when it wrote none.
        error: dbt's own error, None after a success.
    """

    results: Sequence[Mapping[str, Any]] | None
    error: str | None


class DbtCommand(dg.ConfigurableResource):
    """dbt of this very environment.

    Attributes:
        project: Folder of the dbt project and its profiles; empty for this project's own.
    """

    project: str = ""

    def build(self, models: Iterable[str], *, target: Path) -> DbtBuild:
        """Builds models, with all their tests; dbt's log goes to standard output as it comes.

        dagster-dbt runs it, without a Dagster context on purpose: with one it builds and tests only what a run selected, and
        models would be published with half their audit.

        Args:
            models: Names of models.
            target: Folder with the database; dbt writes there.
        """
        folder = self.project or str(dbt_folder())
        words = ["build", "--select", " ".join(models)]
        if _kept:
            error = _kept[-1].submit(_built_here, words, folder, str(target)).result()
        else:
            error = _built(words, folder, target)
        file = target / RUN_RESULTS
        return DbtBuild(results=json.loads(file.read_text())["results"] if file.is_file() else None, error=error)


@contextmanager
def kept_dbt() -> Iterator[None]:
    """Meanwhile all builds of this process run one after another in one other process, which imports dbt once.

    For many builds in a row, as in a replay: two thirds of a small build is dbt's start.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=_BUILDS_OF_A_PROCESS) as pool:
        _kept.append(pool)
        try:
            yield
        finally:
            _kept.remove(pool)


def _built(words: Sequence[str], folder: str, target: Path) -> str | None:
    """dbt in a process of its own; its error."""
    from dagster_dbt import DbtCliResource  # with dbt itself, more than a second: only where dbt runs

    executable = str(Path(sys.executable).with_name("dbt"))
    dbt = DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=executable)
    done = dbt.cli([*words], target_path=target, raise_on_error=False).wait()
    return None if done.is_successful() else str(done.get_error() or "dbt gave no reason")


def _built_here(words: Sequence[str], folder: str, target: str) -> str | None:
    """dbt in this process; its error. Its log stays in the target folder."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    os.environ["DBT_TARGET_PATH"] = target  # the profile reads where the database is
    places = ["--project-dir", folder, "--profiles-dir", folder, "--target-path", target, "--log-path", target]
    done = dbtRunner().invoke(["--quiet", *words, *places])
    DuckDBConnectionManager.close_all_connections()  # otherwise it holds the lock on the database until its next build
    if done.success:
        return None
    failed = [result for result in getattr(done.result, "results", ()) if result.status in ("error", "fail")]
    return str(done.exception or "; ".join(str(result.message) for result in failed) or "dbt gave no reason")
