"""BentoML with one worker: a service class, started by BentoML's own command.

python bento_app.py FOLDER PORT
"""

import os
import sys

import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Scorer:
    """Loads the booster and scores one row a call."""

    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=f"{os.environ['BENCHMARK_FOLDER']}/model.lgb.txt")

    @bentoml.api
    async def predict(self, features: list[float | None]) -> dict[str, float]:
        """The score of one row."""
        matrix = np.array([features], dtype=np.float64)
        return {"score": float(self.booster.predict(matrix, num_threads=1)[0])}


if __name__ == "__main__":
    os.environ["BENCHMARK_FOLDER"] = os.path.abspath(sys.argv[1])
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    command = ["serve", "bento_app:Scorer", "--host", "127.0.0.1", "--port", sys.argv[2]]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])
