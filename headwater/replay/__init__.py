"""Replays: a past time played again through the real parts, so that everybody can see what the loop would have done."""

from headwater.replay._gain import auc_interval, mean_interval
from headwater.replay._plays import asked_in, is_in_play, newest_play, own_id, play_of, standing_answers
from headwater.replay._progress import ReplayError, ReplayProgress, read_progress, write_progress
from headwater.replay._source import ReplayDay, ReplayEvent, ReplayRequest, ReplaySource
from headwater.replay._story import Story, Week, conclusion, write_story

__all__ = [
    "ReplayDay",
    "ReplayError",
    "ReplayEvent",
    "ReplayProgress",
    "ReplayRequest",
    "ReplaySource",
    "Story",
    "Week",
    "asked_in",
    "auc_interval",
    "conclusion",
    "is_in_play",
    "mean_interval",
    "newest_play",
    "own_id",
    "play_of",
    "read_progress",
    "standing_answers",
    "write_progress",
    "write_story",
]
