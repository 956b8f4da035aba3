"""MLflow's scoring server for the booster's own flavor: `mlflow models serve`.

`columns`: asked with named columns, and a model without a signature, so that nothing is checked. `signed`: the same with a
signature of the columns, as `infer_signature` makes it of a frame; MLflow then looks at each column of each request.
`tensor`: a signature of one tensor, asked with numbers alone: the least that MLflow takes.

python mlflow_app.py FOLDER PORT columns|signed|tensor
"""

import json
import os
import shutil
import sys
from pathlib import Path

import lightgbm
import mlflow.lightgbm
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec


def signature(how: str, names: list[str]) -> ModelSignature | None:
    """What the model says of its input."""
    if how == "columns":
        return None
    tensor = [TensorSpec(np.dtype("float64"), (-1, len(names)))]
    return ModelSignature(inputs=Schema(tensor if how == "tensor" else [ColSpec("double", name) for name in names]))


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]).resolve(), sys.argv[2]
    names = json.loads((folder / "names.json").read_text())
    shutil.rmtree(folder / "mlflow", ignore_errors=True)
    booster = lightgbm.Booster(model_file=str(folder / "model.lgb.txt"))
    mlflow.lightgbm.save_model(
        booster, folder / "mlflow", signature=signature(sys.argv[3], names), pip_requirements=["lightgbm"]
    )
    program = Path(sys.executable).with_name("mlflow")
    command = ["models", "serve", "--model-uri", str(folder / "mlflow"), "--port", port, "--host", "127.0.0.1"]
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"  # it starts `uvicorn` by name
    os.execv(program, [str(program), *command, "--env-manager", "local"])
