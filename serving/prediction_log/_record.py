"""One answer as it stands in the log: what was asked, what the model saw, what was said, by which version."""

from typing import Any, Final

import msgspec

from serving.prediction_log.errors import RecordFormatError


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answered request.

    Attributes:
        request_id: Its unique name, the client's or ours; instance `i` of a batch is `<id>#<i>`.
        product: The product.
        at: The prediction time, in microseconds since 1970 (UTC).
        received: The service's clock when all of the request was there, in microseconds since 1970.
        latency: Microseconds from then until the record went to the log; of a batch, for all of it.
        version: The model version that answered, `ensemble` for several.
        variant: What the traffic policy drew.
        score: Probability of the positive class, 0 to 1.
        decision: Whether it reaches the threshold.
        propensity: Probability with which the variant was drawn, None where the caller named the version.
        shadows: Scores of versions that only scored, and of an ensemble's members.
        request: The request's fields but redacted ones; times in microseconds since 1970.
        features: What the model read, by name.
        reasons: By view, why its features read as their defaults: all of them (`unknown`, `stale`), or those that are null in the row
            that was found (`missing`).
        online: Where the online features came from, None without: the lake commit that they were published from, and behind a `+` that of
            the newest rows that streams added.
        commit: The lake commit whose release was served.
        caller: Name of the caller's API key, empty without.
        trace: W3C trace id, empty without.
        log: Microseconds that the log took for the turn before, from its records until they were durable. No record can hold its own:
            over many, these are the times that callers waited for the log, each told one turn late. 0 where none was before, and in
            records of older services.
    """

    request_id: str
    product: str
    at: int
    received: int
    latency: int
    version: str
    variant: str
    score: float
    decision: bool
    propensity: float | None = None
    shadows: dict[str, float] = {}
    request: dict[str, Any] = {}
    features: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    online: str | None = None
    commit: str = ""
    caller: str = ""
    trace: str = ""
    log: int = 0


_DECODER: Final = msgspec.msgpack.Decoder(PredictionRecord)
encode_record = msgspec.msgpack.Encoder().encode
"""The record as bytes (MessagePack). A field that a reader does not know is passed over; a new one needs a default."""


def decode_record(data: bytes) -> PredictionRecord:
    """The record that `encode_record` wrote. Raises RecordFormatError."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(reason=str(error)) from error
