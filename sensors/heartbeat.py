"""Heartbeats: each sensor's newest tick as an asset check, judged from within the daemon and, by `headwater watch`, from outside."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from headwater.heartbeats import Heartbeat, Pulse, Tick, WatchedSensor, judge_heartbeat

if TYPE_CHECKING:
    from dagster._core.scheduler.instigation import InstigatorState
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
    from dagster._utils.error import SerializableErrorInfo

SENSORS_KEY: Final = dg.AssetKey(["operations", "sensors"])
SENSOR: Final = "heartbeat"
TICK_SECONDS: Final = 10
AGAIN: Final = timedelta(minutes=10)
"""A verdict that did not change is told again after so long, so that a check shows when somebody last looked."""
_STOPPED: Final = "STOPPED"
_NEWEST: Final = 3
_LONGEST: Final = 300


def watched_sensors(sensors: Sequence[dg.SensorDefinition]) -> tuple[WatchedSensor, ...]:
    """What is expected of some sensors."""
    return tuple(
        WatchedSensor(name=sensor.name, interval=timedelta(seconds=sensor.minimum_interval_seconds or 30))
        for sensor in sensors
    )


def heartbeat_sensor(sensors: Sequence[dg.SensorDefinition]) -> dg.SensorDefinition:
    """The sensor that tells of the others."""
    watched = watched_sensors(sensors)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows as checks whether the other sensors tick. `headwater watch` does the same from outside the daemon.",
    )
    def body(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = _now()
        found = heartbeats(context.instance, watched, now=now, since=_since(context.last_tick_completion_time, now))
        told = list(changed_checks(context.instance, found))
        return dg.SensorResult(asset_events=told, skip_reason=None if told else "No sensor does otherwise than before.")

    return body


def heartbeat_asset() -> dg.AssetSpec:
    """What the checks are about: nothing in the lake, and nothing that is built."""
    return dg.AssetSpec(
        SENSORS_KEY,
        group_name=SENSORS_KEY.path[0],
        description="The sensors that start work: one check each says whether it ticks.",
        kinds={"dagster"},
    )


def heartbeat_checks(sensors: Sequence[dg.SensorDefinition]) -> dg.AssetChecksDefinition:
    """A check for each sensor. It can be run from the UI at any time."""
    watched = watched_sensors(sensors)
    specs = [
        dg.AssetCheckSpec(
            check_name(one), asset=SENSORS_KEY, description=f"Ticks within {one.limit.total_seconds():.0f} s."
        )
        for one in watched
    ]

    @dg.multi_asset_check(name="heartbeats", specs=specs)
    def body(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for beat in heartbeats(context.instance, watched, now=_now()):
            told = check_evaluation(beat)
            yield dg.AssetCheckResult(
                asset_key=SENSORS_KEY, check_name=told.check_name, passed=told.passed, severity=told.severity,
                description=told.description, metadata=told.metadata,
            )  # fmt: skip

    return body


def heartbeats(
    instance: dg.DagsterInstance, watched: Sequence[WatchedSensor], *, now: datetime, since: datetime | None = None
) -> tuple[Heartbeat, ...]:
    """How some sensors do, by what Dagster's storage says of their ticks.

    Args:
        instance: Where ticks are kept.
        watched: The sensors.
        now: The time, UTC.
        since: From when on they can have ticked.
    """
    states = _states(instance)
    found = []
    for sensor in watched:
        state = states.get(sensor.name)
        ticks = _ticks(instance, state) if state is not None else ()
        is_stopped = state is not None and state.status.value == _STOPPED
        found.append(judge_heartbeat(sensor, ticks, is_stopped=is_stopped, now=now, since=since))
    return tuple(found)


def changed_checks(instance: dg.DagsterInstance, beats: Sequence[Heartbeat]) -> Iterator[dg.AssetCheckEvaluation]:
    """The checks that Dagster does not show as they are, or last heard of long ago.

    Args:
        instance: Where checks are kept.
        beats: How the sensors do.
    """
    keys = {beat: dg.AssetCheckKey(SENSORS_KEY, check_name(beat.sensor)) for beat in beats}
    shown = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys.values()))
    for beat, key in keys.items():
        if not _is_shown(beat, shown.get(key)):
            yield check_evaluation(beat)


def check_evaluation(beat: Heartbeat) -> dg.AssetCheckEvaluation:
    """A heartbeat as the result of its check."""
    return dg.AssetCheckEvaluation(
        asset_key=SENSORS_KEY,
        check_name=check_name(beat.sensor),
        passed=beat.pulse is Pulse.ALIVE,
        severity=dg.AssetCheckSeverity.ERROR,
        description=beat.reason,
        metadata=_metadata(beat),
    )


def check_name(sensor: WatchedSensor) -> str:
    """What a sensor's check claims."""
    return f"{sensor.name}_ticks"


def daemon_heartbeats(instance: dg.DagsterInstance) -> Mapping[str, datetime]:
    """When each part of Dagster's daemon was last heard of, UTC."""
    return {
        name: datetime.fromtimestamp(beat.timestamp, UTC) for name, beat in instance.get_daemon_heartbeats().items()
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _since(before: float | None, now: datetime) -> datetime | None:
    """From when on the others can have ticked: after a time in which nobody ran the daemon, from now on."""
    own = WatchedSensor(name=SENSOR, interval=timedelta(seconds=TICK_SECONDS))
    is_back = before is None or now - datetime.fromtimestamp(before, UTC) > own.limit
    return now if is_back else None


def _states(instance: dg.DagsterInstance) -> "Mapping[str, InstigatorState]":
    """By name the newest of each sensor: another folder of the code makes another one of the same name."""
    found: dict[str, InstigatorState] = {}
    for state in instance.all_instigator_state():
        before = found.get(state.instigator_name)
        if before is None or _last(state) >= _last(before):
            found[state.instigator_name] = state
    return found


def _last(state: "InstigatorState") -> float:
    told: Any = state.instigator_data
    return float(getattr(told, "last_tick_start_timestamp", None) or getattr(told, "last_tick_timestamp", None) or 0)


def _ticks(instance: dg.DagsterInstance, state: "InstigatorState") -> tuple[Tick, ...]:
    newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=_NEWEST)
    return tuple(
        Tick(
            at=datetime.fromtimestamp(tick.timestamp, UTC),
            failed=tick.is_failure,
            ended=tick.is_completed,
            error=_said(tick.error) if tick.error is not None else "",
        )
        for tick in newest
    )


def _said(error: "SerializableErrorInfo") -> str:
    """What went wrong in the sensor's own code: Dagster puts an error of its own around it."""
    own = error.cause or error
    lines = [line.strip() for line in own.message.splitlines() if line.strip()]
    return lines[0][:_LONGEST] if lines else ""


def _metadata(beat: Heartbeat) -> dict[str, Any]:
    told = {
        name: value for name, value in beat.to_json().items() if name not in ("sensor", "reason") and value is not None
    }
    if beat.last is not None:
        told["last_tick"] = dg.MetadataValue.timestamp(beat.last)
    return told


def _is_shown(beat: Heartbeat, record: "AssetCheckExecutionRecord | None") -> bool:
    """Whether Dagster shows this pulse already, and heard of it not long ago."""
    event = record.event.dagster_event if record is not None and record.event is not None else None
    if record is None or event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return False
    told = event.asset_check_evaluation_data.metadata.get("pulse")
    age = datetime.now(UTC).timestamp() - record.create_timestamp
    return told is not None and told.value == beat.pulse.value and age < AGAIN.total_seconds()
