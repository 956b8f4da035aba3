"""A caller over gRPC, for tests and benchmarks."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from serving.grpc._proto import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService"


class Client:
    """A channel to a service."""

    def __init__(self, port: int, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.channel, self.metadata = grpc.insecure_channel(f"127.0.0.1:{port}"), tuple(metadata)

    def call(self, name: str, request: Any, *, timeout: float = 20, metadata: Sequence[tuple[str, str]] = ()) -> Any:
        """One call; `request` may be bytes."""
        answer = getattr(pb, f"{name}Response")
        ask = self.channel.unary_unary(
            f"{SERVICE}/{name}",
            request_serializer=lambda given: given if isinstance(given, bytes) else given.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return ask(request, timeout=timeout, metadata=(*self.metadata, *metadata))

    def close(self) -> None:
        """Ends the channel."""
        self.channel.close()


def request(product: str, columns: Mapping[str, tuple[str, Sequence[Any]]], *, raw: bool = False, **more: Any) -> Any:
    """A request of tensors by name; null elements go by the parameter of that name."""
    found = pb.ModelInferRequest(model_name=product, **more)
    for name, (datatype, values) in columns.items():
        tensor = found.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        if nulls := [str(place) for place, value in enumerate(values) if value is None]:
            tensor.parameters["null"].string_param = ",".join(nulls)
        filled = [("" if datatype == "BYTES" else 0) if value is None else value for value in values]
        if datatype == "BYTES":
            texts = [value.encode() for value in filled]
            if raw:
                found.raw_input_contents.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
            else:
                tensor.contents.bytes_contents.extend(texts)
        elif raw:
            found.raw_input_contents.append(struct.pack(f"<{len(filled)}q", *filled))
        else:
            tensor.contents.int64_contents.extend(filled)
    return found
