"""Rules and dashboards: read by Prometheus' grammar, over numbers that real programs serve, with a runbook each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from headwater.monitoring import ServiceLevels
from headwater.monitoring._service_levels import DEFAULT_BURN_RULES
from headwater.watching import CATALOGUE
from tests.deploy.prometheus import FOLDER, ROOT, RULES, program
from tests.ports import free_port
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.conftest import Service

DASHBOARDS = sorted((FOLDER / "grafana").glob("*.json"))


def rules(kind: str) -> list[dict[str, Any]]:
    found = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    return [rule for rule in found if kind in rule]


def queries() -> list[str]:
    """Every query of the dashboards, for one product."""
    panels = [panel for file in DASHBOARDS for panel in json.loads(file.read_text())["panels"]]
    return [target["expr"].replace("$product", "toy|flights") for panel in panels for target in panel["targets"]]


def expressions() -> list[str]:
    return [rule["expr"] for rule in [*rules("alert"), *rules("record")]] + queries()


def read(expression: str) -> list[tuple[str, set[str]]]:
    """Metrics of an expression, each with the labels it is selected by."""
    text = str(promql_parser.parse(expression).prettify())
    found = re.findall(r"([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', text))
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", inside)))
        for name, inside in found
        if name.startswith(("headwater", "up"))
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, int]]:
    """A service and a watch, each a process of its own."""
    folder = tmp_path_factory.mktemp("served")
    released, gone = Released(folder), ("0.8.0", "0.9.0")
    released.online(10)
    for slope, version in enumerate((*gone, "1.0.0"), 1):
        released.model(version, slope=slope)
        released.release("all-at-once", version, retired=gone[:1])
    service = Service(folder)
    for version in gone:  # the one is retired, the other replaced
        service.ask("POST", f"/v1/{PRODUCT}/versions/{version}:predict", {"entity": {}})
    for _ in range(5):
        service.predict()
    service.predict({"who": "nobody"})
    environment = {**os.environ, "HEADWATER_STATE": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    watch = subprocess.Popen(
        [sys.executable, "-m", "headwater.cli", "watch", "--port", "0"], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    port = int(watch.stdout.readline().rpartition(":")[2].partition("/")[0])
    until(lambda: 'part="disk"' in get(port, "/metrics") and 'part="sensors"' in get(port, "/metrics"))
    yield service, port
    watch.send_signal(signal.SIGINT)
    watch.wait(30)
    watch.stdout.close()
    service.stop()


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        return str(reply.read().decode())


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_every_expression_is_read_by_the_grammar_and_asks_for_numbers_and_labels_that_are_served(
    served: tuple[Service, int],
) -> None:
    service, port = served
    text = service.get("/metrics").body.decode() + get(port, "/metrics")
    labels = {name: {"job", "instance"} for name in re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)}
    for name, inside in re.findall(r"^(\w+)(?:\{([^}]*)\})? ", text, re.MULTILINE):
        labels.setdefault(name, {"job", "instance"}).update(re.findall(r'(\w+)="', inside))
    # Of a product without labels or releases of its own the watch has nothing to say yet; the catalogue says what it would.
    labels |= {f"headwater_{name}": {"job", "instance", *of} for name, (_, of) in CATALOGUE.items()}
    labels |= {rule["record"]: {"product", "version", "code", "view"} for rule in rules("record")} | {
        "up": {"job", "instance"}
    }
    for expression in expressions():
        for name, used in read(expression):
            assert name in labels, (name, expression)
            assert used <= labels[name], (name, used - labels[name], expression)
    for name in (
        "sensor_up",
        "watch_timestamp_seconds",
        "watch_failed",
        "log_oldest_seconds",
        "disk_free_bytes",
        "refused_builds",
        "stale_assets",
    ):
        assert f"headwater_{name}" in text, name


def test_every_alert_says_how_bad_it_is_and_has_a_runbook_that_says_what_to_do() -> None:
    names = [rule["alert"] for rule in rules("alert")]
    assert len(names) == len(set(names)) > 15
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith((".", "allows."))
        page = ROOT / rule["annotations"]["runbook_url"]
        assert page.parent == ROOT / "docs" / "runbooks"
        text = page.read_text()
        assert rule["alert"] in text, page
        for heading in ("## What it means", "## Look", "## Do", "## Over when", "## Tried"):
            assert heading in text, (page, heading)
    pages = {file.name for file in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == {rule["annotations"]["runbook_url"].rpartition("/")[2] for rule in rules("alert")}


def test_runbooks_name_commands_and_options_that_there_are() -> None:
    from headwater.cli import cli

    for file in (ROOT / "docs" / "runbooks").glob("*.md"):
        for line in re.findall(r"^\$? ?headwater (.+)$|`headwater ([^`]+)`", file.read_text(), re.MULTILINE):
            words = (line[0] or line[1]).partition("#")[0].split()
            command: Any = cli
            while (
                words and hasattr(command, "get_command") and (found := command.get_command(None, words[0])) is not None
            ):
                command, words = found, words[1:]
            assert command is not cli, (file.name, line)
            assert not hasattr(command, "get_command"), (file.name, line)
            options = {name for option in command.params for name in option.opts}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, (file.name, line)


def test_budgets_burn_as_the_promises_say() -> None:
    levels, text = ServiceLevels(), (FOLDER / "recording.rules.yml").read_text()
    assert text.count("/ on (product) headwater:promised_errors\n") == 5
    assert text.count("/ on (product) (1 - headwater:promised_latency_share)\n") == 5
    for usual in (levels.errors, levels.latency_share, levels.min_requests):
        assert f"or {usual} + 0 * " in text, "where the watch does not say what is declared"
    assert text.count("rate(headwater_slow_requests_total{") == 5
    for budget, kind in (("error", "Error"), ("latency", "Latency")):
        both = {
            rule["alert"]: rule["expr"] for rule in rules("alert") if rule["alert"].startswith(f"Headwater{kind}Budget")
        }
        told = re.findall(
            rf"{budget}_budget:burn(\w+) >= ([\d.]+) and headwater:{budget}_budget:burn(\w+) >= ([\d.]+)",
            " ".join(both.values()),
        )
        floors = re.findall(r"requests:increase(\w+) >= headwater:promised_min_requests", " ".join(both.values()))
        assert floors == [short(rule.long) for rule in DEFAULT_BURN_RULES]
        wanted = [(short(rule.long), rule.burn, short(rule.short), rule.burn) for rule in DEFAULT_BURN_RULES]
        assert [(long, float(one), brief, float(two)) for long, one, brief, two in told] == wanted


def short(time: Any) -> str:
    """As Prometheus writes it."""
    minutes = int(time.total_seconds() // 60)
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_grafana_knows_every_word_of_a_dashboard(file: Path) -> None:
    """Grafana's own model of a dashboard reads it and gives back the same; what it did not know would be lost."""
    said = json.loads(file.read_text())
    assert lost(said, json.loads(JSONEncoder().encode(Dashboard.from_json(said)))) == []
    said["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "s"
    assert lost(said, json.loads(JSONEncoder().encode(Dashboard.from_json(said)))) == [
        "/panels/0/fieldConfig/defaults/unitt"
    ]
    assert len({panel["id"] for panel in said["panels"]}) == len(said["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in said["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_panel_shows_what_it_promises(file: Path) -> None:
    """Once, tables showed a column of ones over time, and no limit was drawn: only a picture told."""
    for panel in json.loads(file.read_text())["panels"]:
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "table":
            assert all(target["instant"] and target["format"] == "table" for target in panel["targets"]), panel["title"]
        elif panel["type"] == "state-timeline":
            assert (defaults["color"], bool(defaults["mappings"])) == ({"mode": "thresholds"}, True), panel["title"]
        else:
            assert panel["type"] == "timeseries", "what deploy/monitoring/render can draw"
            is_drawn = defaults.get("custom", {}).get("thresholdsStyle") == {"mode": "line"}
            assert is_drawn is (len(defaults["thresholds"]["steps"]) > 1), panel["title"]


def lost(said: Any, known: Any, place: str = "") -> list[str]:
    """Where something was said that is not known."""
    if isinstance(said, dict):
        inside = [
            lost(value, known[name], f"{place}/{name}") if name in known else [f"{place}/{name}"]
            for name, value in said.items()
        ]
        return [one for found in inside for one in found]
    if isinstance(said, list):
        return [
            one for number, pair in enumerate(zip(said, known, strict=True)) for one in lost(*pair, f"{place}/{number}")
        ]
    return [] if said == known else [place]


def test_promtool_finds_nothing_wrong() -> None:
    tool = program("promtool")
    for words in (["check", "rules", *map(str, RULES)], ["check", "config", str(FOLDER / "prometheus.yml")]):
        done = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, "FAILED" in done.stdout) == (0, False), done.stdout + done.stderr


def test_prometheus_scrapes_both_and_answers_every_panel(served: tuple[Service, int], tmp_path: Path) -> None:
    service, watch = served
    server, port = program("prometheus"), free_port()
    asked = 'sum by (product, code) (headwater:requests:rate5m{product=~"toy|flights"})'
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rule) for rule in RULES]
    for job, target in zip(config["scrape_configs"], (service.port, watch), strict=True):
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        server,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port))
        until(lambda: {target["health"] for target in api(port, "targets")["activeTargets"]} == {"up"})
        until(lambda: bool(api(port, "query", query=asked)["result"]))  # a rate: two scrapes
        until(lambda: all(rule["health"] == "ok" for group in api(port, "rules")["groups"] for rule in group["rules"]))
        found = {query: api(port, "query", query=query)["result"] for query in queries()}
        assert found[asked]
        assert float(found["headwater_ready"][0]["value"][1]) == 1
        (sensors,) = (query for query in found if "headwater_sensor_pulse" in query)
        assert len(found[sensors]) > 5
        assert {float(sensor["value"][1]) for sensor in found[sensors]} <= {1, 2, 3, 4}
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        return "Ready" in get(port, "/-/ready")
    except OSError:
        return False


def api(port: int, path: str, **more: str) -> Any:
    said = json.loads(get(port, f"/api/v1/{path}?{urllib.parse.urlencode(more)}"))
    assert said["status"] == "success", said
    return said["data"]
