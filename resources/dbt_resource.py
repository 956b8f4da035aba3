"""The dbt command line as a Dagster resource."""

import sys
from pathlib import Path

from dagster_dbt import DbtCliResource

from resources.dbt import dbt_folder


def dbt_resource() -> DbtCliResource:
    """dbt of this very environment, on this project's profiles."""
    folder = str(dbt_folder())
    executable = str(Path(sys.executable).with_name("dbt"))
    return DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=executable)
