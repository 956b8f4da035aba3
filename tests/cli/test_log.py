"""`headwater log` over a lake that holds flights' labels and nothing else."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets._chain._failures import failures_asset
from assets._chain._predictions import predictions_asset
from assets.flights.labels import LABEL_COLUMNS
from assets.flights.product import PRODUCT as FLIGHTS
from headwater.cli import cli
from headwater.errors import HeadwaterError
from headwater.feeds import Appended
from headwater.lake import EmbeddedLake
from headwater.materialize import Outcome, materialize
from headwater.product import Check, Verdict
from serving.prediction_log import FailureRecord, LogError, LogWriter, encode_failure, encode_record, segments
from tests.compaction.scene import microseconds, product, record

AT = datetime(2013, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    with EmbeddedLake.open(tmp_path / "lake").transaction() as tx:
        tx.write_table("flights/datasets/labels", pl.DataFrame(schema=LABEL_COLUMNS))
        tx.publish(message="Labels", provenance=None)
    return tmp_path / "serving" / "log" / "flights"


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ["log", *words], catch_exceptions=False)


def said(*words: str, code: int = 0) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == code, done.output
    return [row for row in json.loads(done.stdout) if "flights" in (row.get("product"), row.get("path", "")[:7])]


def answer(log: Path, *ids: str) -> None:
    writer = LogWriter(log, segment_bytes=2_000)
    key = {"time_hour": microseconds(AT), "carrier": "UA", "flight": 100}
    for id in ids:
        writer.append([encode_record(record(id, product="flights", request=key))])
    writer.close()


def damage(log: Path, mark: bytes = b"UA") -> str:
    """Turns a bit of a record in the middle; the segment's name."""
    (segment,) = segments(log)
    data = bytearray(segment.path.read_bytes())
    data[data.index(mark, len(data) // 2)] ^= 1
    segment.path.write_bytes(bytes(data))
    return segment.name


def test_what_waits_is_shown_and_taken(log: Path) -> None:
    row, _ = said("status")
    assert (row["segments"], row["bytes"], row["waiting"], row["oldest_seconds"]) == (0, 0, 0, None)
    answer(log, "a", "b", "c")
    row, _ = said("status")
    assert row["waiting"] == 3
    assert row["segments"] == 1
    assert row["bytes"] > 100
    assert row["oldest_seconds"] > 0
    (row,) = said("compact", "--product", "flights")
    assert (row["status"], row["appended"], row["rows"]) == ("published", 3, 3)
    (row,) = said("compact")
    assert (row["status"], row["appended"], row["rows"]) == ("unchanged", 0, 3)
    assert said("status")[0]["segments"] == 0
    table = EmbeddedLake.open(log.parents[2] / "lake").at("main").table("flights/predictions").collect()
    assert table.select("time_hour", "carrier", "flight").row(0) == (AT, "UA", 100)
    assert "published" in call("compact").output or "unchanged" in call("compact").output


def test_damage_is_a_finding_until_somebody_has_looked(log: Path) -> None:
    answer(log, "a", "b", "c")
    name = damage(log)
    told = call("compact")
    assert told.exit_code == 1
    assert f"'flights/predictions' lacks records: {name} in its log" in told.stderr
    (row,) = said("compact", code=1)
    assert (row["rows"], row["damaged"]) == (2, [name])
    row, _ = said("status", code=1)
    assert row["damaged"] == 1


def test_damage_is_told_once_however_many_transactions_it_takes(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(log, "a", "b", "c", "d", "e", "f")
    name = damage(log)
    monkeypatch.setattr("assets._chain._predictions.MOST_RECORDS", 1)
    told = call("compact")
    assert told.stdout.count("published") == 5
    assert told.stderr.count(name) == 1


def judged(monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
    """Of the builds of the predictions so many are published, and the next one is refused."""
    verdicts = iter([True] * passes)
    refuses = Check(
        name="refuses", judge=lambda audit: Verdict(passed=next(verdicts, False)), description="Not all of it holds."
    )
    asset = replace(predictions_asset(FLIGHTS), checks=(refuses,))
    monkeypatch.setattr("headwater.cli._log.fed_assets", lambda name, failures=False: [] if failures else [asset])
    monkeypatch.setattr("assets._chain._predictions.MOST_RECORDS", 1)


def ending_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The build of that number ends with an error, as on a full disk."""
    numbers = itertools.count(1)

    def build(*words: Any, **options: Any) -> Outcome:
        if next(numbers) == number:
            raise HeadwaterError("The disk is full.")
        return materialize(*words, **options)

    monkeypatch.setattr("headwater.materialize.materialize", build)
    monkeypatch.setattr("assets._chain._predictions.MOST_RECORDS", 1)


def test_of_a_refused_build_nobody_says_that_its_records_were_taken(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that all others were taken, and that the segment is put aside."""
    answer(log, "a", "b", "c")
    name = damage(log)
    judged(monkeypatch, passes=0)
    told = call("compact")
    assert (told.exit_code, len(segments(log))) == (1, 1)
    assert f"{name} in its log held bytes that are none. It is still in the log: leave it there." in told.stderr
    assert "the builds above took 0 records of its log; the last one was refused, and 2 wait there." in told.stderr
    assert "taken" not in told.stderr


def test_what_was_taken_before_a_refusal_is_told_beside_what_waits(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five records three were in the lake, and it said that they wait."""
    answer(log, "a", "b", "c", "d", "e", "f")
    name = damage(log)
    judged(monkeypatch, passes=4)
    told = call("compact")
    assert (told.exit_code, told.stdout.count("published"), told.stderr.count(name)) == (1, 4, 1)
    assert "It is still in the log: leave it there." in told.stderr
    assert "took 4 records of its log; the last one was refused, and 1 waits there." in told.stderr
    assert "taken" not in told.stderr
    assert said("status")[0]["waiting"] == 1


def test_a_segment_that_was_put_aside_stays_told_as_such_when_a_build_is_refused(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its records wait, said a later refusal of one that held none that did, and no more that it may be deleted."""
    answer(log, "a", "b", "c")
    aside = damage(log)
    assert "All others were taken, and it is kept with the ending .damaged" in call("compact").stderr
    answer(log, "d", "e", "f")
    here = damage(log)
    judged(monkeypatch, passes=0)
    for _ in range(2):
        first, second, third = call("compact").stderr.splitlines()
        assert f"{aside} in its log held bytes that are none. All others in it were taken, and it is kept" in first
        assert first.endswith("look at the disk, and delete it when it is clear why.")
        assert f"{here} in its log held bytes that are none. It is still in the log: leave it there." in second
        assert "took 0 records of its log; the last one was refused, and 2 wait there." in third


def test_of_a_log_that_an_error_kept_from_being_taken_nobody_says_that_all_was(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That all others were taken stood beside exit code 2, while two waited."""
    answer(log, "a", "b", "c")
    name = damage(log)
    call("compact")
    answer(log, "d", "e", "f")
    ending_at(monkeypatch, 2)
    told = call("compact")
    assert told.exit_code == 2
    assert "All others were taken" not in told.stderr
    assert f"{name} in its log held bytes that are none. All others in it were taken, and it is kept" in told.stderr
    assert "took 1 record of its log, and 2 wait there.\n" in told.stderr
    assert said("status", code=1)[0]["waiting"] == 2


def test_a_log_that_can_be_read_no_more_hides_no_damage(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*words: Any) -> None:
        raise LogError(path=str(log), action="read", reason="Input/output error")

    answer(log, "a", "b", "c")
    name = damage(log)
    judged(monkeypatch, passes=0)
    monkeypatch.setattr("headwater.cli._log._waiting", unreadable)
    told = call("compact")
    assert (told.exit_code, told.stderr.count(name)) == (1, 1)
    assert (
        "the builds above took 0 records of its log; the last one was refused, and what waits there cannot be counted ("
        in told.stderr
    )
    assert "Input/output error" in told.stderr


def fail(folder: Path, *counts: int) -> None:
    writer, now = LogWriter(folder), microseconds(datetime.now(UTC))
    told: dict[str, Any] = {"failed_product": "flights", "version": "1.0.0", "code": "failed", "at": now, "commit": "c"}
    for count in counts:
        writer.append([encode_failure(FailureRecord(count=count, **told))])
    writer.close()


def test_the_log_of_failures_is_shown_beside_that_of_answers(log: Path) -> None:
    """What was lost of it stood nowhere."""
    folder = log.parents[1] / "failures" / "flights"
    fail(folder, 1, 2, 3)
    answered, failed = said("status")
    assert (answered["log"], answered["waiting"]) == ("predictions", 0)
    assert (failed["log"], failed["waiting"], failed["segments"]) == ("service_failures", 3, 1)
    name = damage(folder, b"failed")
    assert said("compact", code=1)[-1]["damaged"] == [name]
    assert [row["damaged"] for row in said("status", code=1)] == [0, 1]


def test_what_had_waited_too_long_for_its_table_is_counted(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty answers were taken and dropped, and the line said 0 of everything."""
    keeping = replace(FLIGHTS, serving=replace(FLIGHTS.serving, keep=timedelta(days=80)))
    asset = predictions_asset(keeping)
    monkeypatch.setattr("headwater.cli._log.fed_assets", lambda name, failures=False: [] if failures else [asset])
    answer(log, "a", "b")
    (row,) = said("compact")
    assert (row["appended"], row["expired"]) == (0, 2)
    assert "expired" in call("compact").output


def test_a_product_that_is_not_built_yet_keeps_no_other_one_from_being_compacted(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second product without labels: nobody's answers were taken, and the command ended with the first error."""
    fed = {
        failures: [make(one) for make in makes for one in (product(), FLIGHTS)]
        for failures, makes in {False: [predictions_asset], True: [failures_asset]}.items()
    }
    monkeypatch.setattr("headwater.cli._log.fed_assets", lambda name, failures=False: fed[failures])
    answer(log, "a", "b")
    fail(log.parents[1] / "failures" / "toy", 1)
    done = call("compact", "--json")
    assert done.exit_code == 2
    assert "Nothing stands at 'toy/labels'" in done.stderr
    taken = {row["path"]: row["appended"] for row in json.loads(done.stdout)}
    assert taken == {"flights/predictions": 2, "toy/service_failures": 1}


def test_a_table_that_stands_still_ends_the_command_with_what_waits(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds that took nothing and said that more waits followed each other until somebody stopped them."""

    def take_nothing(inputs: Any) -> Appended:
        rows = pl.DataFrame(schema=LABEL_COLUMNS)
        return Appended(data=rows, positions=inputs.positions, facts={"more": True})

    asset = replace(predictions_asset(FLIGHTS), compute=take_nothing, checks=())
    monkeypatch.setattr("headwater.cli._log.fed_assets", lambda name, failures=False: [] if failures else [asset])
    answer(log, "a", "b")
    done = call("compact")
    assert done.exit_code == 2
    assert "'flights/predictions' stands still: 2 records wait" in done.stderr


def test_an_unknown_product_is_an_error_that_names_those_there_are(log: Path) -> None:
    done = CliRunner().invoke(cli, ["log", "status", "--product", "trains"])
    assert "No product is called 'trains'" in str(done.exception)
