"""Requests that got no answer, as counts in a log of their own: the prediction log holds answers only."""

from typing import Final

import msgspec

from serving.prediction_log.errors import RecordFormatError


class FailureRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Requests that failed in one way, within about a second or while nothing could be written.

    Attributes:
        failed_product: The product.
        version: What the traffic policy drew for them; empty (`NO_VERSION`) where the service could not answer and no version had a
            part in it: the log took nothing, online features were away, too many waited, nothing was live, or a version was named.
        code: How they failed, such as `deadline`, `failed` or `invalid`.
        at: The service's clock at the last of them, in microseconds since 1970.
        count: How many. A batch is one request, and counts once for each version that was drawn for part of it.
        commit: The lake commit whose release was being served; empty where nothing was.
    """

    failed_product: str
    version: str
    code: str
    at: int
    count: int
    commit: str = ""


_DECODER: Final = msgspec.msgpack.Decoder(FailureRecord)
encode_failure = msgspec.msgpack.Encoder().encode
"""The record as bytes (MessagePack)."""


def decode_failure(data: bytes) -> FailureRecord:
    """The record that `encode_failure` wrote. Raises RecordFormatError."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(reason=str(error)) from error
