"""MLflow mirror: what the lake says of models and releases reaches MLflow's registry after runs that no command ended."""

from typing import Final

import dagster as dg

from resources.lake import LakeResource

TICK_SECONDS: Final = 30


def mlflow_sensor() -> dg.SensorDefinition:
    """Mirrors when the lake's branch moved. A mirror that failed leaves the cursor, and the next tick tries again."""

    @dg.sensor(
        name="mlflow_mirror",
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows the lake's models and releases in MLflow.",
    )
    def body(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        opened, settings = lake.open(), lake.settings()
        head = opened.resolve(settings.branch).id
        if head == context.cursor:
            return dg.SensorResult(skip_reason=f"MLflow shows commit {head[:12]}.", cursor=head)
        from resources.mlflow import sync_if_behind

        done = sync_if_behind(opened, settings)
        said = "Models or releases changed; MLflow shows them now." if done else "No model and no release changed."
        return dg.SensorResult(skip_reason=said, cursor=head)

    return body
