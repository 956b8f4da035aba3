"""What a compaction takes, keeps aside, drops and deletes; with a real log and a real lake."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain import _predictions
from assets._chain._failures import failures_asset
from assets._chain._predictions import predictions_asset
from headwater.lake import Retention
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import Run, Status, materialize
from headwater.names import RELEASED_FACT
from headwater.product import DeclarationError, Labels
from headwater.provenance import Output, Provenance
from serving.prediction_log import FailureRecord, LogWriter, PredictionRecord, encode_failure, encode_record, segments
from tests.compaction.scene import LABEL_ROWS, LABELS, PATH, START, Scene, microseconds, product, record, verdicts


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    found.label()
    return found


def test_before_anything_was_answered_there_is_an_empty_table_with_its_columns(scene: Scene) -> None:
    assert scene.compact().status is Status.PUBLISHED
    assert scene.rows().height == 0
    assert scene.rows().schema["at"] == pl.Datetime("us", "UTC")
    assert [scene.rows().schema[name] for name in ("who", "hour", "number")] == list(LABEL_ROWS.schema.dtypes())[:3]
    before = scene.commits()
    assert scene.compact().status is Status.UNCHANGED
    assert scene.commits() == before


def test_a_record_becomes_a_row_with_its_key_in_the_labels_types(scene: Scene) -> None:
    told = record("ann:1", shadows={"b": 0.5, "a": 0.1}, reasons={"h": "stale"}, online="o1", caller="k", log=150)
    scene.answer([told])
    outcome = scene.compact()
    assert verdicts(outcome) == dict.fromkeys(verdicts(outcome), True)
    (row,) = scene.rows().to_dicts()
    assert (row["who"], row["hour"], row["number"]) == ("ann", START, 7)
    assert (row["at"], row["received"], row["latency_us"], row["log_us"]) == (START, START, 900, 150)
    assert (row["score"], row["decision"], row["propensity"], row["version"]) == (0.25, False, 1.0, "1.0.0")
    assert row["shadows"] == '{"a":0.1,"b":0.5}'
    assert json.loads(row["request"])["hour"] == microseconds(START)
    assert json.loads(row["features"]) == {"c": None, "x": 1.5}
    assert (row["reasons"], row["online"], row["caller"], row["trace"]) == ('{"h":"stale"}', "o1", "k", "ann:1")


def test_a_key_that_the_request_lacks_or_that_is_of_another_type_is_null(scene: Scene) -> None:
    requests = [{}, {"who": 3, "hour": "soon", "number": 2**40}, {"who": "x", "hour": 2**62, "number": True}]
    scene.answer(record(f"a:{place}", request=request) for place, request in enumerate(requests))
    assert verdicts(scene.compact())["records_are_readable"]
    rows = scene.rows().sort("request_id").select("who", "hour", "number").rows()
    assert rows == [(None, None, None), (None, None, None), ("x", None, None)]


def test_a_segment_that_is_still_written_is_taken_up_to_its_last_whole_frame_and_stays(scene: Scene) -> None:
    log = LogWriter(scene.log)
    for number in range(3):
        log.append([encode_record(record(f"a:{number}"))])
        assert scene.compact().facts["appended"] == 1
    assert scene.ids() == ["a:0", "a:1", "a:2"]
    assert scene.compact().status is Status.UNCHANGED
    assert len(segments(scene.log)) == 1
    log.append([encode_record(record("a:3"))])
    log.close()
    scene.compact()
    assert scene.ids() == ["a:0", "a:1", "a:2", "a:3"]
    assert scene.segments() == []
    assert scene.compact().status is Status.UNCHANGED


def test_an_append_rewrites_nothing_of_what_stands(scene: Scene) -> None:
    def files() -> set[str]:
        return set(scene.lake.at("main").delta(PATH).file_uris())

    names: list[set[str]] = []
    for number in range(3):
        scene.answer([record(f"a:{number}")])
        scene.compact()
        names.append({Path(uri).name for uri in files()})
    assert names[0] < names[1] < names[2]


def test_a_table_of_very_many_files_is_written_as_a_whole_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.materialize._adding._MOST_FILES", 3)
    counts = []
    for number in range(6):
        scene.answer([record(f"a:{number}")])
        scene.compact()
        counts.append(scene.lake.at("main").entry(PATH).files)
    assert counts == [1, 2, 3, 1, 2, 3]
    assert scene.ids() == [f"a:{number}" for number in range(6)]


def test_many_records_are_taken_in_several_builds(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_predictions, "MOST_RECORDS", 4)
    scene.answer((record(f"a:{number}") for number in range(10)), segment_bytes=2_000)
    said = [scene.compact().facts for _ in range(3)]
    assert [(facts["appended"], facts["more"]) for facts in said] == [(4, True), (4, True), (2, False)]
    assert len(scene.ids()) == len(set(scene.ids())) == 10


def test_a_torn_end_is_none_of_the_log_and_no_damage(scene: Scene) -> None:
    scene.answer([record("a:0"), record("a:1")])
    (segment,) = segments(scene.log)
    segment.path.write_bytes(segment.path.read_bytes()[:-3] + b"\0" * 500)
    assert verdicts(scene.compact())["log_is_whole"]
    assert scene.ids() == ["a:0"]
    assert scene.segments() == []


def test_what_follows_damage_is_taken_and_the_segment_is_kept_aside_and_shown(scene: Scene) -> None:
    scene.answer([record("a:0"), record("a:1"), record("a:2")])
    (segment,) = segments(scene.log)
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"a:1")] ^= 1
    segment.path.write_bytes(bytes(data))
    outcome = scene.compact()
    assert outcome.status is Status.PUBLISHED
    assert not verdicts(outcome)["log_is_whole"]
    assert scene.ids() == ["a:0", "a:2"]
    assert scene.segments() == [f"{segment.name}.damaged"]
    assert not verdicts(scene.compact())["log_is_whole"], "as long as it lies there"
    (scene.log / f"{segment.name}.damaged").unlink()
    scene.answer([record("a:3")])
    assert verdicts(scene.compact())["log_is_whole"]


def test_what_a_killed_writer_left_of_a_segment_is_swept_later(scene: Scene) -> None:
    scene.answer([record("a:0")])
    names = {"000000000001-0011223344556677.part": 7_200, "000000000002-0011223344556677.part": 60}
    for name, age in names.items():
        (scene.log / name).write_bytes(b"")
        os.utime(scene.log / name, (time.time() - age, time.time() - age))
    scene.compact()
    assert scene.segments() == ["000000000002-0011223344556677.part"]


def test_files_that_no_writer_made_are_left_alone(scene: Scene) -> None:
    scene.answer([record("a:0")])
    (scene.log / "notes.log").write_text("mine")
    scene.compact()
    assert scene.segments() == ["notes.log"]


def test_what_is_no_row_is_kept_aside_with_its_place_and_reason(scene: Scene) -> None:
    far = 2**62
    bad = [b"\xc1", encode_record(record("x:1", product="other")), encode_record(record("x:2", at=far))]
    scene.answer([record("a:0"), *bad])
    nan = encode_record(record("x:4", score=float("nan")))
    scene.answer([encode_record(record("x:3", latency=2**63)), record("a:1"), nan])
    outcome = scene.compact()
    assert outcome.status is Status.PUBLISHED
    assert not verdicts(outcome)["records_are_readable"]
    assert outcome.facts["unreadable"] == 5
    assert scene.ids() == ["a:0", "a:1"]
    kept = scene.rejected()
    assert kept["record"].to_list()[:3] == bad
    assert "of product 'other'" in kept["problem"][1]
    assert "years 1 to 9999" in kept["problem"][2]
    assert "no number from 0 to 1" in kept["problem"][4]
    scene.answer([b"also none"])
    scene.compact()
    assert scene.rejected().height == 6
    assert scene.segments() == []


@pytest.mark.parametrize("told", [{"score": 1.001}, {"score": -0.5}, {"shadows": {"1.1.0": 1.5}}])
def test_a_score_that_is_no_probability_is_no_row(scene: Scene, told: dict[str, Any]) -> None:
    """Outcomes refuse such a score, so that one row of it stopped them for good."""
    scene.answer([record("a:0", score=1.0), record("a:1", **told), record("a:2", score=0.0)])
    assert scene.compact().facts["unreadable"] == 1
    assert scene.ids() == ["a:0", "a:2"]
    assert "no number from 0 to 1" in scene.rejected()["problem"][0]


def test_a_score_a_hair_above_one_is_one(scene: Scene) -> None:
    """Ensembles of services of before gave it: a real answer, which still waits in their logs."""
    scene.answer([record("a:0", score=1.0000000000000002)])
    assert scene.compact().facts["unreadable"] == 0
    assert scene.lake.at("main").table("toy/predictions").select("score").collect().item() == 1.0


def test_a_damaged_log_of_failures_is_told_until_somebody_has_looked(scene: Scene, tmp_path: Path) -> None:
    """Half of what had failed was lost, and nothing said so."""
    folder = tmp_path / "serving" / "failures" / "toy"
    log, now = LogWriter(folder), microseconds(datetime.now(UTC))
    for _ in range(20):
        failed = FailureRecord(failed_product="toy", version="1.0.0", code="failed", count=100, at=now, commit="c")
        log.append([encode_failure(failed)])
    log.close()
    (segment,) = folder.glob("*.log")
    data = bytearray(segment.read_bytes())
    for place in range(len(data) // 4, len(data) // 4 * 3):
        data[place] ^= 255
    segment.write_bytes(bytes(data))

    def compact() -> Any:
        return materialize(scene.lake, failures_asset(product()), run=Run(actor="test"), state=tmp_path)

    outcome = compact()
    assert 0 < scene.lake.at("main").table("toy/service_failures").collect()["count"].sum() < 2_000
    assert (outcome.facts["damaged"], verdicts(outcome)["log_is_whole"]) == ([segment.stem], False)
    assert not verdicts(compact())["log_is_whole"], "as long as it lies there"
    segment.with_suffix(".damaged").unlink()
    log = LogWriter(folder)
    log.append([encode_failure(failed)])
    log.close()
    assert verdicts(compact())["log_is_whole"]


def test_two_compactors_at_once_take_each_record_once(scene: Scene) -> None:
    """The lake replays two blind appends: without positions that conflict, both would have been kept."""
    scene.compact()
    scene.answer(record(f"a:{number}") for number in range(5))
    rivals = [1]
    compute = scene.asset.compute

    def meanwhile(inputs: Any) -> Any:
        found = compute(inputs)
        if rivals:
            rivals.pop()
            scene.compact()
        return found

    rival = replace(scene.asset, compute=meanwhile)
    twin = Scene(scene.state)
    twin.asset = rival
    assert twin.compact().facts["appended"] == 0
    assert scene.ids() == [f"a:{number}" for number in range(5)]
    assert scene.lake.at("main").entry(PATH).rows == 5


def test_a_build_on_another_branch_deletes_nothing_that_main_lacks(scene: Scene) -> None:
    scene.lake.create_branch("dev")
    scene.answer([record("a:0")])
    assert scene.compact(branch="dev").facts["appended"] == 1
    assert len(scene.segments()) == 1
    scene.compact()
    assert scene.ids() == ["a:0"]
    assert scene.segments() == []


def test_a_commit_that_is_reverted_takes_its_positions_back_too(scene: Scene) -> None:
    log = LogWriter(scene.log)
    scene.compact()
    log.append([encode_record(record("a:0"))])
    done = scene.compact()
    assert done.commit is not None
    scene.lake.revert(done.commit)
    assert scene.ids() == []
    scene.compact()
    assert scene.ids() == ["a:0"]
    log.close()


def came_in(name: str, age: timedelta, **more: Any) -> PredictionRecord:
    """A record of a request that came in so long ago."""
    return record(name, received=microseconds(datetime.now(UTC) - age), **more)


def test_rows_older_than_declared_are_dropped_in_a_commit_of_their_own(tmp_path: Path) -> None:
    ages = {"new": timedelta(hours=1), "slack": timedelta(days=2, hours=12), "old": timedelta(days=5)}
    scene = Scene(tmp_path)
    scene.label()
    scene.answer([came_in(name, age) for name, age in ages.items()])
    scene.compact()
    before = scene.rows()
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.answer([came_in("next", timedelta(0)), came_in("late", timedelta(days=9))])
    outcome = keeping.compact()
    assert (outcome.facts["dropped"], outcome.facts["more"]) == (2, True)
    assert keeping.ids() == ["new"]
    taken = {row["request_id"]: row["received"].isoformat() for row in before.to_dicts()}
    assert keeping.positions()["dropped_until"] == taken["slack"], "the newest that went"
    outcome = keeping.compact()
    assert (outcome.facts["appended"], outcome.facts["expired"], outcome.facts["more"]) == (1, 1, False)
    assert verdicts(outcome)["records_are_taken_in_time"] is False
    assert keeping.ids() == ["new", "next"]
    assert keeping.positions()["dropped_until"] == taken["slack"], "what was too late is older than that"
    assert keeping.segments() == []
    assert verdicts(keeping.compact())["records_are_taken_in_time"]


def test_what_was_dropped_is_gone_from_the_disk_although_a_release_stood_beside_it(tmp_path: Path) -> None:
    """Every release kept the answers of its day for ever: no collection took what people asked."""
    scene = Scene(tmp_path)
    scene.label()
    scene.answer([came_in("secret", timedelta(days=5))])
    scene.compact()
    with scene.lake.transaction() as tx:
        entry = tx.write_table("toy/release", pl.DataFrame({"x": [1]}))
        said = Output(path="toy/release", kind="table", data_version=entry.data_version, facts={RELEASED_FACT: "1.0.0"})
        tx.publish(
            message="Release",
            provenance=Provenance(
                transaction=tx.id, action="materialize", outputs=(said,), input_commit=tx.base.commit.id
            ),
        )
    released = scene.lake.resolve("main").id
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.compact()
    assert keeping.ids() == []
    scene.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    assert scene.lake.at(released).table("toy/release").collect().height == 1
    with pytest.raises(CollectedCommitError):
        scene.lake.at(released).table(PATH)
    files = [file for file in (tmp_path / "lake").rglob("*") if file.is_file() and not file.name.startswith("catalog")]
    rows = [str(pl.read_parquet(file).rows()) for file in files if file.read_bytes()[:4] == b"PAR1"]
    assert rows
    assert not any("secret" in said for said in rows)


def test_what_was_too_old_when_it_was_taken_is_told_too(tmp_path: Path) -> None:
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.label()
    keeping.answer([came_in("a:0", timedelta(hours=1))])
    keeping.compact()
    assert "dropped_until" not in keeping.positions()
    late = came_in("a:1", timedelta(days=9))
    keeping.answer([late])
    keeping.compact()
    assert keeping.positions()["dropped_until"] == datetime.fromtimestamp(late.received / 1e6, UTC).isoformat()


def test_what_repeats_an_answer_that_is_not_kept_is_another_prediction(tmp_path: Path) -> None:
    """Taken in one build, the later one went as a contrary repetition of an answer that never reached the table."""
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.label()
    keeping.answer([came_in("a:0", timedelta(days=3)), came_in("a:0", timedelta(days=1), score=0.7)])
    outcome = keeping.compact()
    assert (outcome.facts["appended"], outcome.facts["contrary"], outcome.facts["expired"]) == (1, 0, 1)
    assert keeping.rows()["score"].to_list() == [0.7]


def test_what_was_answered_today_about_an_old_time_is_kept(tmp_path: Path) -> None:
    """Retention went by the prediction time: an answer about last year was dropped as it was compacted, and only counted."""
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.label()
    keeping.answer([came_in("a:0", timedelta(0), at=microseconds(START - timedelta(days=400)))])
    outcome = keeping.compact()
    assert (outcome.facts["appended"], outcome.facts["expired"]) == (1, 0)
    assert keeping.compact().status is Status.UNCHANGED
    assert keeping.ids() == ["a:0"]


def test_rejected_records_are_kept_as_long_as_declared_too(tmp_path: Path) -> None:
    """Whole records lay in the table of rejected ones for ever, whatever the product said of retention."""
    scene = Scene(tmp_path)
    scene.label()
    scene.answer(
        [
            *(came_in("a:0", timedelta(days=5), score=score) for score in (0.25, 0.5)),
            *(came_in("b:0", timedelta(hours=1), score=score) for score in (0.25, 0.5)),
            b"noise",
        ]
    )
    scene.compact()
    assert scene.rejected().height == 3
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.compact()  # the predictions first, in a commit of their own
    keeping.answer([b"more noise"])
    outcome = keeping.compact()
    assert outcome.facts["rejected_dropped"] == 1
    # What says no time counts from when it was set aside.
    assert sorted(keeping.rejected()["record"].to_list(), key=len)[:2] == [b"noise", b"more noise"]
    assert keeping.rejected().height == 3
    assert keeping.compact().status is Status.UNCHANGED


def test_rejected_records_of_an_older_table_get_the_time_at_which_they_came_in(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.label()
    old = came_in("a:0", timedelta(days=9))
    scene.answer([old, came_in("b:0", timedelta(0)), came_in("b:0", timedelta(days=6), score=0.5), b"noise"])
    scene.compact()
    with scene.lake.transaction() as tx:
        tx.write_table(f"{PATH}.rejected", scene.rejected().drop("received"))
        tx.publish(message="As an older Headwater wrote it", provenance=None)
    scene.answer([b"more noise"])
    scene.compact()
    assert scene.rejected()["received"].null_count() == 0
    assert scene.rejected().height == 3
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.compact()
    assert keeping.compact().facts["rejected_dropped"] == 1
    assert sorted(keeping.rejected()["record"].to_list()) == [b"more noise", b"noise"]


def test_failures_are_kept_as_long_as_declared_too(tmp_path: Path) -> None:
    scene, path = Scene(tmp_path), "toy/service_failures"

    def fail(*ages: timedelta) -> None:
        log, now = LogWriter(tmp_path / "serving" / "failures" / "toy"), datetime.now(UTC)
        told: dict[str, Any] = {"failed_product": "toy", "version": "1.0.0", "code": "failed", "commit": "c"}
        for age in ages:
            log.append([encode_failure(FailureRecord(at=microseconds(now - age), count=age.days + 1, **told))])
        log.append([b"noise"])
        log.close()

    def compact(**serving: Any) -> Any:
        return materialize(scene.lake, failures_asset(product(**serving)), run=Run(actor="test"), state=tmp_path)

    def counts() -> list[int]:
        return sorted(scene.lake.at("main").table(path).collect()["count"])

    fail(timedelta(days=5), timedelta(0))
    compact()
    assert counts() == [1, 6]
    fail(timedelta(days=9), timedelta(days=1))
    outcome = compact(keep=timedelta(days=2))
    assert (outcome.facts["dropped"], outcome.facts["expired"]) == (1, 1)
    assert verdicts(outcome)["records_are_taken_in_time"] is False
    assert counts() == [1, 2]
    assert compact(keep=timedelta(days=2)).status is Status.UNCHANGED
    assert scene.lake.at("main").table(f"{path}.rejected").collect().height == 2


def test_rows_that_are_hardly_too_old_do_not_make_the_table_be_written_anew(tmp_path: Path) -> None:
    keeping = Scene(tmp_path, keep=timedelta(days=2))
    keeping.label()
    keeping.answer([came_in("a:0", timedelta(days=2) - timedelta(minutes=30))])
    assert keeping.compact().facts["appended"] == 1
    shorter = Scene(tmp_path, keep=timedelta(days=2) - timedelta(hours=1))
    assert shorter.compact().status is Status.UNCHANGED
    assert shorter.ids() == ["a:0"]


def test_a_changed_type_of_the_labels_key_reads_the_key_again_from_the_requests(scene: Scene) -> None:
    scene.answer([record("a:0"), record("a:1", request={"who": "b"})])
    scene.compact()
    wanted = {"who": pl.String, "hour": pl.Date, "number": pl.Float64, "y": pl.Int8}
    scene.label(LABEL_ROWS.cast(wanted))  # type: ignore[arg-type]
    outcome = scene.compact()
    assert outcome.facts["more"]
    rows = scene.rows().sort("request_id").select("who", "hour", "number").rows()
    assert rows == [("a", START.date(), 7.0), ("b", None, None)]
    assert scene.compact().status is Status.UNCHANGED
    scene.answer([record("a:2")])
    scene.compact()
    assert scene.ids() == ["a:0", "a:1", "a:2"]


def test_rows_of_an_older_table_say_that_no_log_was_waited_for(scene: Scene) -> None:
    """The time of the log is on record since services tell it."""
    scene.answer([record("a:0"), record("a:1", request={"who": "b"})])
    scene.compact()
    stood = scene.rows()
    with scene.lake.transaction() as tx:
        tx.write_table(PATH, stood.drop("log_us"))
        tx.publish(message="As an older Headwater left it", provenance=None)
    scene.answer([record("a:2", log=150)])
    assert scene.compact().facts["more"]
    assert scene.rows().sort("request_id").equals(stood.sort("request_id"))
    assert scene.compact().facts["appended"] == 1
    assert scene.rows().sort("request_id")["log_us"].to_list() == [0, 0, 150]


def test_another_order_of_the_labels_key_stops_nothing(scene: Scene) -> None:
    """No answer reached the lake any more: the table was written anew in each build, and never had the new order."""
    scene.answer([record("a:0")])
    scene.compact()
    toy = product()
    assert toy.labels is not None
    scene.asset = predictions_asset(replace(toy, labels=replace(toy.labels, key=("number", "who", "hour"))))
    scene.answer([record("b:0")])
    assert scene.compact().facts["appended"] == 1
    assert not scene.compact().facts["more"]
    rows = scene.rows().sort("request_id")
    assert rows.select("request_id", "who", "hour", "number").rows() == [("a:0", "a", START, 7), ("b:0", "b", START, 7)]


def test_a_key_called_like_a_column_of_the_predictions_is_refused() -> None:
    toy = product()
    assert toy.labels is not None
    with pytest.raises(DeclarationError, match="'version'"):
        predictions_asset(replace(toy, labels=Labels(path="toy/labels", key=("version",), time="hour", label="y")))


def test_a_key_column_at_that_is_the_labels_time_is_the_prediction_time_itself(tmp_path: Path) -> None:
    """The template's label table knows a row by customer and `at`."""
    scene = Scene(tmp_path)
    scene.asset = predictions_asset(
        replace(product(), labels=Labels(path=LABELS, key=("who", "at"), time="at", label="y"))
    )
    scene.label(LABEL_ROWS.rename({"hour": "at"}))
    scene.answer([record("ann:1", request={"who": "ann"})])
    scene.compact()
    assert scene.rows().select("who", "at").rows() == [("ann", START)]


def test_a_clock_that_goes_backwards_loses_no_record_and_what_was_answered_first_stays_first(scene: Scene) -> None:
    def came(hours: int) -> dict[str, int]:
        return {"received": microseconds(START) - hours * 3_600_000_000}

    scene.answer(record(f"ann:{hours}", **came(hours)) for hours in range(5))
    scene.compact()
    scene.answer([record("ann:0", score=0.75, **came(9)), *(record(f"ann:{hours}", **came(hours)) for hours in (5, 6))])
    scene.compact()
    rows = scene.rows()
    assert sorted(rows["request_id"]) == [f"ann:{hours}" for hours in range(7)]
    assert rows.filter(pl.col("request_id") == "ann:0")["score"].to_list() == [0.25]
    assert scene.segments() == []
