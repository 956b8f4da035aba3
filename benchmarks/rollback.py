"""How soon a failing version is gone back from: from the first request that it fails to the service's policy without it, nobody at hand.

python -m benchmarks.rollback [--rollouts 7]

All parts are real and have processes of their own: the service with its logs, Dagster's code server and daemon with the sensors of
`headwater up`, a process for each run. A toy product gets a version that wants a field that no caller sends, and half of the requests; 20
requests a second arrive. Shown beside: when its failures stood in the lake, when that was decided and when the release was built.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import Bar, Report
from benchmarks.landing import daemon
from headwater.decisions import Rollout, RolloutKind
from headwater.lake import Lake
from tests.rollout_scene import LABELS, NAME, RULES, RolloutScene
from tests.serving.conftest import Released, bundle
from tests.serving.http.conftest import Service

ROLLOUT: Final = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES)
_PATIENCE: Final = 300.0
_QUIET: Final = 45.0
"""Seconds without a run after which nothing is left to do: reconciliation looks every thirty."""
_PAUSE: Final = 0.05
_STAGES: Final = ("failures are in the lake", "decided", "step", "released", "the service follows")
_WRITTEN: Final = tuple(f"{NAME}/{asset}" for asset in ("service_failures", "rollout", "rollout_step", "release"))
OUTSIDE: Final = (LABELS, *(f"{NAME}/{asset}" for asset in ("model", "evaluation", "model_card", "drift_report")))
"""What a release is made of and this code location does not make."""
_LOCATION: Final = """
import dagster as dg
from dataclasses import replace
from assets._automation import with_automation
from assets._bridge import dagster_asset
from assets._chain._experiment import experiment_asset
from assets._chain._failures import failures_asset
from assets._chain._outcomes import outcomes_asset
from assets._chain._prediction_day import prediction_day_asset
from assets._chain._predictions import predictions_asset
from assets._chain._release import release_asset
from assets._chain._release_orders import release_orders_asset
from assets._chain._rollout import rollout_assets
from benchmarks.rollback import ROLLOUT
from resources.lake import LakeResource
from sensors import all_sensors
from tests.rollout_scene import TOY

PRODUCT = replace(TOY, rollout=ROLLOUT)
ASSETS = [
    predictions_asset(PRODUCT), failures_asset(PRODUCT), prediction_day_asset(PRODUCT), outcomes_asset(PRODUCT),
    experiment_asset(PRODUCT),
    *rollout_assets(PRODUCT), release_orders_asset(PRODUCT), release_asset(PRODUCT),
]
defs = dg.Definitions(
    assets=with_automation([dagster_asset(asset, PRODUCT) for asset in ASSETS]),
    resources={"lake": LakeResource()},
    sensors=all_sensors(ASSETS),
    executor=dg.in_process_executor,
)
"""


def gone_back(scene: RolloutScene, service: Service, number: int, folder: Path) -> Mapping[str, float]:
    """Brings in a version that fails, and asks until the service answers without it.

    Returns:
        Seconds from its first failed request to each of `_STAGES`.

    Raises:
        TimeoutError: It was not gone back from in time.
    """
    version = f"1.0.{number}"
    made = bundle(
        folder / f"bundle-{number}", slope=7 + number, more=("extra",)
    )  # equal content would be no new version
    scene.version(version, bundle=made)
    service.until(lambda: _policy(service).get("candidate") == version, seconds=60)
    before, end, first = scene.lake.resolve("main").id, time.monotonic() + _PATIENCE, 0.0
    for order in _orders(end):
        asked = time.time()
        status = service.predict({"order": order}).status
        first = first or (asked if status != 200 else 0.0)
        if _policy(service)["kind"] == "all-at-once":
            followed = time.time()
            written = _written(scene.lake, before)
            return {name: at - first for name, at in zip(_STAGES, [*written, followed], strict=True)}
    raise TimeoutError(f"{version} was not gone back from within {_PATIENCE:.0f} s; the daemon's log is in {folder}.")


def _orders(end: float) -> Iterator[int]:
    order = int(time.time())
    while time.monotonic() < end:
        yield order
        order += 1
        time.sleep(_PAUSE)


def _policy(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/v1/products").json["products"][0]["policy"]
    return found


def _written(lake: Lake, before: str) -> Sequence[float]:
    """When the newest data of each of `_WRITTEN` came in since a commit, in seconds since 1970."""
    found: dict[str, datetime] = {}
    commits = []
    for commit in lake.log("main"):
        commits.append(commit)
        if commit.id == before:
            break
    for older, newer in pairwise(reversed(commits)):
        was, now = lake.at(older.id), lake.at(newer.id)
        for path in _WRITTEN:
            if now.has(path) and (not was.has(path) or was.entry(path).data_version != now.entry(path).data_version):
                found.setdefault(path, newer.created) if path == _WRITTEN[0] else found.update({path: newer.created})
    return [found[path].timestamp() for path in _WRITTEN]


def _tell(instance: Any, lake: Lake) -> None:
    """Has Dagster know what is made outside of the code location, as it knows what it makes itself."""
    import dagster as dg

    for path in OUTSIDE:
        version = {"dagster/data_version": lake.at("main").entry(path).data_version}
        instance.report_runless_asset_event(dg.AssetMaterialization(path.split("/"), tags=version))


def _settled(instance: Any) -> None:
    """Waits until the daemon has had nothing to do for a while."""
    known, since, end = -1, time.monotonic(), time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        count = instance.get_runs_count()
        if count != known:
            known, since = count, time.monotonic()
        if time.monotonic() - since > _QUIET:
            return
        time.sleep(1)
    raise TimeoutError(f"Runs go on after {_PATIENCE:.0f} s.")


def main() -> None:
    """Measures and writes `results/rollback.json`."""
    import dagster as dg

    from resources.dagster_home import CONFIG

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rollback-") as name:
        place = Path(name)
        home, state = place / "home", place / "state"
        home.mkdir()
        (home / "dagster.yaml").write_text(CONFIG)
        (home / "location.py").write_text(_LOCATION)
        scene = RolloutScene(state, ROLLOUT)
        Released(state).online(10)
        scene.version("1.0.0", bundle=bundle(place / "bundle-0", slope=1))
        service, taken = Service(state), []
        try:
            with daemon(home, state, home / "location.py"), dg.DagsterInstance.from_config(str(home)) as instance:
                _tell(instance, scene.lake)
                for number in range(1, asked.rollouts + 1):
                    _settled(instance)
                    taken.append(gone_back(scene, service, number, place))
                    print({name: round(seconds, 1) for name, seconds in taken[-1].items()}, flush=True)
        finally:
            service.stop()
    limit = ROLLOUT.rules.check_every.total_seconds()
    whole = [one[_STAGES[-1]] for one in taken]
    Report(
        name="rollback",
        rows=[_row(name, [one[name] for one in taken]) for name in _STAGES],
        bars=[
            Bar(what="s from the first failed request to a policy without its version, median", limit=limit, measured=statistics.median(whole), at_least=False),
            Bar(what="the same, the longest", limit=limit, measured=max(whole), at_least=False),
        ],
        notes=["Seconds from the first request that the version failed. The limit is the check interval (`RolloutRules.check_every`)."],
    ).finish()  # fmt: skip


def _row(name: str, seconds: Sequence[float]) -> dict[str, object]:
    return {"until": name, "median_s": statistics.median(seconds), "least_s": min(seconds), "most_s": max(seconds), "rollouts": len(seconds)}  # fmt: skip


if __name__ == "__main__":
    main()
