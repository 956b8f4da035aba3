"""What Prometheus makes of scraped numbers: its own promtool evaluates the rules of `deploy/monitoring`, on a clock that the test moves."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
RULES = [FOLDER / "recording.rules.yml", FOLDER / "alerts.rules.yml"]
Scrape = Mapping[str, str | None]
"""By job what its /metrics said, None when it did not answer."""
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def program(name: str) -> str:
    """Prometheus' own programs, as `.ci/prometheus` brings them."""
    folder = os.environ.get("HEADWATER_PROMETHEUS", str(ROOT / ".tools" / "prometheus"))
    found = shutil.which(name, path=os.pathsep.join([folder, os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not there: run .ci/prometheus")
    return found


def firing(folder: Path, *frames: tuple[int, Scrape]) -> set[str]:
    """The alerts that fire at the end.

    Args:
        folder: For promtool's files.
        frames: Scrapes, each with the minutes for which that is what is scraped.
    """
    return firing_at(folder, sum(length for length, _ in frames) - 1, _lines(frames))


def firing_at(folder: Path, minute: int, series: Mapping[str, str], *, interval: str = "1m") -> set[str]:
    """The alerts that fire at a minute.

    Args:
        folder: For promtool's files.
        minute: That minute.
        series: By name what is scraped, as promtool writes it: `0x40` is a zero and forty more, `_` a scrape without it.
        interval: Between two scrapes, and two evaluations of the rules.
    """
    tool = program("promtool")
    test = {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        # Nothing is expected, so that what there is stands in the answer.
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [],
            }
        ],
    }
    file = folder / "alerts.test.yml"
    document = {"rule_files": [str(rule) for rule in RULES], "evaluation_interval": interval, "tests": [test]}
    file.write_text(json.dumps(document))  # JSON is YAML
    done = subprocess.run([tool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode == 0:
        return set()
    assert "got:" in said or "got " in said, said
    found = set(re.findall(r'\{alertname=\\?"(\w+)\\?"\}', said))
    assert found, said
    return found


def samples(scrape: Scrape) -> Series:
    """The series of a scrape as Prometheus has them, with job, instance and `up`."""
    found: Series = {}
    for job, text in scrape.items():
        mine = (("instance", "here"), ("job", job))
        found["up", mine] = float(text is not None)
        for family in text_string_to_metric_families(text or ""):
            for one in family.samples:
                if not one.name.endswith("_created"):
                    found[one.name, tuple(sorted([*one.labels.items(), *mine]))] = float(one.value)
    return found


def _lines(frames: Sequence[tuple[int, Scrape]]) -> dict[str, str]:
    taken = [(length, samples(scrape)) for length, scrape in frames]
    keys = sorted({key for _, series in taken for key in series})
    found = {}
    for name, labels in keys:
        values = []
        for length, series in taken:
            value = series.get((name, labels))
            values += ["_" if value is None else repr(value)] * length
        inside = ",".join(f"{label}={json.dumps(value)}" for label, value in labels)
        found[f"{name}{{{inside}}}"] = " ".join(values)
    return found
