"""What `headwater.streams` offers, spelled out: a new public name costs a line here."""

import subprocess
import sys

import headwater.streams
from headwater.streams import EventLog, FileLog, KafkaLog

NAMES = [
    "Counts",
    "EventLog",
    "FileLog",
    "Ingested",
    "KafkaLog",
    "Late",
    "Limits",
    "LogBatch",
    "LogEvent",
    "PartitionState",
    "Reason",
    "StreamSource",
    "StreamState",
    "assets_of",
    "catch_up",
    "events_between",
    "ingest",
    "read_state",
    "skip_to",
    "watermark_of",
]


def test_the_public_names_are_these() -> None:
    assert sorted(headwater.streams.__all__) == NAMES


def test_both_logs_have_every_method_of_the_interface() -> None:
    methods = {name for name in vars(EventLog) if not name.startswith("_")}
    assert methods <= set(vars(FileLog))
    assert methods <= set(vars(KafkaLog))
    accepted: list[type[EventLog]] = [FileLog, KafkaLog]
    assert accepted


def test_the_embedded_log_needs_no_kafka_client() -> None:
    code = "import sys, headwater.streams; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
