#!/usr/bin/env python3
"""Lets schemathesis ask a gradientd whatever openapi.yaml allows and forbids.

    python3 tests/schemathesis/run.py SCHEMATHESIS --binary target/release/gradientd

SCHEMATHESIS is its program (`pip install schemathesis==4.32.5` in a virtual environment). What it asks and what it looks for is
in schemathesis.toml beside this file, and how it sends tables in hooks.py; models and a dataset of the names in the examples are
there before it asks.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "torture"))
sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402

SIGMOID, SOFTMAX = {"units": 3, "activation": "sigmoid"}, {"units": 3, "activation": "softmax"}
MODELS = [
    {"name": "long", "inputs": 2, "layers": [SIGMOID]},
    {"name": "xor", "inputs": 2, "layers": [SIGMOID, {"units": 1, "activation": "sigmoid"}]},
    {"name": "line", "inputs": 1, "layers": [{"units": 1, "activation": "identity"}]},
    {"name": "iris", "inputs": 4, "layers": [SOFTMAX], "loss": "cross_entropy"},
]


def furnish(url):
    """Makes what the examples name, and returns what the configuration does: jobs, and an epoch with a checkpoint."""
    client = Client(url)
    for model in MODELS:
        client.post("/v1/models", model)
    with open(os.path.join(ROOT, "tests", "fixtures", "tables", "iris.csv"), "rb") as table:
        client.upload("iris", table.read())
    data = {"inputs": [[0, 1], [1, 0]] * 2000, "targets": [[0, 1, 1], [1, 0, 1]] * 2000}
    job = {"model": "long", "data": data, "epochs": 100_000}
    ended, running = (client.post("/v1/jobs", job)["id"] for _ in range(2))
    while client.get(f"/v1/jobs/{ended}")["progress"]["epoch"] == 0:
        time.sleep(0.01)
    client.post(f"/v1/jobs/{ended}/cancel", None)
    [kept] = client.get(f"/v1/jobs/{ended}/checkpoints")["data"]
    client.close()
    return {"ENDED_JOB": ended, "RUNNING_JOB": running, "KEPT_EPOCH": str(kept["epoch"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemathesis")
    parser.add_argument("--binary", default="target/release/gradientd")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(arguments.binary, os.path.join(scratch, "data"))
        server.start()
        try:
            furniture = {f"GRADIENTD_{name}": value for name, value in furnish(server.url).items()}
            config = os.path.join(HERE, "schemathesis.toml")
            command = [os.path.abspath(arguments.schemathesis), "--config-file", config, "run"]
            command += [os.path.join(ROOT, "openapi.yaml"), "--url", server.url]
            hooks = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": "1"}
            environment = {**os.environ, **hooks, **furniture}
            status = subprocess.run(command, cwd=scratch, env=environment, check=False).returncode
        finally:
            server.stop()
    sys.exit(status)


if __name__ == "__main__":
    main()
