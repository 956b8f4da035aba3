"""The prediction log: every answer is on disk before it is sent, in segments that a compactor takes into the lake."""

from serving.prediction_log._failure import FailureRecord, decode_failure, encode_failure
from serving.prediction_log._reader import Segment, read_frames, segments
from serving.prediction_log._record import PredictionRecord, decode_record, encode_record
from serving.prediction_log._taking import Placed, Taken, backlog, damaged_segments, log_bytes, settle, take
from serving.prediction_log._writer import LogWriter
from serving.prediction_log.errors import DamagedLogError, LogError, LogFullError, RecordFormatError

__all__ = [
    "DamagedLogError",
    "FailureRecord",
    "LogError",
    "LogFullError",
    "LogWriter",
    "Placed",
    "PredictionRecord",
    "RecordFormatError",
    "Segment",
    "Taken",
    "backlog",
    "damaged_segments",
    "decode_failure",
    "decode_record",
    "encode_failure",
    "encode_record",
    "log_bytes",
    "read_frames",
    "segments",
    "settle",
    "take",
]
