"""The service over gRPC: the Open Inference Protocol's `inference.GRPCInferenceService`, beside REST in the same process."""

from serving.grpc._server import GrpcServer

__all__ = ["GrpcServer"]
