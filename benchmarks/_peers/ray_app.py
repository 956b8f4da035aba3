"""Ray Serve on one node: one proxy, one replica, Ray's own settings for throughput.

python ray_app.py FOLDER PORT
"""

import os
import signal
import sys

os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import lightgbm
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Scorer:
    """Loads the booster and scores one row a call."""

    def __init__(self, folder: str) -> None:
        self.booster = lightgbm.Booster(model_file=f"{folder}/model.lgb.txt")

    async def __call__(self, request: Request) -> dict[str, float]:
        """The score of one row."""
        features = (await request.json())["features"]
        matrix = np.array([features], dtype=np.float64)
        return {"score": float(self.booster.predict(matrix, num_threads=1)[0])}


if __name__ == "__main__":
    folder, port = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(
        num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
        object_store_memory=200 * 2**20,
    )  # fmt: skip
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(Scorer.bind(folder), route_prefix="/predict")
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()
