"""A running service follows orders: promote, roll back, deprecate, retire."""

import re
import shutil
from pathlib import Path

import pytest

from headwater.decisions import OrderKind
from headwater.features import FeatureView
from headwater.product import Labels, Model, Product
from serving.deployment import Deployment, read_deployment
from serving.retired_calls import RETIRED_FILE, read_retired_calls
from tests.release_scene import NOW, Scene
from tests.serving.conftest import PRODUCT, REPLACED, WIDER, Released, bundle
from tests.serving.http.conftest import Service

SINCE = f"@{int(NOW.timestamp())}"
"""When the order was given that deprecates, as RFC 9745 has it."""
TOY = Product(
    name=PRODUCT,
    question="Is it late?",
    owners=("team:toy",),
    labels=Labels(path="toy/labels", key=("order",), time="at", label="late"),
    model=Model(features=("x",)),
)


def test_who_asks_for_a_version_that_went_is_counted_and_who_invents_one_is_not(tmp_path: Path) -> None:
    """A superseded version was answered with 404 and counted nowhere: nobody seemed to call what was about to be retired."""
    scene = Scene(tmp_path, TOY)
    Released(tmp_path).online(10)
    for slope, version in ((1, "1.0.0"), (7, "1.1.0"), (11, "1.2.0")):
        scene.version(version, bundle=bundle(tmp_path / f"bundle-{version}", slope=slope))
    scene.give(OrderKind.DEPRECATE, "1.1.0")
    scene.build()
    scene.version("1.3.0", bundle=bundle(tmp_path / "bundle-1.3.0", slope=13), build=False)  # never released
    deployment = read_deployment(scene.lake, PRODUCT)
    assert (deployment.live, deployment.superseded) == ("1.2.0", ("1.0.0", "1.1.0"))
    assert Deployment.from_json(deployment.to_json()) == deployment
    service = Service(tmp_path)
    try:
        for version in ("1.0.0", "1.1.0", "1.1.0", "1.3.0", "9.9.9"):
            assert service.ask("POST", f"/v1/{PRODUCT}/versions/{version}:predict", {"entity": {}}).status == 404
        reply = service.ask("POST", f"/v2/models/{PRODUCT}/versions/1.0.0/infer", {"inputs": []})
        assert (reply.status, reply.json["code"]) == (404, "not_served")
        text = service.get("/metrics").body.decode()
        assert f'headwater_not_served_calls_total{{caller="",product="{PRODUCT}",version="1.0.0"}} 2.0' in text
        assert not {"1.3.0", "9.9.9"} & set(re.findall(r'version="([^"]+)"', text))
    finally:
        assert service.stop()[0] == 0
    found = read_retired_calls(tmp_path / "serving" / "log" / RETIRED_FILE, PRODUCT)
    assert {(one.version, one.calls, one.is_retired) for one in found} == {("1.0.0", 2, False), ("1.1.0", 2, False)}


@pytest.mark.parametrize("view", [WIDER, REPLACED], ids=["gained", "replaced"])
def test_a_running_service_goes_back_over_a_changed_feature_view(tmp_path: Path, view: FeatureView) -> None:
    """It went on with the version that was rolled back, and a new one with an empty cache was never ready."""
    scene, made = Scene(tmp_path, TOY), Released(tmp_path)
    made.online(10)
    scene.version("1.0.0", bundle=bundle(tmp_path / "bundle-1", slope=1))
    service = Service(tmp_path)
    try:
        first = service.predict().json
        made.online(10, view=view)
        scene.version("2.0.0", bundle=bundle(tmp_path / "bundle-2", slope=3, views=(view,)))
        service.until(lambda: service.predict().json["version"] == "2.0.0")
        scene.give(OrderKind.ROLLBACK)
        scene.build()
        service.until(lambda: service.predict().json["version"] == "1.0.0")
        found = service.predict().json
        assert {**found, "id": ""} == {**first, "id": ""}
        service.until(lambda: "troubles" not in service.get("/v2/health/ready").json)
    finally:
        assert service.stop()[0] == 0
    shutil.rmtree(tmp_path / "serving" / "cache")
    again = Service(tmp_path)
    try:
        assert {**again.predict().json, "id": ""} == {**first, "id": ""}
    finally:
        again.stop()


def test_a_running_service_follows_a_roll_back_and_says_what_is_retired(tmp_path: Path) -> None:
    scene = Scene(tmp_path, TOY)
    Released(tmp_path).online(10)
    for slope, version in ((1, "1.0.0"), (7, "1.1.0"), (11, "1.2.0")):
        scene.version(version, bundle=bundle(tmp_path / f"bundle-{version}", slope=slope))
    service = Service(tmp_path)
    try:
        assert service.predict().json["version"] == "1.2.0"
        scene.give(OrderKind.ROLLBACK)
        scene.build()
        service.until(lambda: service.predict().json["version"] == "1.1.0")
        assert "deprecation" not in service.predict().headers
        scene.give(OrderKind.DEPRECATE, "1.1.0")
        scene.give(OrderKind.RETIRE, "1.2.0")
        scene.build()
        service.until(lambda: service.predict().headers.get("deprecation") == SINCE)
        again = [service.predict(id="twice") for _ in range(2)]
        assert [reply.headers.get("deprecation") for reply in again] == [SINCE, SINCE], "also when it is asked again"
        asked = {
            f"/v1/{PRODUCT}/versions/1.2.0:predict": "entity",
            f"/v2/models/{PRODUCT}/versions/1.2.0/infer": "inputs",
        }
        for path, field in asked.items():
            reply = service.ask("POST", path, {field: {}})
            assert (reply.status, reply.json["code"]) == (410, "retired")
            assert "1.1.0" in reply.json["error"]
        assert service.get(f"/v2/models/{PRODUCT}/versions/1.2.0").status == 410
        counted = f'headwater_retired_calls_total{{caller="",product="{PRODUCT}",version="1.2.0"}} 2.0'
        assert counted in service.get("/metrics").body.decode()
        scene.give(OrderKind.PROMOTE, "1.0.0")
        scene.build()
        service.until(lambda: service.predict().json["version"] == "1.0.0")
        assert "deprecation" not in service.predict().headers
    finally:
        assert service.stop()[0] == 0
    (refused,) = read_retired_calls(tmp_path / "serving" / "log" / RETIRED_FILE, PRODUCT)
    assert (refused.version, refused.caller, refused.calls) == ("1.2.0", "", 2), (
        "who still asks is known when it has ended"
    )
    found = read_deployment(scene.lake, PRODUCT)
    assert found.deprecated_since == {"1.1.0": int(NOW.timestamp())}
    assert (found.deprecated, found.retired) == (("1.1.0",), ("1.2.0",))
    assert Deployment.from_json(found.to_json()) == found
