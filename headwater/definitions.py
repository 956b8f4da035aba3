"""The Dagster code location: every product's assets, the resources, the sensors. The only entry point."""

import dagster as dg

from assets._declared import manifest_path
from assets._definitions import dagster_assets
from resources.lake import LakeResource


def _definitions() -> dg.Definitions:
    resources: dict[str, object] = {"lake": LakeResource()}
    if manifest_path() is not None:
        from resources.dbt_resource import dbt_resource

        resources["dbt"] = dbt_resource()
    return dg.Definitions(assets=list(dagster_assets()), resources=resources, executor=dg.in_process_executor)


defs = _definitions()
