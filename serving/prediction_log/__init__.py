"""The prediction log: every answer is on disk before it is sent, in segments that a compactor takes into the lake."""

from serving.prediction_log._reader import Segment, read_frames, segments
from serving.prediction_log._writer import LogWriter
from serving.prediction_log.errors import DamagedLogError, LogError, LogFullError

__all__ = ["DamagedLogError", "LogError", "LogFullError", "LogWriter", "Segment", "read_frames", "segments"]
