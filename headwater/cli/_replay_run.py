"""Plays the days of a replay: asks, lands, builds, looks at what was decided, and remembers how far it came."""

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from headwater.cli._replay import summary_line
from headwater.lake import Lake
from headwater.replay import ReplayDay, ReplayError, ReplayProgress, ReplaySource, read_progress, write_progress

if TYPE_CHECKING:
    from headwater.product import Product
    from resources.settings import Settings

_CONNECTIONS: Final = 8
_PATIENCE: Final = 120.0
_HEADERS: Final = {"content-type": "application/json"}


class ServiceLostError(ReplayError):
    """The service of a replay ended, or answers otherwise than it should."""


def play(
    product: "Product",
    source: ReplaySource,
    first: date,
    last: date,
    *,
    restart: bool,
    pace: Iterator[None],
    out: Console,
    quiet: bool,
) -> dict[str, Any]:
    """Plays the days that were not played yet, and writes the story.

    Raises:
        ReplayError: Nothing is released, another time is half played, or the service ended.
    """
    from headwater.cli._replay_story import tell
    from resources.lock import only_one_build
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    lake, folder = open_lake(settings, create=False), settings.state / "replay" / product.name
    progress = _begun(product, lake, settings, folder, first, last, restart=restart)
    told = (lambda line: None) if quiet else (lambda line: out.print(line, soft_wrap=True))
    told(f"{product.name}  {first} to {last}; {len(progress.days)} days were played before.")
    with only_one_build(settings.state), _service(settings, product.name) as service:
        try:
            for day in source.days(first, last):
                if day.day.isoformat() in progress.days:
                    continue
                next(pace)
                facts = _play_day(product, lake, settings, service, day)
                progress = replace(progress, days={**progress.days, day.day.isoformat(): facts})
                write_progress(progress, folder)
                told(summary_line(facts))
        finally:
            page, story = tell(product, lake, settings, progress, folder)
            told(f"The story: {page}")
    return {"page": str(page), "days": len(progress.days), "conclusion": story}


def _begun(
    product: "Product", lake: Lake, settings: "Settings", folder: Path, first: date, last: date, *, restart: bool
) -> ReplayProgress:
    from headwater.registry import live_version

    held = None if restart else read_progress(folder)
    if held is not None:
        if held.first != first:
            raise ReplayError(
                f"A replay from {held.first} to {held.last} stands in {folder}. Go on with --from {held.first}, or begin anew with --restart."
            )
        return replace(held, last=last)
    live = live_version(lake, product.name, ref=settings.branch)
    if live is None:
        raise ReplayError(f"Nothing of {product.name!r} is released. Build it first: `headwater build {product.name}`.")
    return ReplayProgress(
        product=product.name, first=first, last=last, commit=lake.resolve(settings.branch).id, version=live
    )


def _play_day(
    product: "Product", lake: Lake, settings: "Settings", service: "_Service", day: ReplayDay
) -> dict[str, Any]:
    begun = time.perf_counter()
    seconds = service.ask(day)
    _land(product, settings, day)
    errors = _build(product, settings)
    service.follow(lake.resolve(settings.branch).id)
    return {
        "day": day.day.isoformat(),
        "asked": len(day.requests),
        "p50_ms": 1_000 * statistics.median(seconds) if seconds else 0.0,
        "p99_ms": 1_000 * statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else 0.0,
        "refused": list(errors),
        "seconds": time.perf_counter() - begun,
        **_state(product, lake, settings),
    }


def _land(product: "Product", settings: "Settings", day: ReplayDay) -> None:
    from resources.packaged import land_bytes

    sources = {source.name: source for source in product.sources}
    for (name, partition), rows in day.files.items():
        land_bytes(rows.write_csv().encode(), settings.landing / product.name / sources[name].file_name(partition))


def _build(product: "Product", settings: "Settings") -> Sequence[str]:
    """Builds what is out of date; what only a new training order could change waits for one."""
    from assets._build import run_assets
    from assets._chain._paths import ChainPaths
    from assets._declared import declared
    from assets._plan import below, stale_assets, waves
    from headwater.cli._build import logged
    from headwater.definitions import defs
    from headwater.runtime import user
    from resources.dagster_home import dagster_instance
    from resources.opening import open_lake
    from resources.progress import Listener, listening

    assets, paths = declared(product), ChainPaths(product=product.name)
    trained = below(frozenset({paths.training_set}), assets) if product.retraining is not None else frozenset()
    lake = open_lake(settings)
    errors: list[str] = []
    quiet = Listener(started=lambda path, partition: None, ended=lambda outcome: None)
    with dagster_instance(settings) as instance, listening(quiet), logged(settings.state):
        # As the compaction's sensor does all day: what was answered is in the lake before labels are joined to it.
        answered = frozenset({paths.predictions})
        errors += run_assets(defs, instance, answered, partition=None, actor=user(), only_stale=False).errors
        for is_last in (False, True):
            before, stood = (_entry(lake, settings, path) for path in (paths.training_order, paths.rollout_step))
            stale = stale_assets(lake, assets, branch=settings.branch, landing=settings.landing)
            for key, chosen in waves(stale, assets):
                chosen = chosen if is_last else chosen - trained
                if chosen:
                    errors += run_assets(defs, instance, chosen, partition=key, actor=user()).errors
            if not is_last and _entry(lake, settings, paths.rollout_step) != stood:
                step = frozenset({paths.release})
                errors += run_assets(defs, instance, step, partition=None, actor=user()).errors
            if _entry(lake, settings, paths.training_order) == before:
                break
    return errors


def _entry(lake: Lake, settings: "Settings", path: str) -> str | None:
    snapshot = lake.at(settings.branch)
    return snapshot.entry(path).data_version if snapshot.has(path) else None


def _state(product: "Product", lake: Lake, settings: "Settings") -> dict[str, Any]:
    """What is live, what was decided last, and the newest judged week."""
    from assets._chain._paths import ChainPaths
    from assets._chain._performance import REPORT_FILE
    from assets._chain._performance_page import metric_of
    from assets._chain._retraining import DECISION_FILE
    from headwater.registry import live_version

    paths, snapshot = ChainPaths(product=product.name), lake.at(settings.branch)
    found: dict[str, Any] = {"live": live_version(lake, product.name, ref=settings.branch), "decision": ""}
    if snapshot.has(paths.retraining):
        said = json.loads((snapshot.folder(paths.retraining) / DECISION_FILE).read_text())
        found["decision"] = f"{said['action']}: {said['reason']}"
    report = json.loads((snapshot.folder(paths.performance_report) / REPORT_FILE).read_text())
    judged = [window for window in report["windows"] if window["overall"]["judged"]]
    if judged and (metric := metric_of(judged[-1], "auc")) is not None:
        found |= {"auc": metric["value"], "auc_week": judged[-1]["start"][:10]}
    return found


class _Service:
    """The real service in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, product: str) -> None:
        self._process, self._port, self._product = process, port, product

    def ask(self, day: ReplayDay) -> list[float]:
        """Asks everything of a day over several connections; seconds of each answer. Raises ServiceLostError."""
        taken: list[float] = []
        problems: list[str] = []
        askers = [
            threading.Thread(target=self._ask, args=(day.requests[place::_CONNECTIONS], taken, problems))
            for place in range(_CONNECTIONS)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        if problems:
            raise ServiceLostError(
                f"{len(problems)} of {len(day.requests)} requests of {day.day} were not answered. The first: {problems[0]}"
            )
        return taken

    def _ask(self, requests: Sequence[Any], taken: list[float], problems: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            for request in requests:
                body = {"entity": request.entity, "time": request.at.isoformat(), "id": request.id}
                begun = time.perf_counter()
                connection.request("POST", f"/v1/{self._product}:predict", json.dumps(body), _HEADERS)
                answer = connection.getresponse()
                said = answer.read()
                taken.append(time.perf_counter() - begun)
                if answer.status != 200:
                    problems.append(f"{request.id}: {answer.status} {said[:300].decode(errors='replace')}")
        except OSError as error:
            problems.append(str(error))
        finally:
            connection.close()

    def follow(self, commit: str) -> None:
        """Waits until the service has looked at a commit. Raises ServiceLostError."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self._products()
            if found.get("seen") == commit:
                if troubles := found.get("troubles"):
                    raise ServiceLostError(f"The service cannot serve the newest release: {troubles}")
                return
            time.sleep(0.05)
        raise ServiceLostError(f"The service did not look at commit {commit[:12]} within {_PATIENCE:.0f} s.")

    def _products(self) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", "/v1/products")
            found: Mapping[str, Any] = json.loads(connection.getresponse().read())
            return found
        except OSError as error:
            raise ServiceLostError(f"The service ended: {error}.") from error
        finally:
            connection.close()


@contextmanager
def _service(settings: "Settings", product: str) -> Iterator[_Service]:
    logs = settings.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "headwater.cli", "serve", "--port", "0", "--product", product, "--follow", "0.2"]
    environment = {**os.environ, "HEADWATER_STATE": str(settings.state), "PYTHONUNBUFFERED": "1"}
    with (logs / "replay-service.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield _Service(process, _port(process, logs / "replay-service.log"), product)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _port(process: "subprocess.Popen[str]", log: Path) -> int:
    """The port that the service says, once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://" not in line:
        raise ServiceLostError(f"The service did not start. Its log is {log}.")
    port, end = int(line.split(":")[2].split()[0]), time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return port
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise ServiceLostError(f"The service was not ready within {_PATIENCE:.0f} s. Its log is {log}.")
