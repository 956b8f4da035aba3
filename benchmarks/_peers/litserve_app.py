"""LitServe with one worker and its faster queue, which its pages recommend for more than 100 requests a second.

python litserve_app.py FOLDER PORT
"""

import sys
from typing import Any

import lightgbm
import litserve
import numpy as np


class Scorer(litserve.LitAPI):
    """Loads the booster in its worker and scores one row a call."""

    def setup(self, device: str) -> None:
        """Loads the booster."""
        self.booster = lightgbm.Booster(model_file=f"{sys.argv[1]}/model.lgb.txt")

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """The row as a matrix."""
        return np.array([request["features"]], dtype=np.float64)

    def predict(self, x: np.ndarray) -> float:
        """The score."""
        return float(self.booster.predict(x, num_threads=1)[0])

    def encode_response(self, output: float) -> dict[str, float]:
        """The score in JSON."""
        return {"score": output}


if __name__ == "__main__":
    server = litserve.LitServer(Scorer(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
