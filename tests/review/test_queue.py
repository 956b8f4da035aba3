"""What waits for a person, what is refused as an answer, and what becomes of the answers."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import headwater.review
from headwater.product import DeclarationError
from headwater.review import AnswerError, NotAskedError, Review, UnknownRequestError
from tests.review.scene import AT, PRODUCT, RECEIVED, Scene, drawn, not_drawn, prediction

A, B, C, D = drawn(4)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def said(scene: Scene, id: str, word: str = "late", actor: str = "user:ada") -> Any:
    return scene.desk.answer(id, word, reason="fog", actor=actor)


def open_ids(scene: Scene) -> list[str]:
    return [question.request_id for question in scene.desk.open()]


def test_the_public_names_are_these() -> None:
    assert headwater.review.__all__ == [
        "COLUMNS", "SCHEMA", "UNSURE", "Agreement", "Answer", "AnswerError", "AnswerKind", "Detail", "Explainer",
        "NoReviewError", "NotAskedError", "Question", "QuestionState", "Review", "ReviewDesk", "ReviewError",
        "UnknownRequestError", "agreements", "questions", "read_answers", "standing", "with_answers", "write_answers",
    ]  # fmt: skip


def test_nothing_waits_before_anything_was_predicted(scene: Scene) -> None:
    assert open_ids(scene) == []
    assert scene.desk.counts()["open"] == 0
    assert scene.desk.agreements()[0].answers == 0
    with pytest.raises(UnknownRequestError, match="headwater log compact --product flights"):
        said(scene, A)
    scene.predictions()
    assert open_ids(scene) == []
    assert scene.outcomes().status == "published"


def test_predictions_of_the_band_wait_the_least_sure_first(scene: Scene) -> None:
    scene.predictions(
        prediction(A, 0.28),
        prediction(B, 0.311, flight=2),
        prediction(C, 0.34, flight=3),  # the band ends before it
        prediction(D, 0.2799, flight=4),
        prediction(not_drawn(), 0.31, flight=5),
        prediction("no event", 0.31, flight=6, carrier=None),
    )
    assert open_ids(scene) == [B, A]
    for id, why in ((C, "outside the band"), (not_drawn(), "only a share of 20%")):
        with pytest.raises(NotAskedError, match=why):
            said(scene, id)


def test_a_question_is_answered_once_and_the_first_answer_is_named(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30))
    given = said(scene, A, " LATE ")
    assert (given.label, given.actor, given.reason) == (1, "user:ada", "fog")
    newest = next(scene.lake.log("main", path=f"{PRODUCT}/review_answers"))
    assert newest.provenance is not None
    assert (newest.provenance.action, newest.provenance.actor) == ("review", "user:ada")
    assert newest.message == f"Review: late for {A} of flights"
    assert open_ids(scene) == []
    with pytest.raises(NotAskedError, match="answered already: late, by user:ada, because fog"):
        said(scene, A, "on time", "user:bob")


def test_a_withdrawn_answer_stays_on_record_and_opens_the_question_again(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30))
    said(scene, A)
    scene.now -= timedelta(minutes=30)  # a clock that goes backwards
    scene.desk.withdraw(A, reason="looked at the wrong flight", actor="user:ada")
    assert open_ids(scene) == [A]
    assert said(scene, A, "unsure").label is None
    assert open_ids(scene) == []
    assert [answer.kind.value for answer in scene.desk.history(9)] == ["answer", "withdraw", "answer"]
    with pytest.raises(NotAskedError, match="nothing to withdraw"):
        scene.desk.withdraw(B, reason="x", actor="user:ada")


def test_of_answers_at_once_one_counts_and_answers_to_others_are_not_lost(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30), prediction(B, 0.31, flight=2), prediction(C, 0.32, flight=3))
    outcomes: list[str] = []

    def answer(id: str, actor: str) -> None:
        try:
            said(scene, id, actor=actor)
            outcomes.append("taken")
        except NotAskedError as error:
            outcomes.append("answered already" if "answered already" in str(error) else str(error))

    asked = [(A, "user:ada"), (A, "user:bob"), (B, "user:cy"), (C, "user:dan")]
    threads = [threading.Thread(target=answer, args=one) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["answered already", "taken", "taken", "taken"]
    assert sorted(answer.request_id for answer in scene.desk.history(9)) == sorted([A, B, C])


@pytest.mark.parametrize(
    ("word", "reason", "actor", "problem"),
    [
        ("maybe", "fog", "user:ada", "'maybe' is no label. Answer 'on time', 'late', 'unsure', 0 or 1"),
        ("2", "fog", "user:ada", "no label"),
        ("late", " ", "user:ada", "no reason"),
        ("late", "x" * 2_001, "user:ada", "2001 characters"),
        ("late", "fog", "", "no actor"),
    ],
)
def test_an_answer_that_cannot_be_writes_nothing(
    scene: Scene, word: str, reason: str, actor: str, problem: str
) -> None:
    scene.predictions(prediction(A, 0.30))
    before = scene.lake.resolve("main").id
    with pytest.raises(AnswerError, match=problem):
        scene.desk.answer(A, word, reason=reason, actor=actor)
    assert scene.lake.resolve("main").id == before


def test_a_question_closes_when_its_time_is_over_its_truth_is_known_or_its_event_is_asked_about_anew(
    scene: Scene,
) -> None:
    later = RECEIVED + timedelta(minutes=5)
    scene.predictions(
        prediction(A, 0.30, received=RECEIVED - timedelta(days=3)),
        prediction(B, 0.31, flight=2),
        prediction(C, 0.31, flight=3),
        prediction("newer", 0.9, flight=3, received=later, at=prediction("x", 0.5)["at"] + timedelta(minutes=5)),
        prediction(D, 0.31, flight=4),
    )
    scene.labels([(2, 1)])
    assert open_ids(scene) == [D]
    assert scene.desk.counts() == {"open": 1, "answered": 0, "known": 1, "superseded": 1, "expired": 1}
    for id, why in ((A, "was open for 2 days"), (B, "has its truth already"), (C, "not the newest prediction")):
        with pytest.raises(NotAskedError, match=why):
            said(scene, id)
    scene.now = RECEIVED + timedelta(days=2)
    assert open_ids(scene) == []


def test_one_answer_counts_for_its_event_however_often_it_was_predicted(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30))
    said(scene, A)
    later = {"received": RECEIVED + timedelta(minutes=5)}
    scene.predictions(prediction(A, 0.30), prediction(B, 0.31, **later))
    assert open_ids(scene) == []
    scene.outcomes()
    assert {row["label"] for row in scene.rows().values()} == {1}


def test_an_answer_is_a_label_with_its_author_until_the_truth_comes_in(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30), prediction(B, 0.33, flight=2), prediction(C, 0.30, flight=3))
    assert scene.outcomes().facts["truth"]["pending"] == 3
    said(scene, A, "late")
    said(scene, B, "late", "user:bob")
    said(scene, C, "unsure")
    built = scene.outcomes()
    assert built.status == "published", "answers make the outcomes anew"
    assert built.facts["truth"] == {"known": 0, "none": 0, "pending": 1, "reviewed": 2}
    row = scene.rows()[A]
    assert (row["label"], row["truth"], row["label_source"], row["review_by"]) == (1, "reviewed", "review", "user:ada")
    assert row["label_known_at"] <= built_now(built)
    assert (scene.rows()[C]["label"], scene.rows()[C]["label_source"]) == (None, None)
    scene.labels([(1, 0), (2, 1)])
    after = scene.outcomes()
    row = scene.rows()[A]
    assert (row["label"], row["truth"], row["label_source"]) == (0, "known", "truth"), "the truth wins"
    assert (row["review_label"], row["review_by"]) == (1, "user:ada"), "who was wrong shows"
    everybody, ada, bob = after.facts["review"]
    assert (everybody["answers"], everybody["unsure"], everybody["known"], everybody["agreed"]) == (3, 1, 2, 1)
    assert (ada["agreed_share"], bob["agreed_share"], bob["model_share"]) == (0.0, 1.0, 1.0)
    assert [one.agreed for one in scene.desk.agreements()] == [1, 0, 1]


def built_now(outcome: Any) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(outcome.facts["now"])


def test_an_event_that_never_has_a_truth_keeps_none(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.30))
    said(scene, A)
    # That there is none is known once a label says that the time has come.
    scene.labels([(1, None), (2, 0)])
    scene.outcomes()
    row = scene.rows()[A]
    assert (row["truth"], row["label"], row["review_label"]) == ("none", None, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0.6, "high": 0.5}, {"low": -0.1}, {"high": 1.1}, {"share": 0}, {"open_for": timedelta(0)},
     {"positive": "NO"}, {"positive": "Unsure"}, {"negative": "1"}, {"low": float("nan")}],
)  # fmt: skip
def test_a_band_that_cannot_be_is_refused_when_it_is_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        Review(**{"low": 0.4, "high": 0.6, **wrong})


def test_a_share_is_drawn_evenly_and_always_the_same() -> None:
    review = Review(low=0.4, high=0.6, share=0.25)
    found = [review.draws(f"request-{number}") for number in range(4_000)]
    assert found == [review.draws(f"request-{number}") for number in range(4_000)]
    assert 900 < sum(found) < 1_100


def test_an_id_that_is_used_again_is_asked_about_anew(scene: Scene) -> None:
    """The list showed the new flight, and its answer was refused: it was the flight of the month before that was shown, and had expired."""
    later = timedelta(days=30)
    scene.predictions(
        prediction(A, 0.311, flight=1),
        prediction(A, 0.305, flight=2, received=RECEIVED + later, at=AT + later, features='{"distance": 5}'),
    )
    scene.now = RECEIVED + later + timedelta(hours=1)
    assert [(one.request_id, one.event["flight"]) for one in scene.desk.open()] == [(A, 2)]
    assert scene.desk.detail(A).features == {"distance": 5}
    assert scene.desk.detail(A).question.event["flight"] == 2
    given = said(scene, A)
    assert (given.received, json.loads(given.event)["flight"]) == (RECEIVED + later, 2)
    assert scene.desk.open() == ()
    assert (scene.desk.counts()["expired"], scene.desk.counts()["answered"]) == (1, 1)
    scene.outcomes()
    rows = scene.lake.at("main").table("flights/outcomes").sort("received").collect()
    assert rows.select("flight", "review_label").rows() == [(1, None), (2, 1)]


def test_an_answer_stays_with_the_prediction_it_was_given_to(scene: Scene) -> None:
    scene.predictions(prediction(A, 0.311, flight=1))
    first = said(scene, A)
    later = timedelta(days=30)
    scene.predictions(
        prediction(A, 0.311, flight=1), prediction(A, 0.305, flight=2, received=RECEIVED + later, at=AT + later)
    )
    scene.now = RECEIVED + later + timedelta(hours=1)
    assert [one.event["flight"] for one in scene.desk.open()] == [2]
    assert scene.desk.detail(A).answer is None
    assert said(scene, A).received == first.received + later
    assert scene.desk.agreements()[0].answers == 2
    scene.desk.withdraw(A, reason="typo", actor="user:ada")
    assert scene.desk.agreements()[0].answers == 1
    assert [one.event["flight"] for one in scene.desk.open()] == [2]
