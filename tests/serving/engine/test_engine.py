"""Answers of an engine: the very scores of the batch path, each request for itself, and everything in the record."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.features import FeatureTable, FeatureView
from headwater.features.online import OnlineStore, prepare
from headwater.features.online._content import read_content, write_content
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.models import LogisticBaseline, read_bundle, request_schema, train_model, write_bundle
from headwater.testing.online_suite import VIEW, at, hour, rows
from serving.deployment import Deployment, DeploymentCache, read_deployment
from serving.engine import (
    Answer,
    Asked,
    Engine,
    ExplanationError,
    FunctionChangedError,
    NotServableError,
    RefusedLookupError,
    RefusedValuesError,
    RequestError,
    UnfitModelError,
    UnknownFieldsError,
    VersionFaultError,
    VersionNotServedError,
    load_model,
)
from serving.errors import ServingError
from serving.policies import ABTest, Canary, Ensemble, Shadow
from serving.prediction_log import PredictionRecord, decode_record
from tests.serving.conftest import PRODUCT, SERVED, WIDER, Released

ENTITY = {"who": "ann", "x": 3, "kind": "a", "order": 5}


def engine_of(released: Released, folder: Path, store: OnlineStore | None = None) -> Engine:
    product = released.product
    deployment = read_deployment(released.lake, product)
    cache = DeploymentCache(folder / "cache")
    cache.take(released.lake, deployment)
    store = store or MemoryOnlineStore()
    content = cache.online(deployment)
    assert content is not None
    store.publish(product, content, commit=deployment.commit)
    models = {version: load_model(product, version, cache.bundle(deployment, version)) for version in deployment.models}
    return Engine(deployment, models, store=store, store_name=product)


@pytest.fixture
def engine(released: Released, tmp_path: Path) -> Engine:
    return engine_of(released, tmp_path)


def asked(engine: Engine, entity: dict[str, Any] | None = None, *, moment: float = 2, **more: Any) -> Asked:
    fields = engine.live.fields.read({**ENTITY, **(entity or {})})
    given = {"id": "r1", "received": 1_000, "started": time.perf_counter_ns(), **more}
    return Asked(fields=fields, at=at(moment), **given)


def answered(engine: Engine, *many: Asked) -> list[Answer]:
    found = engine.answer(many)
    assert all(isinstance(one, Answer) for one in found), found
    return found  # type: ignore[return-value]


def record(answer: Answer) -> PredictionRecord:
    return decode_record(answer.record)


def batch_score(engine: Engine, version: str, *rows: dict[str, Any]) -> list[float]:
    frame = pl.DataFrame(rows, schema_overrides={"h_value": pl.Int64, "kind": pl.String})
    found: list[float] = engine.models[version].bundle.predict(frame).tolist()
    return found


def test_the_score_is_that_of_the_batch_path(engine: Engine) -> None:
    (answer,) = answered(engine, asked(engine))
    features = {"x": 3, "kind": "a", "h_value": 10, "twice": 6, "is_known": True}
    assert [answer.score] == batch_score(engine, "1.0.0", features)
    assert answer.decision is (answer.score >= engine.live.bundle.threshold)
    assert record(answer).features == features


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", None]),
            st.integers(0, 10**6),
            st.sampled_from(["a", "z", None]),
            st.floats(0, 9),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_many_together_are_answered_as_each_alone(
    engine: Engine, requests: Sequence[tuple[str | None, int, str | None, float]]
) -> None:
    many = [asked(engine, {"who": who, "x": x, "kind": kind}, moment=moment) for who, x, kind, moment in requests]
    together = answered(engine, *many)
    alone = [answered(engine, one)[0] for one in many]
    assert [(one.score, one.reasons) for one in together] == [(one.score, one.reasons) for one in alone]


def test_what_nobody_knows_and_what_is_too_old_reads_as_the_default_with_its_reason(engine: Engine) -> None:
    unknown, stale, early = answered(
        engine, asked(engine, {"who": "nobody"}), asked(engine, moment=8), asked(engine, moment=0.5)
    )
    assert [one.reasons for one in (unknown, stale, early)] == [
        {"history": "unknown"}, {"history": "stale"}, {"history": "unknown"},
    ]  # fmt: skip
    assert record(unknown).features["h_value"] == -1
    features = {"x": 3, "kind": "a", "h_value": -1, "twice": 6, "is_known": True}
    assert [unknown.score] == batch_score(engine, "1.0.0", features)


def test_one_bad_request_leaves_the_others_alone(engine: Engine) -> None:
    found = engine.answer(
        [
            asked(engine, id="good"),
            asked(engine, {"x": -1}, id="function"),
            asked(engine, moment=-1, id="window"),
            asked(engine, {"who": None}, id="null"),
            asked(engine, id="late")._replace(at=2**60),
        ]
    )
    assert [type(one) for one in found] == [
        Answer,
        RefusedValuesError,
        RefusedLookupError,
        Answer,
        RefusedLookupError,
    ]
    assert "x is -1" in str(found[1])
    assert "window" in str(found[2])


def test_the_record_holds_what_was_asked_seen_and_said(engine: Engine) -> None:
    (answer,) = answered(engine, asked(engine, id="abc", caller="desk", trace="f" * 32))
    found = record(answer)
    assert (found.request_id, found.product, found.caller, found.trace) == ("abc", PRODUCT, "desk", "f" * 32)
    assert (found.at, found.received) == (at(2), 1_000)
    assert (found.version, found.variant, found.propensity) == ("1.0.0", "1.0.0", 1.0)
    assert (found.score, found.decision) == (answer.score, answer.decision)
    assert found.request == {"who": "ann", "x": 3, "order": 5, "kind": "a"}
    assert found.commit == found.online == engine.deployment.commit
    assert 0 < found.latency < 10_000_000


def test_redacted_fields_are_not_in_the_record(released: Released, tmp_path: Path) -> None:
    released.release("all-at-once", "1.0.0", redacted=["who", "kind"])
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine))
    assert set(record(answer).request) == {"x", "order"}
    assert "kind" not in record(answer).features
    assert b"ann" not in answer.record
    assert [answer.score] == [answered(engine_of(released, tmp_path), asked(engine))[0].score]


def test_a_canary_answers_its_share_and_the_same_for_the_same_entity(released: Released, tmp_path: Path) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.25), "1.0.0", assign_by=["order"])
    engine = engine_of(released, tmp_path)
    many = [asked(engine, {"order": number}, id=str(number)) for number in range(2_000)]
    first, again = answered(engine, *many), answered(engine, *(one._replace(id=f"again {one.id}") for one in many))
    assert [one.version for one in first] == [one.version for one in again]
    share = sum(one.version == "1.1.0" for one in first) / len(first)
    assert share == pytest.approx(0.25, abs=0.04)
    scores = {version: batch_score(engine, version, record(first[0]).features)[0] for version in engine.models}
    assert first[0].score == scores[first[0].version]
    assert {record(one).propensity for one in first} == {0.25, 0.75}


def test_requests_without_a_value_to_draw_by_are_drawn_each_for_itself(released: Released, tmp_path: Path) -> None:
    """They were drawn as one, so that half of the traffic was none of it."""
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", assign_by=["who", "order"])
    engine = engine_of(released, tmp_path)
    many = [asked(engine, {"order": None}, id=str(number)) for number in range(600)]
    share = sum(one.version == "1.1.0" for one in answered(engine, *many)) / len(many)
    assert share == pytest.approx(0.5, abs=0.08)
    assert engine.variant(many[0]) == engine.variant(many[0]._replace(at=many[0].at + 1))


def test_a_draw_by_the_prediction_time_knows_it(released: Released, tmp_path: Path) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", assign_by=["who", "at"])
    engine = engine_of(released, tmp_path)
    times = {engine.variant(asked(engine, moment=hours, id="one")) for hours in range(40)}
    same = {engine.variant(asked(engine, id=str(number))) for number in range(40)}
    assert (times, len(same)) == ({"1.0.0", "1.1.0"}, 1)


@pytest.mark.parametrize("rules", [{"assign_by": ["ordre"]}, {"assign_by": ["h_value"]}, {"redacted": ["knd"]}])
def test_rules_about_names_that_no_request_has_are_refused(
    released: Released, tmp_path: Path, rules: dict[str, list[str]]
) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", **rules)
    with pytest.raises(UnknownFieldsError, match=f"{next(iter(rules.values()))[0]}, which no request.*goes on"):
        engine_of(released, tmp_path)


def test_who_draws_for_nobody_may_be_told_of_fields_of_another_version(released: Released, tmp_path: Path) -> None:
    released.release("all-at-once", "1.0.0", assign_by=["extra"], redacted=["h_value"])
    engine = engine_of(released, tmp_path)
    assert answered(engine, asked(engine))


def test_without_fields_to_draw_by_each_request_is_drawn_for_itself(released: Released, tmp_path: Path) -> None:
    released.release(ABTest(shares={"1.0.0": 0.5, "1.1.0": 0.5}, salt="t"), "1.0.0")
    engine = engine_of(released, tmp_path)
    found = answered(engine, *(asked(engine, id=str(number)) for number in range(300)))
    assert {one.version for one in found} == {"1.0.0", "1.1.0"}


def test_a_shadow_scores_and_never_answers_nor_fails_a_request(released: Released, tmp_path: Path) -> None:
    released.release(Shadow(live="1.0.0", shadows=("1.1.0",)), "1.0.0")
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine))
    assert answer.version == "1.0.0"
    assert record(answer).shadows == {"1.1.0": batch_score(engine, "1.1.0", record(answer).features)[0]}

    def fails(*given: object) -> tuple[int, bool]:
        raise ValueError("not today")

    shadow = engine.models["1.1.0"]
    failing = tuple((use, fails, places) for use, _, places in shadow.plan.functions)
    engine.models["1.1.0"] = replace(shadow, plan=replace(shadow.plan, functions=failing))
    (answer,) = answered(engine, asked(engine))
    assert record(answer).shadows == {}


def test_an_ensemble_answers_with_the_weighted_mean(released: Released, tmp_path: Path) -> None:
    released.release(Ensemble(weights={"1.0.0": 0.25, "1.1.0": 0.75}), "1.0.0")
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine))
    found = record(answer)
    members = {version: batch_score(engine, version, found.features)[0] for version in engine.models}
    assert answer.score == pytest.approx(0.25 * members["1.0.0"] + 0.75 * members["1.1.0"])
    assert (answer.version, found.shadows) == ("ensemble", members)
    assert engine.variants == (*members, "ensemble")
    (refused,) = engine.answer([asked(engine, explain=True)])
    assert isinstance(refused, ExplanationError)


class Sure:
    """Scores as a sigmoid that is saturated."""

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return np.ones(len(matrix))


def test_an_ensemble_of_sure_members_is_a_probability(released: Released, tmp_path: Path) -> None:
    """Rounded weights made 1.0000000000000002 of it, of which outcomes could not be built any more."""
    weights = {"1.0.0": 0.5, "1.1.0": 0.5000000001}
    released.release(Ensemble(weights=weights), "1.0.0")
    engine = engine_of(released, tmp_path)
    for version, model in engine.models.items():
        engine.models[version] = replace(model, bundle=replace(model.bundle, scorer=Sure(), threshold=1.0))
    (answer,) = answered(engine, asked(engine))
    assert (answer.score, record(answer).score, answer.threshold, answer.decision) == (1.0, 1.0, 1.0, True)


def test_a_version_can_be_asked_for_by_name(released: Released, tmp_path: Path) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.0), "1.0.0")
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine, version="1.1.0"))
    assert answer.version == "1.1.0"
    with pytest.raises(VersionNotServedError, match=r"toy@9\.0\.0 is not served here; served are 1\.0\.0, 1\.1\.0"):
        engine.model("9.0.0")


def test_others_take_what_the_function_of_one_version_refuses_and_nobody_what_all_refuse(
    released: Released, tmp_path: Path
) -> None:
    policy = Canary(live="1.0.0", candidate="2.0.0", share=0.5)
    released.model("2.0.0", slope=7, on_demand=())
    released.release(policy, "1.0.0")
    engine = engine_of(released, tmp_path)
    refused = [
        asked(engine, {"x": -1}, version="1.0.0"),
        asked(engine, {"x": -1}, moment=-1),
        asked(engine, {"x": -1}, explain=True),
    ]
    assert engine.others_take(refused) == [True, False, True]
    released.release(replace(policy, candidate="1.1.0"), "1.0.0")
    assert engine_of(released, tmp_path).others_take(refused) == [False] * 3
    released.release("all-at-once", "1.0.0")
    assert engine_of(released, tmp_path).others_take(refused) == [False] * 3


def test_an_explanation_adds_up_to_the_score(engine: Engine) -> None:
    plain, explained = answered(engine, asked(engine), asked(engine, explain=True))
    assert plain.explanation is None
    assert explained.explanation is not None
    assert set(explained.explanation.contributions) == set(record(explained).features)
    odds = explained.explanation.base + sum(explained.explanation.contributions.values())
    assert 1 / (1 + math.exp(-odds)) == pytest.approx(explained.score)


def test_a_time_too_far_ahead_of_the_clock_is_refused(engine: Engine) -> None:
    day = 24 * 3_600 * 1_000_000
    engine.check_time(day, 0)
    with pytest.raises(RequestError, match=r"1970-01-02T00:00:00.000001Z is more than 1 day"):
        engine.check_time(day + 1, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"view": replace(VIEW, name="other")}, "no view 'history'"),
        ({"view": replace(VIEW, prefix="g_")}, "gives .'g_value'"),
        ({"view": replace(VIEW, label_entity=("customer",))}, "by .'customer'"),
        ({"dtype": pl.String}, "'h_value' of view 'history' is String there, and was Int64 in the training"),
        ({"dtype": pl.Boolean}, "'h_value' of view 'history' is Boolean there"),
        ({"dtype": pl.Float64}, "'h_value' of view 'history' is Float64 there"),
        ({"who": 7}, "'who' of view 'history' is Int32 there, and was String in the training"),
    ],
)
def test_a_model_that_the_online_features_do_not_fit_is_refused(
    engine: Engine, released: Released, given: dict[str, Any], said: str
) -> None:
    released.online(11, **given)
    store = MemoryOnlineStore()
    content = read_content(released.lake.at("main").folder(f"{PRODUCT}/online_features"))
    store.publish("toy", content, commit="c")
    with pytest.raises(UnfitModelError, match=said):
        Engine(engine.deployment, engine.models, store=store, store_name="toy")


def test_numbers_of_another_width_and_further_columns_and_views_fit(released: Released, tmp_path: Path) -> None:
    first = engine_of(released, tmp_path)
    (before,) = answered(first, asked(first))
    released.online(10, view=WIDER, dtype=pl.Int8)
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine))
    assert record(answer).features == record(before).features
    assert (answer.score, record(answer).online) == (before.score, engine.deployment.commit)


def test_a_version_of_before_dtypes_were_kept_is_told_apart_by_names_alone(released: Released, tmp_path: Path) -> None:
    engine = engine_of(released, tmp_path)
    (use,) = engine.live.schema.views
    assert (use.dtypes, use.entity) == (("Int64",), ("String",))
    old = replace(engine.live.schema, views=(replace(use, dtypes=(), entity=()),))
    store = MemoryOnlineStore()
    released.online(11, dtype=pl.String)
    content = read_content(released.lake.at("main").folder(f"{PRODUCT}/online_features"))
    store.publish("toy", content, commit="c")
    assert Engine(engine.deployment, {"1.0.0": replace(engine.live, schema=old)}, store=store, store_name="toy")


def test_a_null_in_a_row_that_is_there_reads_as_the_default_with_its_reason(released: Released, tmp_path: Path) -> None:
    """It read as its default without a word, in the answer, in the record and in what is counted."""
    released.online(None)
    engine = engine_of(released, tmp_path)
    null, unknown = answered(engine, asked(engine), asked(engine, {"who": "nobody"}))
    assert (null.reasons, unknown.reasons) == ({"history": "missing"}, {"history": "unknown"})
    assert record(null).reasons == {"history": "missing"}
    assert record(null).features["h_value"] == -1
    assert null.score == unknown.score


def test_a_null_without_a_declared_default_is_a_value_as_in_training(released: Released, tmp_path: Path) -> None:
    released.model("1.2.0", slope=1, views=(VIEW,))
    released.online(None)
    released.release("all-at-once", "1.2.0")
    engine = engine_of(released, tmp_path)
    (answer,) = answered(engine, asked(engine))
    assert (answer.reasons, record(answer).features["h_value"]) == ({}, None)


def test_a_model_of_an_older_headwater_is_refused_with_what_to_do(released: Released, tmp_path: Path) -> None:
    released.model("1.2.0", slope=3, schema=False)
    released.release("all-at-once", "1.2.0")
    with pytest.raises(NotServableError, match="Build the product again"):
        engine_of(released, tmp_path)


def test_a_function_that_is_not_the_one_of_the_training_is_refused(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(x: int, value: int | None) -> tuple[int, bool]:
        return 3 * x, value is not None

    monkeypatch.setattr("tests.serving.toy.twice", other)
    with pytest.raises(FunctionChangedError, match=r"tests\.serving\.toy:twice, whose code is"):
        engine_of(released, tmp_path)
    monkeypatch.delattr("tests.serving.toy.twice")
    with pytest.raises(FunctionChangedError, match="which is not here"):
        engine_of(released, tmp_path)


def test_errors_of_requests_are_errors_of_serving() -> None:
    assert issubclass(RequestError, ServingError)


def of_two_numbers(folder: Path) -> Engine:
    """An engine of a model that scales two numbers of the request."""
    train = pl.DataFrame(
        {
            "order": range(60),
            "at": [hour(n) for n in range(60)],
            "p": [n / 350 for n in range(60)],
            "q": [n % 7 / 35 for n in range(60)],
            "late": [n % 2 for n in range(60)],
        }
    )
    declared = LogisticBaseline(features=("p", "q"), label="late")
    request = request_schema(train.schema, features=("p", "q"), time="at", key=("order",), views=(), on_demand=())
    write_bundle(folder, train_model(train, train, declared), request=request)
    deployment = Deployment(
        product=PRODUCT, commit="c", policy=Shadow(live="1.0.0", shadows=("1.1.0",)), models={}, online=None
    )
    return Engine(deployment, {name: load_model(PRODUCT, name, read_bundle(folder)) for name in ("1.0.0", "1.1.0")})


def test_values_too_large_for_a_score_are_refused_and_those_beside_them_answered(tmp_path: Path) -> None:
    """A score that is no number stood in the log, and no outcome was joined any more."""
    engine = of_two_numbers(tmp_path / "bundle")

    def ask(p: float, q: float) -> Asked:
        fields = engine.live.fields.read({"p": p, "q": q})
        return Asked(id="r", fields=fields, at=at(2), received=1_000, started=time.perf_counter_ns())

    wrong, right = engine.answer([ask(1e308, -1e308), ask(0.1, 0.1)])
    assert isinstance(wrong, RequestError)
    assert "too large" in str(wrong)
    assert isinstance(right, Answer)
    assert 0 < right.score < 1
    assert list(record(right).shadows) == ["1.1.0"]


class Failing:
    """A version's scorer that fails on rows in which one number is there, beside its own."""

    def __init__(self, scorer: Any, number: float) -> None:
        self.scorer, self.number = scorer, number

    def score(self, matrix: np.ndarray) -> np.ndarray:
        if (matrix == self.number).any():
            raise RuntimeError(f"planted at {self.number}")
        found: np.ndarray = self.scorer.score(matrix)
        return found


def test_a_score_that_fails_is_one_requests_alone_and_a_shadows_is_nobodys(
    released: Released, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    released.release(Shadow(live="1.0.0", shadows=("1.1.0",)), "1.0.0")
    engine = engine_of(released, tmp_path)
    for version, number in (("1.0.0", 11), ("1.1.0", 22)):
        model = engine.models[version]
        engine.models[version] = replace(
            model, bundle=replace(model.bundle, scorer=Failing(model.bundle.scorer, number))
        )
    for _ in range(2):
        found = engine.answer([asked(engine, {"x": x}, id=str(x)) for x in (3, 11, 4, 22)])
        assert [type(one) for one in found] == [Answer, VersionFaultError, Answer, Answer]
        watched = [set(record(one).shadows) for one in found if isinstance(one, Answer)]
        assert watched == [{"1.1.0"}, {"1.1.0"}, set()]
    assert "toy@1.0.0 failed on this request (RuntimeError)" in str(found[1])
    told = [str(line.exc_info[1]) for line in caplog.records if line.exc_info]
    assert told == ["planted at 11", "planted at 22"], "once for each version, not each time"


def test_a_record_that_cannot_be_written_is_one_requests_alone(engine: Engine) -> None:
    odd = asked(engine, id="odd")
    odd = odd._replace(fields={**odd.fields, "order": object()})
    found = engine.answer([asked(engine, id="before"), odd, asked(engine, id="after")])
    assert [type(one) for one in found] == [Answer, VersionFaultError, Answer]


def test_what_a_shadow_alone_looks_up_fails_no_request(released: Released, tmp_path: Path) -> None:
    """The live version reads a field as a text that the shadow looks up by as a number."""
    by_order = FeatureView(
        name="by_order", path="toy/by_order", entity=("order",), features=("value",), ttl=timedelta(hours=6), prefix="o_",
        defaults={"value": -1},
    )  # fmt: skip
    frame = rows(("ann", 1, 1, 10))
    source = tmp_path / "both"
    source.mkdir()
    ordered = frame.with_columns(pl.lit(5).alias("order"))
    tables = [FeatureTable(view=VIEW, rows=frame), FeatureTable(view=by_order, rows=ordered.drop("who"))]
    write_content(prepare([(table, "1") for table in tables], since=hour(0)), source)
    path = f"{PRODUCT}/online_features"
    released.publish(path, lambda tx: tx.write_folder(path, source).data_version, {})
    released.model("2.0.0", slope=7, views=(SERVED, by_order))
    released.release(Shadow(live="1.0.0", shadows=("2.0.0",)), "1.0.0")
    engine = engine_of(released, tmp_path)
    good, odd = asked(engine, id="good"), asked(engine, id="odd")
    odd = odd._replace(fields={**odd.fields, "order": "five"})
    found = answered(engine, good, odd)
    assert [set(record(one).shadows) for one in found] == [{"2.0.0"}, set()]
    assert found[0].score == found[1].score
