"""Dagster's home lies in the state folder and goes where that goes."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml

from resources.dagster_home import CONFIG, dagster_instance, has_storage, prepare_dagster_home
from resources.settings import Settings

ROOT = Path(__file__).parents[2]
OLD = CONFIG.replace("run_coordinator:", "storage:\n  sqlite:\n    base_dir: {home}\nrun_coordinator:")


OLDEST = """\
# Written by Headwater when missing; change it as Dagster's documentation says.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
run_monitoring:
  enabled: true
concurrency:
  runs:
    max_concurrent_runs: 2
"""


OLDER = OLDEST.replace(
    "run_monitoring:",
    """\
  config:
    # Dagster's own 5 seconds are half of what a landed file waits for its run.
    dequeue_interval_seconds: 1
# The sensor of landed files looks for as long as its tick lasts; the others do not wait for it.
sensors:
  use_threads: true
  num_workers: 4
run_monitoring:""",
)


def files(folder: Path) -> Mapping[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def note(state: Path, key: str) -> None:
    """Writes one event to the Dagster of a state folder."""
    with dagster_instance(Settings(state=state)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(key))


def known(state: Path) -> set[str]:
    with dagster_instance(Settings(state=state)) as instance:
        return {key.to_user_string() for key in instance.all_asset_keys()}


@pytest.mark.parametrize("older", [False, True], ids=["of now", "of an older Headwater"])
def test_a_copied_state_folder_keeps_its_own_events_and_leaves_the_original_alone(tmp_path: Path, older: bool) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    home = prepare_dagster_home(first / "dagster")
    if older:
        (home / "dagster.yaml").write_text(OLD.format(home=home))
    else:
        note(first, "before")
    shutil.copytree(first, second)
    before = files(first)
    note(second, "after")
    assert files(first) == before
    assert known(second) == ({"after"} if older else {"before", "after"})


def test_the_configuration_names_no_folder(tmp_path: Path) -> None:
    text = (prepare_dagster_home(tmp_path) / "dagster.yaml").read_text()
    assert str(tmp_path) not in text
    assert yaml.safe_load(text)["telemetry"] == {"enabled": False}


@pytest.mark.parametrize("older", [OLDEST, OLDER])
def test_what_an_older_headwater_wrote_is_brought_up_to_date_and_what_somebody_changed_is_not(
    tmp_path: Path, older: str
) -> None:
    file = tmp_path / "dagster.yaml"
    file.write_text(older)
    prepare_dagster_home(tmp_path)
    assert file.read_text() == CONFIG
    file.write_text(older.replace("runs: 2", "runs: 8"))
    prepare_dagster_home(tmp_path)
    assert "runs: 8" in file.read_text()
    assert yaml.safe_load(CONFIG)["run_coordinator"]["config"] == {"dequeue_interval_seconds": 1}


def test_the_operations_page_names_the_queue_as_it_is_written() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    shown = yaml.safe_load(page.partition("## Runs in the queue")[2].partition("```yaml\n")[2].partition("```")[0])
    written = yaml.safe_load(CONFIG)
    assert shown["concurrency"] == written["concurrency"]
    assert shown["run_coordinator"] == {key: written["run_coordinator"][key] for key in ("module", "class")}


def test_a_storage_of_the_users_own_stays(tmp_path: Path) -> None:
    own = OLD.format(home="/elsewhere") + "# mine\n"
    (tmp_path / "dagster.yaml").write_text(own)
    prepare_dagster_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == own


MAKING = """
import sys
from pathlib import Path
import dagster
from resources.dagster_home import dagster_instance
from resources.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
with dagster_instance(Settings(state=Path(sys.argv[1]))) as instance:
    instance.get_runs_count()
"""


def test_processes_that_make_the_storage_at_once_all_have_it(tmp_path: Path) -> None:
    """`up` starts several: one found that the table, which another was making, was there already, and ended."""
    command = [sys.executable, "-c", MAKING, str(tmp_path)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    said = [one.communicate()[1] for one in started]
    assert [one.returncode for one in started] == [0] * 4, said
    assert has_storage(Settings(state=tmp_path).dagster_home)
