"""One prediction over gRPC and over REST: the same running service, the same request, a durable log behind both.

    python -m benchmarks.grpc                       # a small made-up product: about a minute
    python -m benchmarks.grpc --rounds 60

Callers are synchronous Python on one kept connection: gRPC's own client, and for REST `requests` and the bare `http.client`. `socket` is the same over plain
sockets with requests made beforehand (`_grpc_frames.py`): what is left then is the server. Rounds are short and alternate, for
the disk is not as quick in one second as in the next; figures are medians over them. cpu_ms is processor time of the server for a request, which no caller blurs.
"""

import argparse
import http.client
import json
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks._grpc_frames import Caller
from benchmarks._load import percentile
from benchmarks._measure import Bar, Report
from serving.grpc._proto import open_inference_pb2 as pb
from tests.serving.conftest import PRODUCT, Released
from tests.serving.grpc_client import Client, request
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

V2 = f"/v2/models/{PRODUCT}/infer"
COLUMNS = {"who": ("BYTES", ["ann"]), "x": ("INT64", [3]), "kind": ("BYTES", ["a"]), "time": ("BYTES", [TIME])}
METHOD = "/inference.GRPCInferenceService/ModelInfer"
Ask = Callable[[], float]


def over_grpc(port: int, *, raw: bool) -> Ask:
    """Asks over gRPC; gives the score."""
    client, given = Client(port), request(PRODUCT, COLUMNS, raw=raw)  # type: ignore[arg-type]

    def ask() -> float:
        found = client.call("ModelInfer", given)
        return 0.0 if raw else float(found.outputs[0].contents.fp64_contents[0])

    return ask


def over_frames(port: int, *, raw: bool) -> Ask:
    """Asks over gRPC on a plain socket."""
    given = request(PRODUCT, COLUMNS, raw=raw)  # type: ignore[arg-type]
    caller = Caller(port, path=METHOD, message=given.SerializeToString())

    def ask() -> float:
        found = pb.ModelInferResponse.FromString(caller.call())
        return 0.0 if raw else float(found.outputs[0].contents.fp64_contents[0])

    return ask


def over_http(port: int, path: str, body: bytes) -> Ask:
    """Asks over REST with `http.client`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask() -> float:
        connection.request("POST", path, body, {"content-type": "application/json"})
        found = json.loads(connection.getresponse().read())
        return float(found["outputs"][0]["data"][0] if "outputs" in found else found["score"])

    return ask


def over_requests(port: int, path: str, body: bytes) -> Ask:
    """Asks over REST with `requests`, as gRPC's own client is the one that its users take."""
    session, url = requests.Session(), f"http://127.0.0.1:{port}{path}"
    session.trust_env = False  # no proxy is looked for

    def ask() -> float:
        found = session.post(url, data=body, headers={"content-type": "application/json"}, timeout=10).json()
        return float(found["outputs"][0]["data"][0])

    return ask


def over_socket(port: int, path: str, body: bytes) -> Ask:
    """Asks over REST on a plain socket."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    data = head.encode() + body

    def ask() -> float:
        connection.sendall(data)
        found = json.loads(connection.recv(65_536).partition(b"\r\n\r\n")[2])
        return float(found["outputs"][0]["data"][0] if "outputs" in found else found["score"])

    return ask


def main() -> None:
    """Measures and writes `results/grpc.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.25)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = Released(Path(folder))
        made.model("1.0.0", slope=1)
        made.online(10)
        made.release("all-at-once", "1.0.0")
        service = Service(Path(folder), "--grpc-port", "0")
        try:
            _measure(service, asked.rounds, asked.seconds)
        finally:
            service.stop()


def _measure(service: Service, rounds: int, seconds: float) -> None:
    port = int(service.first_line.rpartition("gRPC on port ")[2].rstrip(".\n"))
    one = json.dumps({"entity": ENTITY, "time": TIME}).encode()
    tensors = [{"name": n, "datatype": d, "shape": [1], "data": v} for n, (d, v) in COLUMNS.items()]
    two = json.dumps({"inputs": tensors}).encode()
    ways = {
        "gRPC, typed contents": over_grpc(port, raw=False),
        "gRPC, raw contents": over_grpc(port, raw=True),
        "gRPC, typed contents, socket": over_frames(port, raw=False),
        "gRPC, raw contents, socket": over_frames(port, raw=True),
        "REST /v2, socket": over_socket(service.port, V2, two),
        "REST /v2, http.client": over_http(service.port, V2, two),
        "REST /v2, requests": over_requests(service.port, V2, two),
        "REST /v1, http.client": over_http(service.port, PREDICT, one),
        "REST /v1, socket": over_socket(service.port, PREDICT, one),
    }
    process, found = psutil.Process(service.process.pid), defaultdict[str, list[tuple[float, float, float]]](list)
    assert len({ask() for name, ask in ways.items() if "raw" not in name}) == 1, "the ways give different scores"
    for number in range(rounds):
        for name in [*ways][number % len(ways) :] + [*ways][: number % len(ways)]:
            found[name].append(_one(ways[name], process, seconds))
    rows: list[dict[str, Any]] = [
        {"way": name, **{figure: statistics.median(one[place] for one in runs) for place, figure in enumerate(("p50_ms", "p95_ms", "cpu_ms"))}}
        for name, runs in found.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: row["p50_ms"])
    by = {row["way"]: row["p50_ms"] for row in rows}
    bars = []
    for what, end, rest in (
        ("callers of Python, requests", "", "requests"),
        ("callers of Python, http.client", "", "http.client"),
        ("over plain sockets", ", socket", "socket"),
    ):
        ours = min(by[f"gRPC, typed contents{end}"], by[f"gRPC, raw contents{end}"])
        bars.append(Bar(what=f"REST's p50 over gRPC's, the same protocol, {what}", limit=1.0, measured=by[f"REST /v2, {rest}"] / ours))  # fmt: skip
    notes = [
        f"Medians of {rounds} rounds of {seconds:g} s, alternating, one connection each, one service.",
        "Both ways look up features, compute, score and wait for the log's disk; only the protocol differs.",
    ]
    Report(name="grpc", rows=rows, bars=bars, notes=notes).finish()


def _one(ask: Ask, process: psutil.Process, seconds: float) -> tuple[float, float, float]:
    """p50 and p95 in milliseconds, and the server's processor milliseconds a request."""
    for _ in range(50):
        ask()
    taken, before, end = [], sum(process.cpu_times()[:2]), time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        ask()
        taken.append(int((time.perf_counter() - begun) * 1e9))
    cpu, taken = sum(process.cpu_times()[:2]) - before, sorted(taken)
    return percentile(taken, 50) / 1e6, percentile(taken, 95) / 1e6, 1e3 * cpu / len(taken)


if __name__ == "__main__":
    main()
