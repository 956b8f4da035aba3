"""`headwater watch` and `headwater sensors`: whether what should work does, seen from outside of it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from headwater.cli._output import json_option, show_rows
from headwater.cli._signals import ended
from headwater.errors import HeadwaterError
from headwater.watching import MALFORMED, ProductReader, Sample, exposition, read_disk

if TYPE_CHECKING:
    from headwater.heartbeats import Heartbeat, WatchedSensor
    from resources.settings import Settings

LOOPBACK: Final = "127.0.0.1"
_LOG: Final = logging.getLogger("headwater.watch")
_LOOK: Final = 5.0
_SELDOM: Final = 60.0
_Part = Callable[[], Sequence[Sample]]


class WatchPortError(HeadwaterError):
    """The port of the watch is taken."""

    def __init__(self, *, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {LOOPBACK}:{port}: {reason}. Is something else there? Give another --port.")


@click.command()
@click.option(
    "--port", default=9108, type=click.IntRange(0, 65535), show_default=True, help="Port; 0 takes a free one."
)
def watch(port: int) -> None:
    """Serves /metrics of sensors, products, logs and the disk on loopback, and shows in Dagster which sensors are dead. Ctrl-C stops it.

    It runs beside the daemon, so that it tells of a dead one too.
    """
    from headwater.cli._serve import log_as_json
    from resources.dagster_home import dagster_instance
    from resources.settings import load_settings

    log_as_json()
    settings, held, stopped = load_settings(), Watch(), ended()
    _listen(port, held)
    with dagster_instance(settings) as instance:
        watched, began = _watched(), datetime.now(UTC)
        held.parts = {
            "sensors": (_LOOK, lambda: list(_sensors(instance, watched, began))),
            "lake": (_LOOK, _lake_part(settings)),
            "logs": (2 * _LOOK, lambda: list(_logs(settings))),
            "assets": (_SELDOM, lambda: list(_stale(settings))),
            "disk": (_LOOK, lambda: list(read_disk(settings.state))),
        }
        while not stopped.is_set():
            held.look()
            stopped.wait(_LOOK / 5)


@click.command()
@json_option
def sensors(as_json: bool) -> None:
    """Whether each sensor ticks as it should. Exit code 1 when one is dead, stopped or failing."""
    from resources.dagster_home import dagster_instance
    from resources.settings import load_settings
    from sensors.heartbeat import heartbeats

    with dagster_instance(load_settings()) as instance:
        found = heartbeats(instance, _watched(), now=datetime.now(UTC))
    rows = [beat.to_json() for beat in found]
    show_rows(rows, ("sensor", "pulse", "age_seconds", "limit_seconds", "reason"), as_json=as_json, empty="No sensor.")
    if any(row["pulse"] != "alive" for row in rows):
        raise click.exceptions.Exit(1)


class Watch:
    """What was seen last, part by part. A part that cannot be seen shows no numbers but that it failed."""

    def __init__(self) -> None:
        self.parts: Mapping[str, tuple[float, _Part]] = {}
        self._held: dict[str, Sequence[Sample]] = {}
        self._seen: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()

    def look(self) -> None:
        """Looks at every part whose time has come."""
        for name, (period, part) in self.parts.items():
            if time.monotonic() < self._due.get(name, 0.0):
                continue
            found, problem = _tried(part)
            self._due[name] = time.monotonic() + period
            if problem and self._failed.get(name) != problem:
                _LOG.error("cannot see", extra={"part": name, "reason": problem})
            with self._lock:
                self._held[name], self._failed[name] = found, problem
                if not problem:
                    self._seen[name] = time.time()

    def samples(self) -> list[Sample]:
        """What was seen, and when."""
        with self._lock:
            own = [
                Sample(name="watch_timestamp_seconds", value=at, labels={"part": name})
                for name, at in self._seen.items()
            ]
            own += [
                Sample(name="watch_failed", value=bool(problem), labels={"part": name})
                for name, problem in self._failed.items()
            ]
            return [*(one for held in self._held.values() for one in held), *own]


def _tried(part: _Part) -> tuple[Sequence[Sample], str]:
    from resources.dagster_home import storage_errors

    known: tuple[type[Exception], ...] = (HeadwaterError, OSError, *storage_errors())
    try:
        return part(), ""
    except known as error:
        return (), str(error) or type(error).__name__
    except MALFORMED as error:
        return (), f"{type(error).__name__}: {error}"


def _listen(port: int, held: Watch) -> None:
    """Answers /metrics on loopback, in a thread. Raises WatchPortError."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.path.split("?")[0] == "/metrics"
            body = exposition(held.samples()) if is_known else b"See /metrics.\n"
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape is no news."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise WatchPortError(port=port, reason=error.strerror or str(error)) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    click.echo(f"Watching; metrics at http://{LOOPBACK}:{server.server_port}/metrics")


def _watched() -> "tuple[WatchedSensor, ...]":
    from headwater.definitions import defs
    from sensors.heartbeat import watched_sensors

    return watched_sensors(list(defs.sensors or ()))


def _sensors(instance: Any, watched: "Sequence[WatchedSensor]", began: datetime) -> Iterator[Sample]:
    """The sensors' pulses; what Dagster does not show of them yet is told to it."""
    from sensors.heartbeat import changed_checks, daemon_heartbeats, heartbeats

    found = heartbeats(instance, watched, now=datetime.now(UTC), since=began)
    for told in changed_checks(instance, found):
        instance.report_runless_asset_event(told)
    for beat in found:
        yield from _pulse(beat)
    for daemon, at in daemon_heartbeats(instance).items():
        yield Sample(name="daemon_heartbeat_timestamp_seconds", value=at.timestamp(), labels={"daemon": daemon})


def _pulse(beat: "Heartbeat") -> Iterator[Sample]:
    from headwater.heartbeats import Pulse

    labels = {"sensor": beat.sensor.name}
    yield Sample(name="sensor_up", value=beat.pulse is Pulse.ALIVE, labels=labels)
    yield Sample(name="sensor_limit_seconds", value=beat.sensor.limit.total_seconds(), labels=labels)
    for pulse in Pulse:
        yield Sample(name="sensor_pulse", value=beat.pulse is pulse, labels={**labels, "pulse": pulse.value})
    if beat.last is not None:
        yield Sample(name="sensor_last_tick_timestamp_seconds", value=beat.last.timestamp(), labels=labels)


def _lake_part(settings: "Settings") -> _Part:
    """Opens the lake when it can be, and then once. What of it cannot be read is told in the log, once."""
    from assets._products import products
    from resources.opening import open_lake

    readers: list[ProductReader] = []
    told: Mapping[str, str] = {}

    def part() -> Sequence[Sample]:
        nonlocal told
        if not readers:
            names = [product.name for product in products()]
            readers.append(ProductReader(open_lake(settings, create=False), names, branch=settings.branch))
        found, unreadable = list(readers[0].read()), readers[0].unreadable
        for path, problem in unreadable.items():
            if told.get(path) != problem:
                _LOG.error("cannot see", extra={"part": path, "reason": problem})
        told = unreadable
        return found

    return part


def _logs(settings: "Settings") -> Iterator[Sample]:
    from headwater.cli._log import fed_assets
    from headwater.materialize import read_positions
    from resources.opening import open_lake
    from serving.prediction_log import damaged_segments, log_bytes

    now = open_lake(settings, create=False).at(settings.branch)
    for asset in (*fed_assets(None), *fed_assets(None, failures=True)):
        assert asset.feed is not None
        folder = settings.state / asset.feed.folder
        labels = {"product": asset.product, "log": asset.path.rpartition("/")[2]}
        waits = asset.feed.backlog(folder, read_positions(now, asset.path), asset.feed.least_records)
        age = max((datetime.now(UTC) - waits.oldest).total_seconds(), 0) if waits.oldest is not None else 0
        yield Sample(name="log_waiting_records", value=waits.records, labels=labels)
        yield Sample(name="log_oldest_seconds", value=age, labels=labels)
        yield Sample(name="log_longest_wait_seconds", value=asset.feed.longest_wait.total_seconds(), labels=labels)
        yield Sample(name="log_bytes", value=log_bytes(folder), labels=labels)
        yield Sample(name="log_damaged_segments", value=len(damaged_segments(folder)), labels=labels)


def _stale(settings: "Settings") -> Iterator[Sample]:
    from assets._declared import declared
    from assets._plan import stale_assets
    from assets._products import products
    from resources.opening import open_lake

    lake = open_lake(settings, create=False)
    for product in products():
        found = stale_assets(lake, declared(product), branch=settings.branch, landing=settings.landing)
        yield Sample(name="stale_assets", value=len(found), labels={"product": product.name})
