"""MLServer with its LightGBM runtime; scored in the server's own process, as its pages advise for small models.

python mlserver_app.py FOLDER PORT
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    folder, port = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    place = folder / "mlserver"
    place.mkdir(exist_ok=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
        "gzip_enabled": False,
    }
    model = {
        "name": "bench",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(folder / "model.lgb.txt")},
    }
    (place / "settings.json").write_text(json.dumps(settings))
    (place / "model-settings.json").write_text(json.dumps(model))
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", str(place)])
