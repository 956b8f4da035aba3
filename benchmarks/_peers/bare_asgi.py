"""Uvicorn with no framework: the least that an ASGI server in Python takes, without a model (`empty`) and with one (`model`).

python bare_asgi.py FOLDER PORT empty|model
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import lightgbm
import numpy as np
import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

booster = lightgbm.Booster(model_file=f"{sys.argv[1]}/model.lgb.txt")


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def empty(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Reads the body and answers always the same."""
    await _body(receive)
    await _answer(send, b'{"score":0.5}')


async def model(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """JSON in, one call of the booster, JSON out; nothing is checked."""
    features = json.loads(await _body(receive))["features"]
    score = booster.predict(np.array([features], dtype=np.float64), num_threads=1)[0]
    await _answer(send, json.dumps({"score": float(score)}).encode())


if __name__ == "__main__":
    app = {"empty": empty, "model": model}[sys.argv[3]]
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False, lifespan="off")
