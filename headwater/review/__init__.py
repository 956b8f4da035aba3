"""The review queue: uncertain predictions wait for a person, and the answers become labels with their author."""

from headwater.review._answers import SCHEMA, Answer, AnswerKind, read_answers, standing, write_answers
from headwater.review._declaration import UNSURE, Review
from headwater.review._desk import Detail, ReviewDesk
from headwater.review._explain import Explainer
from headwater.review._outcomes import COLUMNS, Agreement, agreements, with_answers
from headwater.review._questions import Question, QuestionState, questions
from headwater.review.errors import AnswerError, NoReviewError, NotAskedError, ReviewError, UnknownRequestError

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "UNSURE",
    "Agreement",
    "Answer",
    "AnswerError",
    "AnswerKind",
    "Detail",
    "Explainer",
    "NoReviewError",
    "NotAskedError",
    "Question",
    "QuestionState",
    "Review",
    "ReviewDesk",
    "ReviewError",
    "UnknownRequestError",
    "agreements",
    "questions",
    "read_answers",
    "standing",
    "with_answers",
    "write_answers",
]
