import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.prediction_log import PredictionRecord, RecordFormatError, decode_record, encode_record

VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
RECORDS = st.builds(
    PredictionRecord,
    request_id=st.text(), product=st.text(), at=st.integers(-(2**53), 2**53), received=st.integers(0, 2**53),
    latency=st.integers(0, 2**40), log=st.integers(0, 2**40), version=st.text(), variant=st.text(), score=st.floats(0, 1), decision=st.booleans(),
    propensity=st.none() | st.floats(0, 1), shadows=st.dictionaries(st.text(), st.floats(0, 1)),
    request=st.dictionaries(st.text(), VALUES), features=st.dictionaries(st.text(), VALUES),
    reasons=st.dictionaries(st.text(), st.sampled_from(["unknown", "stale", "missing"])), online=st.none() | st.text(),
    commit=st.text(), caller=st.text(), trace=st.text(),
)  # fmt: skip


@given(record=RECORDS)
def test_a_record_reads_back_as_it_was_written(record: PredictionRecord) -> None:
    assert decode_record(encode_record(record)) == record


def test_a_field_of_a_newer_writer_is_passed_over() -> None:
    known = {"request_id": "a", "product": "p", "at": 1, "received": 2, "latency": 3, "version": "1.0.0"}
    known |= {"variant": "1.0.0", "score": 0.5, "decision": True}
    assert decode_record(msgspec.msgpack.encode(known | {"of_tomorrow": 1})) == PredictionRecord(**known)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode({"request_id": "a"}), b"\x00" * 9])
def test_what_is_no_record_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(RecordFormatError, match="cannot be read"):
        decode_record(data)
