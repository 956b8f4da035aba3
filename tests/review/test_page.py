"""The review page, as a real process over a real lake: what it shows, what it takes, what it refuses."""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.review.scene import PRODUCT, Scene, drawn, prediction

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(1)</script>"
A, B = drawn(2)


class Page:
    """A running page."""

    def __init__(self, state: Path, *options: str) -> None:
        environment = {**os.environ, "HEADWATER_STATE": str(state), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli", "review", "open", "--port", "0", *options],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.port = int(found[1]) if (found := re.search(r":(\d+)\.", self.first_line)) else 0

    def ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[int, Any, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            given.setdefault("content-type", "application/x-www-form-urlencoded")
        connection.request(method, path, body=urlencode(form) if form is not None else None, headers=given)
        answer = connection.getresponse()
        said = answer.status, answer.headers, answer.read().decode()
        connection.close()
        return said

    def question(self, id: str, **headers: str) -> str:
        return self.ask("GET", f"/question?{urlencode({'product': PRODUCT, 'id': id})}", **headers)[2]

    def form(self, id: str, label: str, reason: str = "fog", **headers: str) -> dict[str, str]:
        token = re.search(r'name="token" value="([0-9a-f]+)"', self.question(id, **headers))
        return {"token": token[1] if token else "", "product": PRODUCT, "id": id, "label": label, "reason": reason}

    def stop(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    now = datetime.now(UTC)
    features = json.dumps({"carrier": EVIL, "distance": 1089.123456})
    found.predictions(
        prediction(A, 0.30, received=now, features=features, version=EVIL, reasons=json.dumps({EVIL: "stale"})),
        prediction(B, 0.311, flight=2, received=now),
    )
    return found


@pytest.fixture
def start(tmp_path: Path, scene: Scene) -> Iterator[Callable[..., Page]]:
    started: list[Page] = []

    def begin(*options: str) -> Page:
        started.append(Page(tmp_path, *options))
        return started[-1]

    yield begin
    for page in started:
        page.stop()


def test_a_person_sees_what_waits_and_answers_it(start: Callable[..., Page], scene: Scene) -> None:
    page = start()
    status, headers, text = page.ask("GET", "/")
    assert (status, f"id={A}" in text, "2 open" in text) == (200, True, True)
    assert "default-src 'none'" in headers["content-security-policy"]
    shown = page.question(A)
    assert "1089" in shown
    assert EVIL not in text + shown, "every value is escaped"
    assert "&lt;script&gt;" in shown
    form = page.form(A, "late", f"fog {EVIL}")
    status, headers, _ = page.ask("POST", "/answer", form, origin=f"http://127.0.0.1:{page.port}")
    assert (status, headers["location"]) == (303, f"/?product=flights&answered={A}")
    (given,) = scene.desk.history(9)
    assert (given.label, given.reason, given.actor.startswith("user:")) == (1, f"fog {EVIL}", True)
    listed = page.ask("GET", headers["location"])[2]
    assert ("is in the lake" in listed, "1 open" in listed, EVIL in listed) == (True, True, False)
    status, _, text = page.ask("POST", "/answer", form)
    assert (status, "answered already" in text, EVIL in text) == (409, True, False)
    assert "<form" not in page.question(A)
    assert page.stop() == (0, "")


def test_no_other_page_can_send_an_answer(start: Callable[..., Page], scene: Scene) -> None:
    page = start()
    form = page.form(A, "late")
    before = scene.lake.resolve("main").id
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec_fetch_site": "cross-site"},
    ):
        assert page.ask("POST", "/answer", form, **headers)[0] == 403
    assert page.ask("POST", "/answer", {**form, "token": "0" * 64})[0] == 403
    assert page.ask("POST", "/answer", {**form, "token": "é"})[0] == 403
    assert page.ask("POST", "/answer", form, content_type="text/plain")[0] == 415
    for host in ("evil.example", "evil.example:8081", "127.0.0.1.evil.example", "[", "[::1"):
        assert page.ask("GET", "/", host=host)[0] == 421, "a name that was made to mean this machine"
    assert page.ask("GET", "/answer")[0] == 404
    assert scene.lake.resolve("main").id == before


def test_what_cannot_be_is_said_and_what_was_typed_stays(start: Callable[..., Page], scene: Scene) -> None:
    page = start()
    status, _, text = page.ask("POST", "/answer", page.form(A, "maybe", "typed with care"))
    assert (status, "is no label" in text, "typed with care" in text) == (422, True, True)
    assert page.ask("POST", "/answer", page.form(A, "late", " "))[0] == 422
    assert page.ask("POST", "/answer", {**page.form(A, "late"), "id": EVIL})[0] == 404
    assert page.ask("POST", "/answer", {**page.form(A, "late"), "product": "nothing"})[0] == 404
    assert page.ask("POST", "/answer", page.form(A, "late", "x" * 70_000))[0] == 413
    assert page.ask("GET", "/question?product=flights&id=%3Cscript%3E")[0] == 404
    assert page.ask("GET", "/question?" + "&".join(f"a{n}=1" for n in range(50)))[0] == 400
    assert scene.desk.history(9) == ()


def test_with_keys_the_answer_is_the_keys_and_without_the_role_there_is_none(
    start: Callable[..., Page], scene: Scene, tmp_path: Path
) -> None:
    def key(name: str, role: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "roles": [role], **more}

    file = tmp_path / "keys.json"
    file.write_text(
        json.dumps([key("ann", "review"), key("bob", "predict"), key("cy", "review", products=["lending"])])
    )
    page = start("--keys", str(file), "--host", "0.0.0.0")

    def as_(name: str) -> dict[str, str]:
        return {"authorization": f"Basic {b64encode(f'anything:{name}'.encode()).decode()}"}

    status, headers, _ = page.ask("GET", "/")
    assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
    assert page.ask("GET", "/", **as_("nobody"))[0] == 401
    assert page.ask("GET", "/", authorization="Basic %%%")[0] == 401
    assert page.ask("GET", "/", **as_("bob"))[0] == 403
    assert A not in page.ask("GET", "/", **as_("cy"))[2], "a key of another product sees nothing of this one"
    form = page.form(A, "on time", **as_("ann"))
    assert page.ask("POST", "/answer", form)[0] == 401
    assert page.ask("POST", "/answer", {**form, "product": "nothing"})[0] == 401, "who has no key learns no names"
    assert page.ask("POST", "/answer", form, **as_("cy"))[0] == 403
    assert page.ask("POST", "/answer", form, **as_("ann"))[0] == 303
    assert [answer.actor for answer in scene.desk.history(9)] == ["key:ann"]


def test_without_keys_it_listens_on_this_machine_alone(start: Callable[..., Page]) -> None:
    code, said = start("--host", "0.0.0.0").stop()
    assert (code, "without API keys" in said) == (2, True)
