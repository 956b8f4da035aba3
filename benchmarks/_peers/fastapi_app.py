"""FastAPI as its first pages show it, on uvicorn: a body that pydantic checks, one call of the booster, JSON out.

No lookup, no log. `async def`: a thread for each call would only add to thirty microseconds of work.

python fastapi_app.py FOLDER PORT
"""

import sys

import lightgbm
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

booster = lightgbm.Booster(model_file=f"{sys.argv[1]}/model.lgb.txt")
app = FastAPI()


class Row(BaseModel):
    """One row, encoded as the model reads it."""

    features: list[float | None]


@app.post("/predict")
async def predict(row: Row) -> dict[str, float]:
    """The score of one row."""
    matrix = np.array([row.features], dtype=np.float64)
    return {"score": float(booster.predict(matrix, num_threads=1)[0])}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
