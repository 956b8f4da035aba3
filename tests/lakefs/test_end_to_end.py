"""A product built over a lakeFS lake through Dagster: the same versions as over the embedded lake, and no secret told."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from assets._bridge import dagster_asset
from headwater.cli import cli
from headwater.lake import Entry, Lake
from headwater.lake.lakefs import LakeFSSettings
from headwater.product import Asset, Audit, Check, Inputs, Partitions, Product, Verdict, folder, table
from resources.lake import LakeResource
from resources.opening import open_lake
from resources.settings import load_settings

PRODUCT = Product(name="toy", question="Does it hold?", owners=("team:toy",))
DAYS = Partitions(column="day", keys=("2024-01-01", "2024-01-02"))


@table("toy/datasets/numbers", partitions=DAYS)
def numbers(inputs: Inputs, partition: str) -> pl.DataFrame:
    """Numbers of a day."""
    day = int(partition[-2:])
    return pl.DataFrame({"x": [day, day * 10, None], "text": ["ä", "", None]})


def _has_no_thirteen(audit: Audit) -> Verdict:
    bad = audit.rows().filter(pl.col("y") == 13).collect()
    return Verdict(passed=bad.is_empty(), facts={"bad": bad.height})


def doubled_plus(extra: int) -> Asset:
    @table(
        "toy/features/doubled",
        inputs=["toy/datasets/numbers"],
        checks=[Check(name="no_thirteen", judge=_has_no_thirteen)],
        declaration={"extra": extra},
    )
    def doubled(inputs: Inputs) -> pl.LazyFrame:
        """Twice the numbers."""
        return inputs.table("toy/datasets/numbers").with_columns(y=pl.col("x") * 2 + extra)

    return doubled


@folder("toy/report", inputs=["toy/features/doubled"])
def report(inputs: Inputs, target: Path) -> None:
    """The sum, as a file."""
    total = inputs.table("toy/features/doubled").select(pl.col("y").sum()).collect().item()
    (target / "total with space ü.txt").write_text(str(total))


@pytest.fixture
def on_lakefs(settings: LakeFSSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a lakeFS lake."""
    for name, value in {
        "HEADWATER_LAKE": "lakefs",
        "HEADWATER_STATE": str(tmp_path / "state"),
        "HEADWATER_LAKEFS_REPOSITORY": settings.repository,
        "LAKECTL_SERVER_ENDPOINT_URL": settings.endpoint,
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": settings.access_key,
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": settings.secret_key,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def build(instance: dg.DagsterInstance, state: Path, *, extra: int = 0) -> dg.ExecuteInProcessResult:
    """Each day, then what follows from both."""
    for key in DAYS.keys:
        assert _run(instance, state, numbers, partition=key).success
    return _run(instance, state, doubled_plus(extra), report)


def _run(
    instance: dg.DagsterInstance, state: Path, *assets: Asset, partition: str | None = None
) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(
        assets=[dagster_asset(asset, PRODUCT) for asset in assets], resources={"lake": LakeResource(state=str(state))}
    ).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, partition_key=partition, raise_on_error=False)


def entries(lake: Lake) -> dict[str, Entry]:
    snapshot = lake.at("main")
    return {path: snapshot.entry(path) for path in snapshot.paths()}


def told(*words: str, code: int = 0) -> str:
    """What the command prints."""
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.usefixtures("on_lakefs")
def test_a_product_has_the_same_versions_as_on_the_embedded_lake(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(instance, tmp_path / "state").success
    here = entries(open_lake(load_settings()))
    monkeypatch.setenv("HEADWATER_LAKE", "embedded")
    assert build(instance, tmp_path / "other").success
    there = entries(open_lake(load_settings({"HEADWATER_STATE": str(tmp_path / "other")})))
    assert here.keys() == there.keys() == {"toy/datasets/numbers", "toy/features/doubled", "toy/report"}
    for path, entry in here.items():
        assert (entry.data_version, entry.partitions, entry.schema, entry.rows) == (
            there[path].data_version,
            there[path].partitions,
            there[path].schema,
            there[path].rows,
        )


@pytest.mark.usefixtures("on_lakefs")
def test_a_second_build_publishes_nothing_and_a_revert_puts_back(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert build(instance, tmp_path / "state").success
    lake = open_lake(load_settings())
    first, good = lake.resolve("main"), entries(lake)
    assert build(instance, tmp_path / "state").success
    assert lake.resolve("main") == first
    assert _run(instance, tmp_path / "state", doubled_plus(1)).success
    changed = lake.resolve("main")
    assert "toy/features/doubled" in told("lake", "diff", f"{first.id}..main")
    told("lake", "revert", changed.id)
    assert entries(lake)["toy/features/doubled"].data_version == good["toy/features/doubled"].data_version
    assert "clean" in told("lake", "verify")
    assert told("lake", "log", "--json").count('"short"') == len(list(lake.log()))
    told("lake", "gc", "--dry-run")


@pytest.mark.usefixtures("on_lakefs")
def test_a_failed_check_leaves_main_and_keeps_the_branch(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert build(instance, tmp_path / "state").success
    lake = open_lake(load_settings())
    before = lake.resolve("main")
    done = _run(instance, tmp_path / "state", doubled_plus(11))  # 2 * 1 + 11 is thirteen
    assert not done.success
    assert not done.get_asset_materialization_events()
    assert lake.resolve("main") == before
    (left,) = [ref.name for ref in lake.branches() if ref.name.startswith("tx-")]
    assert "toy/features/doubled" in told("lake", "diff", f"main..{left}")


@pytest.mark.usefixtures("on_lakefs")
def test_no_secret_reaches_logs_errors_commits_or_events(
    settings: LakeFSSettings,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    assert build(instance, tmp_path / "state").success
    lake = open_lake(load_settings())
    told_all = [told("lake", "log", "--json"), told("lake", "show", "--json"), repr(lake), repr(load_settings())]
    told_all += [str(lake.describe()), repr(settings), *(str(commit) for commit in lake.log())]
    told_all += [str(event) for event in instance.all_logs(instance.get_runs()[0].run_id)]
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "AKIAWRONGKEY")
    failed = CliRunner().invoke(cli, ["lake", "log"])
    assert failed.exit_code != 0
    assert "Check the access key and its secret" in str(failed.exception)
    told_all += [failed.output, repr(failed.exception), *capfd.readouterr()]
    for record in tmp_path.joinpath("state").rglob("*"):
        if record.is_file():
            told_all.append(record.read_bytes().decode(errors="replace"))
    for text in told_all:
        assert settings.secret_key not in text, text[:2000]
        assert settings.access_key not in text, text[:2000]
    assert settings.secret_key not in caplog.text  # botocore's debug log names the key's id, never the secret
