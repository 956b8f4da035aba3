"""Messages of the Open Inference Protocol, generated from `open_inference.proto`, which is that of
https://github.com/kserve/open-inference-protocol unchanged. After a change, with the extra `dev`, from the repository's root:

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serving/grpc/_proto/open_inference.proto
"""
