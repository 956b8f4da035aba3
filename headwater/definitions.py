"""The Dagster code location: every product's assets, the resources, the sensors. The only entry point."""

from headwater.collector import collector_paused

with collector_paused():
    import dagster as dg

    from assets._automation import with_automation
    from assets._declared import built_by_dbt, declared, manifest_path
    from assets._definitions import dagster_assets
    from assets._products import products
    from resources.lake import LakeResource
    from sensors import all_sensors


def _definitions() -> dg.Definitions:
    resources: dict[str, object] = {"lake": LakeResource()}
    if manifest_path() is not None:
        from resources.dbt_resource import dbt_resource

        resources["dbt"] = dbt_resource()
    return dg.Definitions(
        assets=with_automation(dagster_assets()),
        resources=resources,
        sensors=all_sensors(
            [asset for product in products() for asset in declared(product)],
            [paths for product in products() if (paths := built_by_dbt(product))],
        ),
        executor=dg.in_process_executor,
    )


with collector_paused():  # for what dagster-dbt imports
    defs = _definitions()
