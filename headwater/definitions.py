"""The Dagster code location: every product's assets, the resources, the sensors. The only entry point."""

from headwater.collector import collector_paused

with collector_paused():
    import dagster as dg

    from assets._automation import with_automation
    from assets._declared import all_declared, built_by_dbt
    from assets._definitions import dagster_assets
    from assets._products import products
    from resources.dbt_resource import DbtCommand
    from resources.lake import LakeResource
    from sensors import all_sensors, heartbeat_asset, heartbeat_checks

    _sensors = all_sensors(all_declared(), [paths for product in products() if (paths := built_by_dbt(product))])
    defs = dg.Definitions(
        assets=[*with_automation(dagster_assets()), heartbeat_asset()],
        asset_checks=[heartbeat_checks(_sensors)],
        resources={"lake": LakeResource(), "dbt": DbtCommand()},
        sensors=_sensors,
        executor=dg.in_process_executor,
    )
