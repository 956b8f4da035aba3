"""What callers of the service see, over real HTTP."""

import hashlib
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.policies import Canary
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import HANGS, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Reply, Service, is_refused, versions

Start = Callable[..., Service]


def test_an_entity_and_a_time_get_a_score_and_a_decision(service: Service) -> None:
    reply = service.predict(id="first")
    assert reply.status == 200
    found = reply.json
    assert found == {
        "id": "first", "product": PRODUCT, "version": "1.0.0", "score": found["score"], "decision": found["decision"],
        "threshold": found["threshold"], "time": TIME,
    }  # fmt: skip
    assert 0 < found["score"] < 1
    assert found["decision"] is (found["score"] >= found["threshold"])


def test_every_answer_stands_in_the_log_before_it_is_sent(service: Service) -> None:
    reply = service.predict(id="logged")
    (record,) = [one for one in service.logged() if one.request_id == "logged"]
    assert (record.score, record.version, record.request["who"]) == (reply.json["score"], "1.0.0", "ann")


def test_several_instances_are_answered_in_their_order(service: Service) -> None:
    instances = [{"entity": {**ENTITY, "x": x}, "time": TIME} for x in range(5)]
    found = service.ask("POST", PREDICT, {"instances": instances, "id": "batch"}).json["predictions"]
    assert [one["id"] for one in found] == [f"batch#{place}" for place in range(5)]
    assert [one["score"] for one in found] == [service.predict({"x": x}).json["score"] for x in range(5)]


def test_one_bad_instance_refuses_the_whole_batch_and_logs_none_of_it(service: Service) -> None:
    instances = [{"entity": {**ENTITY, "x": x}, "time": TIME} for x in (1, -1)]
    reply = service.ask("POST", PREDICT, {"instances": instances, "id": "half"})
    assert (reply.status, list(reply.json["fields"])) == (422, ["instances[1]"])
    assert not [one for one in service.logged() if one.request_id.startswith("half")]


def test_what_is_not_known_says_so(service: Service) -> None:
    assert service.predict({"who": "nobody"}).json["defaulted"] == {"history": "unknown"}
    assert "defaulted" not in service.predict().json


def test_an_explanation_comes_when_it_is_asked_for(service: Service) -> None:
    found = service.predict(explain=True).json["explanation"]
    assert set(found["contributions"]) == {"x", "kind", "h_value", "twice", "is_known"}
    assert "explanation" not in service.predict().json


def test_the_same_id_gets_the_same_answer_once_and_another_request_is_refused(service: Service) -> None:
    first, again = service.predict(id="twice"), service.predict(id="twice")
    assert first.json == again.json
    assert len([one for one in service.logged() if one.request_id == "twice"]) == 1
    other = service.predict({"x": 4}, id="twice")
    assert (other.status, other.json["code"]) == (409, "id_used")


def test_an_id_may_come_in_a_header_and_a_trace_is_kept(service: Service) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "of-header", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    reply = service.ask("POST", PREDICT, {"entity": ENTITY, "time": TIME}, headers)
    assert reply.json["id"] == "of-header"
    assert [one.trace for one in service.logged() if one.request_id == "of-header"] == [trace]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"), (b"[]", 400, "no object"), (b"\xff\xfe", 400, "no JSON"), (b"[" * 100_000, 400, "no JSON"),
        (b'{"entity": NaN}', 400, "no JSON"), (b"", 400, "no JSON"), ({}, 422, "'entity' is missing"),
        ({"entity": []}, 422, "not an object"), ({"entity": ENTITY, "tine": TIME}, 422, "'tine'"),
        ({"entity": {**ENTITY, "x": "three"}}, 422, "'x' is 'three'"), ({"entity": {**ENTITY, "x": -5}}, 422, "x is -5"),
        ({"entity": {"x": 3}}, 422, "'who' is missing"), ({"entity": ENTITY, "time": "noon"}, 422, "prediction time"),
        ({"entity": ENTITY, "time": "1999-01-01T00:00:00Z"}, 422, "window"),
        ({"entity": ENTITY, "time": "2999-01-01T00:00:00Z"}, 422, "ahead"), ({"entity": ENTITY, "id": ""}, 200, ""),
        ({"entity": ENTITY, "id": "x" * 129}, 422, "128"), ({"entity": ENTITY, "id": "a\nb"}, 422, "printable"),
        ({"entity": ENTITY, "id": 5}, 422, "printable"), ({"entity": ENTITY, "explain": "yes"}, 422, "'explain'"),
        ({"instances": []}, 422, "at least one"), ({"instances": [5]}, 422, "no object"),
        ({"instances": [{"entity": ENTITY}] * 1_001}, 413, "1000"), (b" " * (4 * 2**20 + 1), 413, "larger than"),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_what_is_wrong(service: Service, body: Any, status: int, said: str) -> None:
    reply = service.ask("POST", PREDICT, body)
    assert reply.status == status, reply
    assert said in reply.json.get("error", "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PREDICT, 405), ("DELETE", "/metrics", 405), ("POST", "/v2/health/live", 405), ("GET", "/nothing", 404),
        ("POST", "/v1/other:predict", 404), ("POST", f"/v1/{PRODUCT}/versions/9.9.9:predict", 404), ("GET", "/v2/models/other", 404),
        ("GET", f"/v2/models/{PRODUCT}/versions/9.9.9", 404), ("GET", f"/v2/models/{PRODUCT}/strange", 404),
        ("GET", "/docs/../../etc/passwd", 404),
    ],
)  # fmt: skip
def test_a_wrong_path_or_method_is_told_so(service: Service, method: str, path: str, status: int) -> None:
    body = {"entity": ENTITY, "time": TIME} if method == "POST" else None
    reply = service.ask(method, path, body)
    assert reply.status == status
    assert reply.json["error"]


def test_another_content_type_is_refused(service: Service) -> None:
    reply = service.ask("POST", PREDICT, b"entity=ann", {"content-type": "application/x-www-form-urlencoded"})
    assert (reply.status, reply.json["code"]) == (415, "content_type")
    assert service.ask(
        "POST", PREDICT, json.dumps({"entity": ENTITY}).encode(), {"content-type": "application/json; charset=utf-8"}
    )


def test_the_open_inference_protocol_answers_the_same(service: Service) -> None:
    assert service.get("/v2/health/live").status == service.get("/v2/health/ready").status == 200
    assert service.get("/v2").json["name"] == "headwater"
    meta = service.get(f"/v2/models/{PRODUCT}").json
    assert (meta["name"], meta["versions"]) == (PRODUCT, ["1.0.0"])
    assert service.get(f"/v2/models/{PRODUCT}/versions/1.0.0").json == meta
    assert service.get(f"/v2/models/{PRODUCT}/ready").json["ready"] is True
    values = {
        **{name: [value, None if name == "kind" else value] for name, value in ENTITY.items()},
        "time": [TIME, TIME],
    }
    inputs = [{**tensor, "shape": [2], "data": values[tensor["name"]]} for tensor in meta["inputs"]]
    found = service.ask("POST", f"/v2/models/{PRODUCT}/infer", {"id": "tensors", "inputs": inputs}).json
    assert (found["model_name"], found["model_version"], found["id"]) == (PRODUCT, "1.0.0", "tensors")
    outputs = {tensor["name"]: tensor for tensor in found["outputs"]}
    assert outputs["score"]["data"] == [service.predict().json["score"], service.predict({"kind": None}).json["score"]]
    assert [(outputs[name]["datatype"], outputs[name]["shape"]) for name in ("score", "decision")] == [
        ("FP64", [2]),
        ("BOOL", [2]),
    ]


TENSORS: list[dict[str, Any]] = [
    {"name": "who", "datatype": "BYTES", "shape": [1], "data": ["ann"]},
    {"name": "x", "datatype": "INT64", "shape": [1], "data": [3]},
    {"name": "kind", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    {"name": "time", "datatype": "BYTES", "shape": [1], "data": [TIME]},
]


def changed(place: int, **more: Any) -> dict[str, Any]:
    return {"inputs": [{**tensor, **(more if number == place else {})} for number, tensor in enumerate(TENSORS)]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"inputs": "nonsense"}, 400, "no list of tensors"), ({"inputs": []}, 400, "no list"), ({"inputs": [5]}, 400, "no object"),
        (changed(1, shape=[2]), 400, "1 elements and shape [2]"), (changed(1, shape=[1, 4]), 400, "not [n]"),
        (changed(1, shape=[1, 1], data=[[3]]), 200, ""), (changed(1, shape=[-1]), 400, "no shape"),
        (changed(1, shape=[0], data=[]), 400, "is empty"), (changed(1, shape=[10**9]), 413, "1000"),
        (changed(1, datatype="BYTES"), 400, "not INT64"), (changed(1, datatype="INT32"), 200, ""),
        (changed(1, name="y"), 400, "'y'"), (changed(1, data=3), 400, "no data"), (changed(1, shape=[2], data=[3, 4]), 400, "elements where"),
        (changed(1, data=["three"]), 422, "'x' is 'three'"), (changed(0, name="x", datatype="INT64", data=[1]), 400, "twice"),
        ({"inputs": TENSORS[1:]}, 422, "'who' is missing"), ({**changed(0), "outputs": [{"name": "odds"}]}, 400, "outputs"),
        ({**changed(0), "strange": 1}, 400, "'strange'"), ({**changed(0), "parameters": {"explain": True}}, 200, ""),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_told_why(service: Service, body: Any, status: int, said: str) -> None:
    reply = service.ask("POST", f"/v2/models/{PRODUCT}/infer", body)
    assert reply.status == status, reply
    assert said in reply.json.get("error", "")


def test_what_is_counted_can_be_read(service: Service) -> None:
    service.predict({"who": "nobody"})
    said = service.get("/metrics")
    assert said.headers["content-type"].startswith("text/plain")
    text = said.body.decode()
    assert 'headwater_requests_total{code="200",product="toy",version="1.0.0"}' in text
    assert 'headwater_defaulted_views_total{product="toy",reason="unknown",view="history"}' in text
    assert 'headwater_deployment_info{commit="' in text
    assert "headwater_ready 1.0" in text


def test_the_description_names_the_fields_and_has_a_page(service: Service) -> None:
    found = service.get("/openapi.json").json
    single = found["paths"][PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0]
    assert set(single["properties"]["entity"]["required"]) == {"who", "x", "kind"}
    page = service.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"docs/{name}".encode() in page.body
        assert service.get(f"/docs/{name}").status == 200


def test_a_null_in_a_row_that_is_there_is_told_and_counted(released: Released, start: Start) -> None:
    released.online(None)
    service = start()
    assert service.predict().json["defaulted"] == {"history": "missing"}
    counted = 'headwater_defaulted_views_total{product="toy",reason="missing",view="history"} 1.0'
    assert counted in service.get("/metrics").body.decode()


def test_a_new_release_is_live_without_a_failed_request(released: Released, start: Start) -> None:
    service = start()
    replies: list[Reply] = []
    ended = threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            replies.append(service.predict())

    askers = [threading.Thread(target=keep_asking) for _ in range(3)]
    for asker in askers:
        asker.start()
    released.online(20)
    released.release("all-at-once", "1.1.0")
    service.until(lambda: service.predict().json["version"] == "1.1.0")
    after = [service.predict() for _ in range(20)]
    ended.set()
    for asker in askers:
        asker.join()
    assert {reply.status for reply in replies} == {200}
    assert versions(replies) == {"1.0.0", "1.1.0"}
    assert versions(after) == {"1.1.0"}


def test_a_release_that_cannot_be_served_leaves_what_was_live_and_is_told(released: Released, start: Start) -> None:
    service = start()
    released.model("2.0.0", slope=3, schema=False)
    released.release("all-at-once", "2.0.0")
    service.until(lambda: 'headwater_release_not_served{product="toy"} 1.0' in service.get("/metrics").body.decode())
    assert service.predict().json["version"] == "1.0.0"
    assert "Build the product again" in service.get("/v2/health/ready").json["troubles"][PRODUCT]
    released.release("all-at-once", "1.1.0")
    service.until(lambda: service.predict().json["version"] == "1.1.0")
    service.until(lambda: "troubles" not in service.get("/v2/health/ready").json)


def test_a_release_that_draws_by_what_no_request_has_leaves_what_was_live(released: Released, start: Start) -> None:
    service = start()
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", assign_by=["ordre"])
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    assert "ordre, which no request" in service.get("/v2/health/ready").json["troubles"][PRODUCT]
    assert versions([service.predict({"order": number}) for number in range(20)]) == {"1.0.0"}
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", assign_by=["order"])
    service.until(lambda: "troubles" not in service.get("/v2/health/ready").json)
    assert versions([service.predict({"order": number}) for number in range(40)]) == {"1.0.0", "1.1.0"}


def test_a_service_starts_and_answers_while_the_lake_is_away(released: Released, start: Start) -> None:
    first = start()
    score = first.predict().json["score"]
    first.stop()
    shutil.move(released.folder / "lake", released.folder / "elsewhere")
    second = start()
    assert second.predict().json["score"] == score
    assert second.get("/v1/products").json["lake"]
    assert "headwater_lake_away 1.0" in second.get("/metrics").body.decode()
    shutil.move(released.folder / "elsewhere", released.folder / "lake")
    second.until(lambda: "headwater_lake_away 0.0" in second.get("/metrics").body.decode())


def test_a_service_is_not_ready_until_it_can_answer(released: Released, start: Start) -> None:
    service = start("--product", "other", "--product", PRODUCT, wait=False)
    service.until(lambda: service.get("/v2/health/live").status == 200)
    service.until(lambda: service.predict().status == 200)
    assert service.get("/v2/health/ready").status == 503
    assert service.ask("POST", "/v1/other:predict", {"entity": {}}).status == 503
    assert service.ask("POST", "/v1/strange:predict", {"entity": {}}).status == 404


def test_others_cannot_reach_a_service_without_keys(start: Start) -> None:
    code, said = start("--host", "0.0.0.0", wait=False).stop()
    assert code == 2
    assert "without API keys" in said


def test_keys_say_who_may_do_what(released: Released, start: Start) -> None:
    keys = released.folder / "keys.json"
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("desk", "graphs", "other")}
    keys.write_text(
        json.dumps(
            [
                {"name": "desk", "sha256": digest["desk"], "roles": ["predict"], "products": [PRODUCT]},
                {"name": "graphs", "sha256": digest["graphs"], "roles": ["metrics"]},
                {"name": "other", "sha256": digest["other"], "roles": ["predict"], "products": ["other"]},
            ]
        )
    )
    service = start("--keys", str(keys))
    body = {"entity": ENTITY, "time": TIME, "id": "keyed"}

    def status(path: str, key: str) -> int:
        method, sent = ("POST", body) if path == PREDICT else ("GET", None)
        return service.ask(method, path, sent, {"authorization": f"Bearer {key}"} if key else {}).status

    assert [status(PREDICT, key) for key in ("", "nobody", "graphs", "other", "desk")] == [401, 401, 403, 403, 200]
    assert [status("/metrics", key) for key in ("", "desk", "graphs")] == [401, 403, 200]
    assert status("/v2/health/live", "") == 200
    assert [one.caller for one in service.logged()] == ["desk"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '[{"name": "a"}]', '[{"name": "a", "sha256": "xx", "roles": ["predict"]}]']
)
def test_a_broken_file_of_keys_is_refused(released: Released, start: Start, text: str) -> None:
    keys = released.folder / "keys.json"
    keys.write_text(text)
    code, said = start("--keys", str(keys), wait=False).stop()
    assert code == 2
    assert "API keys in" in said


def test_a_taken_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = start("--port", str(port), wait=False).stop()
    assert code == 2
    assert f"127.0.0.1:{port}" in said


def test_several_workers_share_the_port_and_one_that_dies_is_replaced(released: Released, start: Start) -> None:
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0", assign_by=["order"])
    service = start("--workers", "2")
    replies = [service.predict({"order": number}, id=str(number)) for number in range(60)]
    assert {reply.status for reply in replies} == {200}
    assert sorted(one.request_id for one in service.logged()) == sorted(str(number) for number in range(60))
    again = [service.predict({"order": number}) for number in range(60)]
    assert [one.json["version"] for one in again] == [one.json["version"] for one in replies]
    workers = psutil.Process(service.process.pid).children()
    workers[0].kill()
    service.until(
        lambda: len({child.pid for child in psutil.Process(service.process.pid).children()} - {workers[0].pid}) == 2
    )
    service.until(lambda: service.get("/v2/health/ready").status == 200)
    code, _ = service.stop()
    assert code == 0


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    service = start("--workers", "2")
    workers = psutil.Process(service.process.pid).children()
    service.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_a_service_that_is_asked_to_end_answers_what_it_has_and_closes_its_log(start: Start) -> None:
    service = start()
    service.predict(id="last")
    code, _ = service.stop(signal.SIGTERM)
    assert code == 0
    assert [one.request_id for one in service.logged()] == ["last"]


def test_a_service_that_is_asked_to_end_answers_what_is_under_way_and_takes_nothing_new(
    released: Released, start: Start, tmp_path: Path
) -> None:
    """What its end was tried on was a service that nobody was asking: one that dropped every request would have passed."""
    flag, ids = tmp_path / "wait", [f"last {number}" for number in range(4)]
    service = start(program=with_disk(tmp_path, HANGS.format(flag=str(flag))))
    flag.touch()
    asking = [service.connect() for _ in ids]
    for connection, id in zip(asking, ids, strict=True):
        body = json.dumps({"entity": ENTITY, "time": TIME, "id": id})
        connection.request("POST", PREDICT, body, {"content-type": "application/json"})
    service.until(lambda: len(service.logged()) > 0)
    assert {service.get("/v2/health/live").status for _ in range(2)} == {200}, "and so it has read the others"
    service.process.send_signal(signal.SIGTERM)
    service.until(lambda: is_refused(service.port))
    time.sleep(0.3)  # uvicorn looks after a tenth of a second who is under way
    flag.unlink()
    assert [connection.getresponse().status for connection in asking] == [200] * len(ids)
    code, _ = service.stop()
    assert code == 0
    assert sorted(one.request_id for one in service.logged()) == ids


def test_a_release_that_nobody_can_read_is_told_and_the_next_one_followed(released: Released, start: Start) -> None:
    """A release file without a policy once ended the following, in silence and for good."""
    service = start()
    broken = released.folder / "broken"
    broken.mkdir()
    (broken / "release.json").write_text('{"version": "1.1.0", "serving": 5}')
    released.publish("toy/release", lambda tx: tx.write_folder("toy/release", broken).data_version, {})
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    assert service.predict().json["version"] == "1.0.0"
    released.release("all-at-once", "1.1.0")
    service.until(lambda: service.predict().json["version"] == "1.1.0")


def test_a_kept_deployment_that_cannot_be_read_is_a_trouble_and_no_end(released: Released, start: Start) -> None:
    start().stop()
    (kept,) = released.folder.rglob("deployment.json")
    kept.write_text("{")
    shutil.move(released.folder / "lake", released.folder / "elsewhere")
    service = start(wait=False)
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    assert service.predict().status == 503
    shutil.move(released.folder / "elsewhere", released.folder / "lake")
    service.until(lambda: service.predict().status == 200)


def test_while_the_lake_is_away_nobody_says_that_a_product_is_none(released: Released, start: Start) -> None:
    """Callers heard 404, as if they had asked for something that never was."""
    shutil.move(released.folder / "lake", released.folder / "elsewhere")
    service = start(wait=False)
    service.until(lambda: bool(service.get("/v1/products").json.get("lake")))
    reply = service.predict()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert service.get("/v2/health/ready").status == 503
    shutil.move(released.folder / "elsewhere", released.folder / "lake")
    service.until(lambda: service.predict().status == 200)


def test_workers_show_what_is_live_and_not_what_was(released: Released, start: Start) -> None:
    """Labels are never taken out of metrics that processes share: the version before read 1 for ever."""
    service = start("--workers", "2")
    released.release("all-at-once", "1.1.0")

    def shown() -> dict[str, float]:
        lines = [line for line in service.get("/metrics").body.decode().splitlines() if "deployment_info{" in line]
        return {line.split('version="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in lines}

    service.until(lambda: shown() == {"1.0.0": 0.0, "1.1.0": 1.0})


def test_a_worker_that_died_in_trouble_says_so_no_more(released: Released, start: Start) -> None:
    """Its last word stood in the shared metrics, and the alert fired until the service was started anew."""
    service = start("--workers", "2")

    def told() -> set[float]:
        lines = service.get("/metrics").body.decode().splitlines()
        return {float(line.rpartition(" ")[2]) for line in lines if line.startswith("headwater_release_not_served{")}

    broken = released.release("all-at-once", "9.9.9")
    service.until(lambda: told() == {1.0})
    workers = psutil.Process(service.process.pid).children()
    for worker in workers:  # at least one of them has said so
        worker.kill()
    psutil.wait_procs(workers, timeout=30)
    released.lake.revert(broken)
    released.release("all-at-once", "1.1.0")
    service.until(lambda: told() == {0.0})


def test_a_service_that_is_asked_to_end_while_it_starts_ends(start: Start) -> None:
    """What came before uvicorn listened to signals was swallowed: the process, or a worker whose parent had died, lived for ever."""
    service = start(wait=False)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=30) == 0


def test_following_the_lake_opens_nothing_anew(start: Start) -> None:
    """Each look once had a thread of its own, and the lake kept connections for every one of them."""
    service = start("--follow", "0.05")
    process = psutil.Process(service.process.pid)

    def looks() -> float:
        (line,) = [
            line
            for line in service.get("/metrics").body.decode().splitlines()
            if line.startswith("headwater_refreshed_t")
        ]
        return float(line.rpartition(" ")[2])

    def fewest(count: int) -> int:
        """Open files over some looks: a connection or a segment that is open for a moment is none that stays."""
        seen: set[float] = set()
        found: list[int] = []

        def has_looked() -> bool:
            seen.add(looks())
            found.append(process.num_fds())
            return len(seen) > count

        service.until(has_looked)
        return min(found)

    before = fewest(5)
    fewest(30)
    assert fewest(5) <= before + 3


def test_what_takes_longer_than_the_product_promises_is_counted(start: Start, released: Released) -> None:
    released.release("all-at-once", "1.0.0", latency_seconds=60)
    service = start()
    slow = f'headwater_slow_requests_total{{product="{PRODUCT}"}}'

    def counted() -> float:
        lines = service.get("/metrics").body.decode().splitlines()
        return float(next(line for line in lines if line.startswith(slow)).rpartition(" ")[2])

    def is_counted() -> bool:
        before = counted()
        assert service.predict().status == 200
        return counted() > before

    service.until(lambda: slow in service.get("/metrics").body.decode())
    for _ in range(3):
        assert not is_counted(), "a minute is promised"
    released.release("all-at-once", "1.0.0", latency_seconds=1e-6)
    service.until(is_counted)  # a release answers a moment before its promise counts
    before = counted()
    for _ in range(3):
        assert service.predict().status == 200
    assert counted() == before + 3


def value_of(service: Service, name: str) -> float:
    """A metric of the product."""
    lines = service.get("/metrics").body.decode().splitlines()
    said = next((line for line in lines if line.startswith(f'{name}{{product="{PRODUCT}"}}')), "0")
    return float(said.rpartition(" ")[2])


def test_who_sends_the_body_slowly_makes_no_version_slow(start: Start, released: Released) -> None:
    """The clock ran from the headers on: whoever dribbled his body made the version slow that was drawn for him, and sent it back."""
    released.release("all-at-once", "1.0.0", latency_seconds=1)
    service = start()
    body = json.dumps({"entity": ENTITY, "time": TIME}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head + body[:10])
        time.sleep(1.5)
        last = time.time_ns() // 1_000
        connection.sendall(body[10:])
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head + body[:10])
        time.sleep(1.5)  # and never sends the rest
    (found,) = service.logged()
    assert found.received >= last
    assert found.latency < 1_000_000
    service.until(lambda: value_of(service, "headwater_request_seconds_count") == 2)
    assert value_of(service, "headwater_slow_requests_total") == 0
    assert value_of(service, "headwater_request_seconds_sum") < 1
    gone = f'headwater_requests_total{{code="499",product="{PRODUCT}",version=""}} 1.0'
    assert gone in service.get("/metrics").body.decode(), (
        "who went away was failed by nobody: it was a 500, which burns the budget"
    )


def test_the_time_of_a_batch_is_told_apart_and_never_slow(start: Start, released: Released) -> None:
    """A batch takes as long as it is large: the budget of slow answers burned by it."""
    released.release("all-at-once", "1.0.0", latency_seconds=1e-6)
    service = start()
    service.until(lambda: service.predict().status == 200 and value_of(service, "headwater_slow_requests_total") > 0)
    names = ("headwater_slow_requests_total", "headwater_request_seconds_count", "headwater_batch_seconds_count")
    before = [value_of(service, name) for name in names]
    one = {"entity": ENTITY, "time": TIME}
    tensors = [
        {"name": name, "shape": [3], "datatype": "INT64" if isinstance(value, int) else "BYTES", "data": [value] * 3}
        for name, value in {**ENTITY, "time": TIME}.items()
    ]
    named = {"instances": [one, one], "id": "twice"}
    for path, asked in ((PREDICT, named), (PREDICT, named), (f"/v2/models/{PRODUCT}/infer", {"inputs": tensors})):
        assert service.ask("POST", path, asked).status == 200
    assert service.ask("POST", PREDICT, {"instances": [one, {}]}).status == 422
    after = [value_of(service, name) for name in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [0, 0, 4], "also one that is remembered"
    for asked in ({"instances": [one]}, one):
        assert service.ask("POST", PREDICT, asked).status == 200
    assert [value_of(service, name) - then for name, then in zip(names, before, strict=True)] == [2, 2, 4]
