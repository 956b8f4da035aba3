"""The dbt command line as a Dagster resource."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg

from resources.dbt import dbt_folder

RUN_RESULTS: Final = "run_results.json"


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
        from dagster_dbt import DbtCliResource  # with dbt itself, more than a second: only where dbt runs

        folder = self.project or str(dbt_folder())
        executable = str(Path(sys.executable).with_name("dbt"))
        dbt = DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=executable)
        done = dbt.cli(["build", "--select", " ".join(models)], target_path=target, raise_on_error=False).wait()
        file = target / RUN_RESULTS
        return DbtBuild(
            results=json.loads(file.read_text())["results"] if file.is_file() else None,
            error=None if done.is_successful() else str(done.get_error() or "dbt gave no reason"),
        )
