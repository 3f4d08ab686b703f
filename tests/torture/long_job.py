"""A job of some seconds whose undisturbed run is known, to be disturbed in any way: it must end with the same bits."""

import random
import time

from promise import require, stripped

INPUTS, ROWS = 16, 3001
MODEL = {"inputs": INPUTS, "layers": [{"units": 48, "activation": "tanh"}, {"units": 24, "activation": "relu"},
                                      {"units": 3, "activation": "softmax"}],
         "loss": "cross_entropy", "preprocess": "standardize", "dtype": "float32", "seed": 11}


class LongJob:
    """The undisturbed run, and others of the same spec."""

    def __init__(self, client, seconds, seed=1):
        rng = random.Random(seed)
        rows = [",".join(f"{rng.gauss(0, 1):.4f}" for _ in range(INPUTS)) + "," + rng.choice("abc") for _ in range(ROWS)]
        header = ",".join(f"x{column}" for column in range(INPUTS)) + ",y"
        client.upload("long-data", "\n".join([header, *rows, ""]).encode())
        # Of a few epochs most of the time is that around them.
        self.epochs = 10
        for name in ("long-warming", "long-calibration"):
            began = time.monotonic()
            client.wait_for(self.start(client, name), 120.0, poll=0.01)
            self.epochs = max(20, min(20_000, round(self.epochs * (seconds if name == "long-calibration" else 1.0)
                                                    / (time.monotonic() - began))))
        began = time.monotonic()
        job = self.start(client, "long-reference")
        ended = client.wait_for(job, 60.0 + 10 * seconds)
        self.seconds = time.monotonic() - began
        self.history = stripped(client.losses(job))
        self.digest = self.of(client, ended)
        require([row["epoch"] for row in self.history] == list(range(1, self.epochs + 1)), "the undisturbed run has gaps")

    def start(self, client, name, **more):
        """A run under the name of a new model; the id of the job."""
        client.post("/v1/models", {"name": name, **MODEL})
        return client.post("/v1/jobs", {
            "model": name, "data": {"dataset": "long-data", "target": "y"}, "validation": {"fraction": 0.2},
            "optimizer": {"type": "adam", "learning_rate": 0.01}, "regularization": {"dropout": 0.1}, "epochs": self.epochs,
            "batch_size": 32, "shuffle": True, "seed": 5, **more,
        })["id"]

    def of(self, client, ended):
        """The digest of the parameters that a job published."""
        return client.get(f"/v1/models/{ended['model']}/versions/{ended['version']}")["parameter_digest"]

    def check(self, client, job, seconds=None):
        """Waits for the end of a run; it must have the parameters and the loss history of the undisturbed one. Gives the job."""
        ended = client.wait_for(job, seconds or 60.0 + 10 * self.seconds)
        history = stripped(client.losses(job))
        epochs = [row["epoch"] for row in history]
        require(epochs == list(range(1, self.epochs + 1)), f"epochs are not 1..{self.epochs} once each")
        other = next((row["epoch"] for row, known in zip(history, self.history) if row != known), None)
        require(other is None, f"the loss history differs from epoch {other} on")
        require(self.of(client, ended) == self.digest, "the parameters have other bits")
        return ended


def once(client, job, holds, seconds=30.0):
    """The job once that holds of it."""
    deadline = time.monotonic() + seconds
    while True:
        state = client.get(f"/v1/jobs/{job}")
        if holds(state):
            return state
        require(time.monotonic() < deadline, f"after {seconds} s the job is {state['status']} at {state['progress']}")
        time.sleep(0.01)


def events(client, job):
    """All events of a job."""
    found = []
    while True:
        page = client.get(f"/v1/jobs/{job}/events?limit=1000&after={found[-1]['id'] if found else 0}")
        found += page["data"]
        if not page["has_more"]:
            return found


def epoch(state):
    return state["progress"]["epoch"]
