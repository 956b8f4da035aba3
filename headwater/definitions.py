"""The Dagster code location: every product's assets, the resources, the sensors. The only entry point."""

import dagster as dg

from assets._definitions import dagster_assets
from resources.dbt import dbt_folder
from resources.lake import LakeResource


def _definitions() -> dg.Definitions:
    from dagster_dbt import DbtCliResource

    folder = str(dbt_folder())
    return dg.Definitions(
        assets=list(dagster_assets()),
        resources={"lake": LakeResource(), "dbt": DbtCliResource(project_dir=folder, profiles_dir=folder)},
        executor=dg.in_process_executor,
    )


defs = _definitions()
