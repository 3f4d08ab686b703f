#!/usr/bin/env python3
"""Kills a gradientd again and again and looks whether it lost anything.

    python3 tests/torture/kill.py --binary target/release/gradientd --rounds 10 --seed 1

Idle rounds: a series of small writes (models, datasets, aliases, deletions, short jobs), SIGKILL somewhere during or after it, a
restart on the same data directory; everything that was acknowledged must be there.
Training rounds: SIGKILL while a job with a shuffle runs, now and then twice; after the restart the job must be taken up within
10 s, finish, and have the parameters (byte for byte) and the loss history (all but `seconds`) of an undisturbed run of the same
spec, without a gap or a double epoch. Predictions before and after every kill must be the same bytes.
Rounds of folds: the same of a job that cross-validates, whose report must have the folds of the undisturbed run, too.
Prints a line per round and exits 1 on any miss.
"""

import argparse
import http.client
import json
import random
import signal
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from daemon import Client, Refused, Server  # noqa: E402

GONE = (OSError, http.client.HTTPException)
TAKE_UP_LIMIT = 10.0
REFERENCE_SECONDS = 4.0
XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}


class Miss(Exception):
    """A promise that was not kept."""


def require(kept, promise):
    if not kept:
        raise Miss(promise)


class Ledger:
    """What the server has acknowledged, and how it looked then."""

    def __init__(self):
        self.models, self.datasets, self.aliases, self.deleted = {}, {}, {}, set()
        self.jobs, self.parameters, self.predictions, self.histories = {}, {}, {}, {}
        self.count = 0

    def check(self, client):
        for name, model in self.models.items():
            found = client.get(f"/v1/models/{name}")
            for field in model.keys() - {"latest_version", "aliases"}:
                require(found[field] == model[field], f"model {name}: {field} was {model[field]}, is {found[field]}")
            require(found["latest_version"] >= model["latest_version"], f"model {name} lost its latest version")
        for name, dataset in self.datasets.items():
            require(client.get(f"/v1/datasets/{name}") == dataset, f"dataset {name} is not what it was")
        for (model, alias), version in self.aliases.items():
            found = client.get(f"/v1/models/{model}")["aliases"].get(alias)
            require(found == version, f"alias {alias} of {model} was {version}, is {found}")
        for name in self.deleted:
            require(is_absent(client, f"/v1/models/{name}"), f"model {name} was deleted and is back")
        for job, spec in self.jobs.items():
            require(client.wait_for(job, 30.0)["spec"] == spec, f"job {job} has another spec")
        for path, content in self.parameters.items():
            require(client.raw("GET", path) == content, f"{path} has other bytes")
        for job, history in self.histories.items():
            require(client.losses(job) == history, f"job {job} has another loss history")
        for model, (rows, content) in self.predictions.items():
            require(client.predict_raw(model, rows) == content, f"model {model} predicts other bytes")


def is_absent(client, path):
    try:
        client.get(path)
        return False
    except Refused as refused:
        return refused.status == 404


class Writer:
    """Writes small things and enters each into the ledger once it is acknowledged."""

    def __init__(self, client, ledger, rng, prefix):
        self.client, self.ledger, self.rng, self.prefix = client, ledger, rng, prefix
        self.names = []

    def write(self, number):
        kinds = [self.create_model, self.upload, self.create_model, self.train]
        if self.names:
            kinds += [self.alias, self.delete]
        self.rng.choice(kinds)(f"{self.prefix}-{number}")
        self.ledger.count += 1

    def create_model(self, name):
        units, seed = self.rng.randint(1, 40), self.rng.randrange(2**32)
        layers = [{"units": units, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]
        model = self.client.post("/v1/models", {"name": name, "inputs": 2, "layers": layers, "dtype": "float64", "seed": seed})
        self.ledger.models[name] = model
        self.names.append(name)
        path = f"/v1/models/{name}/versions/1/parameters"
        self.ledger.parameters[path] = self.client.raw("GET", path)
        self.ledger.predictions[name] = (XOR["inputs"], self.client.predict_raw(name, XOR["inputs"]))

    def upload(self, name):
        rows = "".join(f"{self.rng.gauss(0, 1)},{self.rng.choice('ab')}\n" for _ in range(self.rng.randint(1, 500)))
        self.ledger.datasets[name] = self.client.upload(name, f"x,y\n{rows}".encode())

    def alias(self, _):
        model = self.rng.choice(self.names)
        # The entry goes first: an alias in flight at the kill may stand or not, an older value of it may not be asked for.
        self.ledger.aliases.pop((model, "stable"), None)
        self.client.send("PUT", f"/v1/models/{model}/aliases/stable", {"version": 1})
        self.ledger.aliases[model, "stable"] = 1

    def delete(self, _):
        name = self.names.pop(self.rng.randrange(len(self.names)))
        # As above: while the deletion is in flight, nothing is promised of this model.
        model, path = self.ledger.models.pop(name), f"/v1/models/{name}/versions/1/parameters"
        self.ledger.parameters.pop(path)
        self.ledger.predictions.pop(name)
        self.ledger.aliases.pop((name, "stable"), None)
        self.client.send("DELETE", f"/v1/models/{model['name']}")
        self.ledger.deleted.add(name)

    def train(self, name):
        self.create_model(name)
        # From here on its latest version is no longer the one that was predicted with, and it is not deleted or aliased.
        self.names.remove(name)
        self.ledger.predictions.pop(name)
        job = self.client.post("/v1/jobs", {"model": name, "data": XOR, "epochs": 40, "batch_size": 2, "seed": 3})
        self.ledger.jobs[job["id"]] = job["spec"]
        version = self.client.wait_for(job["id"], 30.0, poll=0.01)["version"]
        path = f"/v1/models/{name}/versions/{version}/parameters"
        self.ledger.parameters[path] = self.client.raw("GET", path)
        self.ledger.histories[job["id"]] = self.client.losses(job["id"])
        self.ledger.predictions[name] = (XOR["inputs"], self.client.predict_raw(name, XOR["inputs"]))


def idle_round(server, ledger, rng, number):
    """One series of writes with a kill in it, or after it."""
    during = rng.random() < 0.7
    writer = Writer(Client(server.url), ledger, rng, f"idle{number}")
    before = ledger.count
    timer = threading.Timer(rng.uniform(0.02, 1.5), server.process.kill)
    began = time.monotonic()
    if during:
        timer.start()
    try:
        for write in range(200 if during else 12):
            writer.write(write)
    except GONE:
        status = server.wait_for_end(5.0)
        require(status is not None, "the server stopped answering")
        require(status == -signal.SIGKILL, f"the server ended by itself with {status}\n{server.log_tail()}")
    killed = time.monotonic() - began
    timer.cancel()
    server.kill()
    writer.client.close()
    ready = server.start()
    client = Client(server.url)
    ledger.check(client)
    client.close()
    when = "during the writes" if during else "after the writes"
    return f"{ledger.count - before:>4} acknowledged, killed {when} at {killed:.2f} s, ready in {ready:.2f} s, all there"


class Training:
    """The job that is killed, and its undisturbed run."""

    MODEL = {"inputs": 16, "layers": [{"units": 48, "activation": "tanh"}, {"units": 24, "activation": "relu"},
                                      {"units": 3, "activation": "softmax"}],
             "loss": "cross_entropy", "preprocess": "standardize", "dtype": "float32", "seed": 11}

    def __init__(self, client, rng, kind, how):
        self.kind, self.how = kind, how
        rows = [",".join(f"{rng.gauss(0, 1):.4f}" for _ in range(16)) + "," + rng.choice("abc") for _ in range(3001)]
        header = ",".join(f"x{column}" for column in range(16)) + ",y"
        client.upload(f"{kind}-data", "\n".join([header, *rows, ""]).encode())
        self.probe = [[rng.gauss(0, 1) for _ in range(16)] for _ in range(20)]
        self.epochs = 10
        began = time.monotonic()
        client.wait_for(self.start(client, f"{kind}-calibration"), 120.0)
        self.epochs = max(20, min(4000, round(10 * REFERENCE_SECONDS / (time.monotonic() - began))))
        began = time.monotonic()
        self.reference = f"{kind}-reference"
        job = self.start(client, self.reference)
        version = client.wait_for(job, 120.0)["version"]
        self.seconds = time.monotonic() - began
        self.total = client.get(f"/v1/jobs/{job}")["progress"]["epochs"]
        self.history = stripped(client.losses(job))
        self.report = report(client, job)
        self.parameters = parameters(client, self.reference, version)
        self.steady = client.predict_raw(self.reference, self.probe)
        require([row["epoch"] for row in self.history] == list(range(1, self.epochs + 1)), "the undisturbed run has gaps")

    def start(self, client, name):
        client.post("/v1/models", {"name": name, **self.MODEL})
        return client.post("/v1/jobs", {
            "model": name, "data": {"dataset": f"{self.kind}-data", "target": "y"}, **self.how,
            "optimizer": {"type": "gradient_descent", "learning_rate": 0.05}, "epochs": self.epochs, "batch_size": 7,
            "shuffle": True, "seed": 5,
        })["id"]

    def round(self, server, rng, number):
        """One job, killed once or twice at a random moment."""
        name = f"{self.kind}-{number}"
        client = Client(server.url)
        job = self.start(client, name)
        kills, slowest = [], 0.0
        for _ in range(2 if rng.random() < 0.3 else 1):
            time.sleep(rng.uniform(0.0, 0.9) * self.seconds)
            attempt, seen = self.look(client, job)
            server.kill()
            client.close()
            server.start()
            client = Client(server.url)
            kills.append(seen)
            slowest = max(slowest, take_up(client, job, attempt))
            require(client.predict_raw(self.reference, self.probe) == self.steady, "another model predicts other bytes")
        version = client.wait_for(job, 60.0 + 10 * self.seconds)["version"]
        history = stripped(client.losses(job))
        epochs = [row["epoch"] for row in history]
        require(epochs == list(range(1, self.epochs + 1)), f"epochs are not 1..{self.epochs} once each: {epochs}")
        require(history == self.history, f"the loss history differs from epoch {first_difference(history, self.history)} on")
        require(report(client, job) == self.report, "the report differs")
        require(parameters(client, name, version) == self.parameters, "the parameters have other bytes")
        predicted = json.loads(client.predict_raw(name, self.probe))["outputs"]
        require(predicted == json.loads(self.steady)["outputs"], "the predictions differ from the undisturbed run's")
        client.close()
        where = " and ".join(f"epoch {seen}" for seen in kills)
        return f"killed at {where} of {self.total}, taken up in {slowest:.2f} s, same bits"

    def look(self, client, job):
        """The attempt and the epochs done just before the kill; what was seen must be what the undisturbed run had."""
        seen = stripped(client.losses(job))
        require(seen == self.history[: len(seen)], "the loss history differs before the kill")
        state = client.get(f"/v1/jobs/{job}")
        return state["attempt"], state["progress"]["epoch"]


def take_up(client, job, attempt):
    """Seconds until a job found at start is running again: a new attempt at it, or its end."""
    began = time.monotonic()
    while True:
        state = client.get(f"/v1/jobs/{job}")
        waited = time.monotonic() - began
        if state["status"] == "succeeded" or (state["status"] == "running" and state["attempt"] > attempt):
            return waited
        require(state["status"] in ("queued", "running"), f"job {job} is {state['status']} after the kill: {state['error']}")
        require(waited < TAKE_UP_LIMIT, f"job {job} was not taken up within {TAKE_UP_LIMIT} s")
        time.sleep(0.02)


def stripped(rows):
    return [{field: value for field, value in row.items() if field != "seconds"} for row in rows]


def first_difference(found, expected):
    return next((row["epoch"] for row, other in zip(found, expected) if row != other), "the end")


def report(client, job):
    """What the job came to, without its id."""
    return {**client.get(f"/v1/jobs/{job}/report"), "job": None}


def parameters(client, name, version):
    """The bytes of a version's parameters, without the model's name."""
    content = client.raw("GET", f"/v1/models/{name}/versions/{version}/parameters")
    return content.replace(f'"{name}"'.encode(), b'""')


def run(binary, rounds, seed):
    rng = random.Random(seed)
    misses = 0
    with tempfile.TemporaryDirectory(prefix="gradientd-kill-") as data_dir:
        server = Server(binary, data_dir)
        server.start()
        try:
            ledger = Ledger()
            training = Training(Client(server.url), rng, "training", {"validation": {"fraction": 0.2}})
            folds = Training(Client(server.url), rng, "folds", {"cross_validation": {"folds": 3}})
            for job in (training, folds):
                print(f"undisturbed {job.kind}: {job.total} epochs in {job.seconds:.1f} s", flush=True)
            plans = [("idle", lambda number: idle_round(server, ledger, rng, number)),
                     ("training", lambda number: training.round(server, rng, number)),
                     ("folds", lambda number: folds.round(server, rng, number))]
            for kind, plan in plans:
                for number in range(1, rounds + 1):
                    misses += told(kind, number, plan, server)
            client = Client(server.url)
            misses += told("at the end", "", lambda _: ledger.check(client) or f"{ledger.count} writes, all there", server)
            client.close()
            server.stop()
        finally:
            if server.process.poll() is None:
                server.kill()
    print(f"{3 * rounds} rounds, {misses} with a miss")
    return 1 if misses else 0


def told(kind, number, plan, server):
    """Runs a round and prints its line; 1 where it missed."""
    try:
        print(f"{kind:<10} {number:>3}  {plan(number)}", flush=True)
        return 0
    except (Miss, Refused, RuntimeError, KeyError, *GONE) as miss:
        print(f"{kind:<10} {number:>3}  MISS {type(miss).__name__}: {miss}", flush=True)
        if server.process.poll() is not None:
            server.start()
        return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--rounds", type=int, default=10, help="of each kind, at most 100")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the writes")
    arguments = parser.parse_args()
    return run(arguments.binary, min(arguments.rounds, 100), arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
