"""What starts runs from outside the graph: landed files, waiting records, outside commits, reconciliation; and what tells whether they
live. All on by default."""

from collections.abc import Sequence

import dagster as dg

from assets._automation import automation_sensors
from headwater.product import Asset
from sensors.compaction import compaction_sensor
from sensors.heartbeat import heartbeat_asset, heartbeat_checks, heartbeat_sensor
from sensors.landed import PATIENCE, landed_sensor
from sensors.mlflow_mirror import mlflow_sensor
from sensors.outside import outside_sensor
from sensors.reconcile import reconcile_sensor

__all__ = [
    "all_sensors",
    "compaction_sensor",
    "heartbeat_asset",
    "heartbeat_checks",
    "heartbeat_sensor",
    "landed_sensor",
    "mlflow_sensor",
    "outside_sensor",
    "reconcile_sensor",
]


def all_sensors(
    assets: Sequence[Asset], together: Sequence[frozenset[str]] = (), *, patience: float = PATIENCE
) -> list[dg.SensorDefinition]:
    """Every sensor over the declared assets.

    Args:
        assets: Of all products, each after what it reads.
        together: Paths that one transaction builds (the models of a dbt build), requested as one.
        patience: Seconds for which a tick looks for landed files; a tick of zero looks once.
    """
    urgent = [asset.path for asset in assets if asset.urgent]
    landed = landed_sensor(assets, patience=patience)
    own = [landed, outside_sensor(assets), reconcile_sensor(assets, together), mlflow_sensor()]
    fed = [compaction_sensor(assets)] if any(asset.feed is not None for asset in assets) else []
    found: list[dg.SensorDefinition] = [*automation_sensors(together, urgent), *own, *fed]
    return [*found, heartbeat_sensor(found)]
