"""What callers see over gRPC: the answers of REST, recorded the same way, and errors as status codes."""

import hashlib
import json
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.grpc._proto import open_inference_pb2 as pb
from tests.serving.conftest import PRODUCT, Released
from tests.serving.grpc_client import Client, request
from tests.serving.http.campaign import BROKEN, SLOW, with_disk
from tests.serving.http.conftest import TIME, Service
from tests.serving.http.conftest import shared_state as shared_state
from tests.serving.http.conftest import start as start
from tests.serving.http.test_failures import counted

CODE = grpc.StatusCode
KINDS = ["a", "b", None]
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "who": ("BYTES", ["ann", "ann", "zoë"]), "x": ("INT64", [3, 40, 3]), "kind": ("BYTES", KINDS), "time": ("BYTES", [TIME] * 3),
}  # fmt: skip
ONE: dict[str, tuple[str, list[Any]]] = {name: (datatype, values[:1]) for name, (datatype, values) in COLUMNS.items()}


def grpc_port(service: Service) -> int:
    return int(service.first_line.rpartition("gRPC on port ")[2].rstrip(".\n"))


@pytest.fixture(scope="module")
def service(shared_state: Path) -> Iterator[Service]:
    found = Service(shared_state, "--grpc-port", "0")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    found = Client(grpc_port(service))
    yield found
    found.close()


def refused(client: Client, given: Any, name: str = "ModelInfer", **more: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        client.call(name, given, **more)
    return caught.value


def test_health_and_metadata_are_those_of_rest(service: Service, client: Client) -> None:
    assert client.call("ServerLive", pb.ServerLiveRequest()).live
    assert client.call("ServerReady", pb.ServerReadyRequest()).ready
    assert client.call("ModelReady", pb.ModelReadyRequest(name=PRODUCT, version="1.0.0")).ready
    assert client.call("ServerMetadata", pb.ServerMetadataRequest()).name == service.get("/v2").json["name"]
    said, meta = (
        client.call("ModelMetadata", pb.ModelMetadataRequest(name=PRODUCT)),
        service.get(f"/v2/models/{PRODUCT}").json,
    )
    assert [(one.name, one.datatype, list(one.shape)) for one in said.inputs] == [
        tuple(one.values()) for one in meta["inputs"]
    ]
    assert (said.name, list(said.versions), said.platform) == (meta["name"], meta["versions"], meta["platform"])


@pytest.mark.parametrize("raw", [False, True])
def test_rest_and_grpc_give_the_same_scores_and_records(service: Service, client: Client, raw: bool) -> None:
    given = request(PRODUCT, COLUMNS, raw=raw, id=f"grpc-{raw}")
    given.parameters["explain"].bool_param = True
    found = client.call("ModelInfer", given)
    inputs = [{"name": n, "datatype": d, "shape": [3], "data": v} for n, (d, v) in COLUMNS.items()]
    rest = service.ask(
        "POST", f"/v2/models/{PRODUCT}/infer", {"inputs": inputs, "id": f"rest-{raw}", "parameters": {"explain": True}}
    ).json
    wanted = {tensor["name"]: tensor["data"] for tensor in rest["outputs"]}
    if raw:
        contents = dict(zip([tensor.name for tensor in found.outputs], found.raw_output_contents, strict=True))
        assert list(struct.unpack("<3d", contents["score"])) == wanted["score"]
        assert contents["version"] == (struct.pack("<I", 5) + b"1.0.0") * 3
    else:
        assert list(found.outputs[0].contents.fp64_contents) == wanted["score"]
        assert list(found.outputs[1].contents.bool_contents) == wanted["decision"]
    assert {name: json.loads(value.string_param) for name, value in found.parameters.items()} == rest["parameters"]
    records = {one.request_id: one for one in service.logged()}
    for place in range(3):
        ours, theirs = records[f"grpc-{raw}#{place}"], records[f"rest-{raw}#{place}"]
        assert (ours.score, ours.features, ours.request, ours.at) == (
            theirs.score,
            theirs.features,
            theirs.request,
            theirs.at,
        )


def test_the_same_id_gets_the_same_answer_and_stands_in_the_log_once(service: Service, client: Client) -> None:
    given = request(PRODUCT, ONE, id="again")
    assert client.call("ModelInfer", given) == client.call("ModelInfer", given)
    assert [one.request_id for one in service.logged()].count("again#0") == 1
    other = request(PRODUCT, {**ONE, "x": ("INT64", [9])}, id="again")
    assert refused(client, other).code() is CODE.ALREADY_EXISTS


def test_an_id_that_looks_like_that_of_a_replay_is_refused(client: Client) -> None:
    error = refused(client, request(PRODUCT, ONE, id="replay-1/x"))
    assert (error.code(), "like those of a replay" in error.details()) == (CODE.INVALID_ARGUMENT, True)


def test_what_is_wrong_in_a_batch_is_said_with_its_place(client: Client) -> None:
    late = {**COLUMNS, "time": ("BYTES", [TIME, TIME, "1900"])}
    assert "Instance 2: The prediction time" in refused(client, request(PRODUCT, late)).details()
    refused_values = {**COLUMNS, "x": ("INT64", [3, -1, -1])}
    said = refused(client, request(PRODUCT, refused_values)).details()
    assert "2 of 3 instances cannot be answered, so none is. The first, instance 1: " in said


def test_outputs_that_are_asked_for_come_alone(client: Client) -> None:
    given = request(PRODUCT, ONE)
    given.outputs.add(name="decision")
    assert [tensor.name for tensor in client.call("ModelInfer", given).outputs] == ["decision"]


@pytest.mark.parametrize("raw", [False, True])
def test_the_most_instances_go_in_one_message(client: Client, raw: bool) -> None:
    columns = {name: (kind, (values * 334)[:1_000]) for name, (kind, values) in COLUMNS.items()}
    found = client.call("ModelInfer", request(PRODUCT, columns, raw=raw, id=f"most-{raw}"))
    one = client.call("ModelInfer", request(PRODUCT, COLUMNS, raw=raw))
    if raw:
        assert found.raw_output_contents[0] == (one.raw_output_contents[0] * 334)[: 8 * 1_000]
    else:
        scores = list(one.outputs[0].contents.fp64_contents)
        assert list(found.outputs[0].contents.fp64_contents) == (scores * 334)[:1_000]


def test_callers_at_once_on_one_connection_get_each_their_own_answer(client: Client) -> None:
    asked = [request(PRODUCT, {**ONE, "x": ("INT64", [n % 50])}, id=f"at-once-{n}") for n in range(300)]
    answer = client.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda given: given.SerializeToString(),
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    found = [one.result() for one in [answer.future(given, timeout=20) for given in asked]]
    assert [one.id for one in found] == [given.id for given in asked]
    scores = {n % 50: one.outputs[0].contents.fp64_contents[0] for n, one in enumerate(found)}
    assert all(one.outputs[0].contents.fp64_contents[0] == scores[n % 50] for n, one in enumerate(found))
    assert len({*scores.values()}) > 10


def test_a_call_is_counted_however_it_ends(service: Service, client: Client) -> None:
    def counted(status: int) -> float:
        lines = service.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith("headwater_requests_total{") and f'code="{status}"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    before = {status: counted(status) for status in (200, 400, 404)}
    client.call("ModelInfer", request(PRODUCT, ONE))
    refused(client, b"\xff\xff\xff")
    refused(client, request("other", ONE))
    assert {status: counted(status) - before[status] for status in before} == {200: 1, 400: 1, 404: 1}


def test_the_time_of_a_batch_is_told_apart_here_too(service: Service, client: Client) -> None:
    def counted(name: str) -> float:
        lines = service.get("/metrics").body.decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name}_count{{")).rpartition(" ")[2])

    names = ("headwater_request_seconds", "headwater_batch_seconds")
    before = [counted(name) for name in names]
    client.call("ModelInfer", request(PRODUCT, ONE))
    client.call("ModelInfer", request(PRODUCT, COLUMNS))
    assert [counted(name) - then for name, then in zip(names, before, strict=True)] == [1, 1]


def mixed() -> Any:
    given = request(PRODUCT, ONE, raw=True)
    given.inputs[1].contents.int64_contents.append(3)
    return given


def cut(place: int, raw: bytes) -> Any:
    given = request(PRODUCT, ONE, raw=True)
    given.raw_input_contents[place] = raw
    return given


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (b"\xff\xff\xff", CODE.INVALID_ARGUMENT, "no ModelInferRequest"), (request("other", ONE), CODE.NOT_FOUND, "not served"),
        (request(PRODUCT, ONE, model_version="9.9.9"), CODE.NOT_FOUND, "not served"), (request(PRODUCT, {}), CODE.INVALID_ARGUMENT, "no list"),
        (request(PRODUCT, {**ONE, "x": ("INT64", [-1])}), CODE.INVALID_ARGUMENT, "x is -1"),
        (request(PRODUCT, {**ONE, "time": ("BYTES", ["noon"])}), CODE.INVALID_ARGUMENT, "prediction time"),
        (request(PRODUCT, {**ONE, "y": ("INT64", [1])}), CODE.INVALID_ARGUMENT, "'y'"),
        (request(PRODUCT, {**ONE, "x": ("FP64", [])}), CODE.INVALID_ARGUMENT, "not INT64"),
        (request(PRODUCT, {**ONE, "x": ("STRANGE", [])}), CODE.INVALID_ARGUMENT, "STRANGE"),
        (request(PRODUCT, ONE, id="x" * 129), CODE.INVALID_ARGUMENT, "128"), (mixed(), CODE.INVALID_ARGUMENT, "raw contents"),
        (cut(0, b"\x09\0\0\0ann"), CODE.INVALID_ARGUMENT, "within an element"), (cut(0, b"\x01\0\0\0\xff"), CODE.INVALID_ARGUMENT, "UTF-8"),
        (cut(1, b"123"), CODE.INVALID_ARGUMENT, "whole number"), (cut(1, b"1" * 16), CODE.INVALID_ARGUMENT, "elements"),
        (request(PRODUCT, {name: (kind, values * 400) for name, (kind, values) in COLUMNS.items()}), CODE.INVALID_ARGUMENT, "1000"),
        (b"\0" * (5 * 2**20), CODE.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_what_is_wrong(client: Client, given: Any, code: Any, said: str) -> None:
    error = refused(client, given)
    assert error.code() is code, error
    assert said in error.details()


def test_contents_of_another_type_are_named(client: Client) -> None:
    given = request(PRODUCT, ONE)
    given.inputs[1].contents.fp64_contents.append(3.0)
    assert "fp64_contents" in refused(client, given).details()


def test_keys_come_in_metadata(released: Released, start: Callable[..., Service]) -> None:
    keys = released.folder / "keys.json"
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("desk", "graphs")}
    keys.write_text(
        json.dumps(
            [
                {"name": name, "sha256": digest[name], "roles": [role]}
                for name, role in (("desk", "predict"), ("graphs", "metrics"))
            ]
        )
    )
    service = start("--keys", str(keys), "--grpc-port", "0")
    client = Client(grpc_port(service))
    given = request(PRODUCT, ONE, id="keyed")
    assert refused(client, given).code() is CODE.UNAUTHENTICATED
    assert refused(client, given, metadata=[("x-api-key", "nobody")]).code() is CODE.UNAUTHENTICATED
    assert refused(client, given, metadata=[("authorization", "Bearer graphs")]).code() is CODE.PERMISSION_DENIED
    assert refused(client, pb.ModelReadyRequest(name=PRODUCT), "ModelReady").code() is CODE.UNAUTHENTICATED
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = [("authorization", "Bearer desk"), ("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    assert client.call("ModelInfer", given, metadata=headers).id == "keyed"
    assert client.call("ServerLive", pb.ServerLiveRequest()).live
    assert [(one.caller, one.trace) for one in service.logged()] == [("desk", trace)]
    client.close()


def test_a_service_that_is_asked_to_end_answers_what_it_has_over_grpc(start: Callable[..., Service]) -> None:
    service = start("--grpc-port", "0", "--workers", "2")
    client, found, ended = Client(grpc_port(service)), [], threading.Event()
    refusals: list[object] = []

    def keep_asking() -> None:
        while not ended.is_set():
            try:
                found.append(client.call("ModelInfer", request(PRODUCT, ONE, id=f"drain-{len(found)}")).id)
            except grpc.RpcError as error:
                refusals.append(error.code())
                return

    asker = threading.Thread(target=keep_asking)
    asker.start()
    service.until(lambda: len(found) > 20)
    code, _ = service.stop(signal.SIGTERM)
    ended.set()
    asker.join()
    client.close()
    assert code == 0
    assert set(refusals) <= {CODE.UNAVAILABLE, CODE.CANCELLED}
    ids = [one.request_id for one in service.logged()]
    assert {f"{id}#0" for id in found} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_deadline_of_the_callers_own_is_no_failure_and_that_of_the_service_is(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    released.release("all-at-once", "1.0.0", latency_seconds=1)
    service = start("--grpc-port", "0", "--deadline", "1.5", program=with_disk(tmp_path, SLOW.format(seconds=2.5)))
    client = Client(grpc_port(service))

    def is_late(seconds: float) -> bool:
        try:
            client.call("ModelInfer", request(PRODUCT, ONE), timeout=seconds)
        except grpc.RpcError as error:
            return bool(error.code() is CODE.DEADLINE_EXCEEDED)
        return False

    for _ in range(3):
        service.until(lambda: is_late(0.03))
    service.until(lambda: is_late(20))
    client.close()
    service.stop()
    assert counted(service) == {("1.0.0", "deadline"): 1}


def test_a_fault_of_the_services_own_is_a_line_with_the_callers_id_and_trace(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start("--grpc-port", "0", program=with_disk(tmp_path, BROKEN))
    client, trace = Client(grpc_port(service)), "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = [("x-request-id", "unlucky"), ("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    with pytest.raises(grpc.RpcError):
        client.call("ModelInfer", request(PRODUCT, ONE), metadata=headers)
    client.close()
    lines = [json.loads(line) for line in service.stop()[1].splitlines()]
    (line,) = [line for line in lines if line["message"] == "a request failed"]
    assert (line["request_id"], line["trace"], line["product"]) == ("unlucky", trace, PRODUCT)


def test_a_service_whose_log_cannot_be_opened_is_ready_over_no_protocol(
    released: Released, start: Callable[..., Service]
) -> None:
    folder = released.folder / "serving" / "log"
    folder.mkdir(parents=True)
    (folder / PRODUCT).write_text("in the way")
    service = start("--grpc-port", "0", wait=False)
    service.until(lambda: "could not be" in service.get("/v2/health/ready").json.get("troubles", {}).get(PRODUCT, ""))
    client = Client(grpc_port(service))
    assert (service.get("/v2/health/ready").status, client.call("ServerReady", pb.ServerReadyRequest()).ready) == (
        503,
        False,
    )
    client.close()


def test_a_taken_grpc_port_is_named(service: Service, start: Callable[..., Service]) -> None:
    port = grpc_port(service)
    code, said = start("--grpc-port", str(port), wait=False).stop()
    assert code == 2
    assert f"127.0.0.1:{port}" in said


def test_the_generated_messages_are_those_of_the_protocol(tmp_path: Path) -> None:
    tools = pytest.importorskip("grpc_tools.protoc")
    root = Path(__file__).parents[3]
    source = "serving/grpc/_proto/open_inference.proto"
    assert tools.main(["", f"-I{root}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", str(root / source)]) == 0
    for name in ("open_inference_pb2.py", "open_inference_pb2.pyi"):
        assert (tmp_path / Path(source).parent / name).read_text() == (root / Path(source).parent / name).read_text()
