"""What one prediction costs the service by the number of the model's inputs, of versions that score it, and of connections.

python -m benchmarks.service_growth [--requests 2000]

Inputs and versions: processor time of the whole way from the request's bytes to the answer's, lookup and log included, in this process and
without the network: processor time hardly knows what else the machine does. The log is not synced: a sync costs the same whatever is in it.
Connections: `python -m benchmarks.serving` draws latency over 1 to 64 of them.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import Curves, Report
from tests.serving.conftest import Released
from tests.serving.http.conftest import ENTITY, PREDICT, TIME

INPUTS: Final = (5, 10, 20, 50, 100, 200, 400)
VERSIONS: Final = (1, 2, 3, 4, 6, 8)
_OWN: Final = 5
"""Inputs of the toy's model beside those that are added."""
_PARTS: Final = 10


def released(folder: Path, *, inputs: int, versions: int) -> tuple[Path, bytes]:
    """A lake with a released model of so many inputs, beside which others score the same requests; and a request."""
    from serving.policies import Shadow

    made, more = Released(folder), tuple(f"field_{number}" for number in range(inputs - _OWN))
    names = [f"1.{number}.0" for number in range(versions)]
    for number, name in enumerate(names):
        made.model(name, slope=1 + 6 * number, more=more)
    made.online(10)
    made.release("all-at-once" if versions == 1 else Shadow(live=names[0], shadows=tuple(names[1:])), names[0])
    entity = {**ENTITY, **dict.fromkeys(more, 0.5)}
    return folder, json.dumps({"entity": entity, "time": TIME}).encode()


def cost(folder: Path, body: bytes, requests: int) -> float:
    """Microseconds of processor time for a request: the median of ten parts."""
    from prometheus_client import CollectorRegistry

    from headwater.features.online._lmdb_store import EmbeddedOnlineStore
    from headwater.lake import EmbeddedLake
    from serving.deployment import DeploymentCache
    from serving.http import Desk, Keys, Limits
    from serving.http._app import App
    from serving.http._failures import Failures
    from serving.http._front import Front
    from serving.http._metrics import Metrics
    from serving.live import LiveProducts
    from serving.prediction_log import LogWriter

    def writer(place: str) -> Any:
        return lambda product: LogWriter(folder / place / product, sync=False)

    store, metrics, limits = EmbeddedOnlineStore(folder / "online"), Metrics(CollectorRegistry()), Limits()
    live = LiveProducts(
        open_lake=lambda: EmbeddedLake.open(folder / "lake"), cache=DeploymentCache(folder / "cache"), store=store
    )
    live.refresh()
    desk, failures = Desk(open_log=writer("log"), limits=limits, metrics=metrics), Failures(writer("failures"))
    front = Front(live=live, desk=desk, metrics=metrics, failures=failures, deadline=limits.deadline)
    app = App(
        live=live, desk=desk, front=front, failures=failures, metrics=metrics, keys=Keys(), body_limit=limits.body,
        most_instances=limits.instances, follow=60, exposition=lambda: b"",
    )  # fmt: skip
    try:
        return asyncio.run(_asked(app, body, requests))
    finally:
        desk.close()
        store.close()


async def _asked(app: Any, body: bytes, requests: int) -> float:
    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [(b"content-type", b"application/json")]}
    statuses: set[int] = set()

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    parts: list[float] = []
    for number in range(_PARTS + 1):
        begun = time.process_time()
        for _ in range(requests // _PARTS):
            await app(scope, receive, send)
        if number:  # the first part warms up
            parts.append(1e6 * (time.process_time() - begun) / (requests // _PARTS))
    assert statuses == {200}, statuses
    return statistics.median(parts)


def measured(sizes: Sequence[tuple[int, int]], requests: int) -> list[float]:
    """The cost at each size."""
    found = []
    for inputs, versions in sizes:
        with tempfile.TemporaryDirectory(prefix="growth-") as name:
            found.append(cost(*released(Path(name), inputs=inputs, versions=versions), requests))
    return found


def main() -> None:
    """Measures and writes `results/service_growth.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000)
    asked = parser.parse_args()
    by_inputs = dict(zip(INPUTS, measured([(count, 1) for count in INPUTS], asked.requests), strict=True))
    by_versions = dict(zip(VERSIONS, measured([(20, count) for count in VERSIONS], asked.requests), strict=True))
    rows = [{"contender": f"{count} inputs, 1 version", "cpu_us": taken} for count, taken in by_inputs.items()]
    rows += [{"contender": f"20 inputs, {count} versions", "cpu_us": taken} for count, taken in by_versions.items()]
    Report(
        name="service_growth",
        rows=rows,
        notes=["Processor time, not latency: the network and the sync of the log come on top and do not grow."],
        curves=[
            Curves(title="Cost of a prediction against inputs", x="inputs", y="CPU, µs", lines={"one version": by_inputs}),
            Curves(title="Cost of a prediction against versions", x="versions that score it", y="CPU, µs", lines={"20 inputs": by_versions}),
        ],
    ).finish()  # fmt: skip


if __name__ == "__main__":
    main()
