#!/usr/bin/env python3
"""Measures how fast a gradientd is back after a kill, and what a large checkpoint costs others.

    python3 tests/torture/recovery.py --binary target/release/gradientd --jobs 1000 --seconds 60

Recovery: with --jobs jobs that have ended, of ten models with ten versions each, one that runs and twenty that wait, the server is
killed: the seconds until it is ready and until the job runs again. At most 2 s and 10 s.
Checkpoint: a network of 8.7 million parameters trains with Adam, whose checkpoints have some 100 MB, for --seconds. Small models are
created beside it all the time: their latency, and that of predictions, while a checkpoint is being stored and else, and how much
longer an epoch takes in which one falls. Then the job is paused, which stores one more. A write must not wait for longer than 1 s.
Prints the figures. Exits 1 on any miss.
"""

import argparse
import datetime
import os
import random
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import watcher  # noqa: E402
from daemon import Client  # noqa: E402
from long_job import epoch, events, once  # noqa: E402
from prepared import Prepared  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import ON_TABLE, job, model  # noqa: E402

READY_LIMIT, RUNNING_LIMIT, WRITE_LIMIT = 2.0, 10.0, 1.0
MODELS, WAITING = 10, 20
LARGE = {"name": "large", "inputs": 2048, "seed": 1,
         "layers": [{"units": 4096, "activation": "tanh"}, {"units": 64, "activation": "identity"}]}
ROWS = 64
# A checkpoint is encoded and written before its event is.
BEFORE_EVENT = 3.0


def recovery(prepared, jobs, kills):
    with prepared.copy() as data_dir, prepared.server(data_dir) as server:
        server.start()
        client = Client(server.url)
        for number in range(MODELS):
            client.post("/v1/models", model(f"m{number}"))
        waiting = []
        for number in range(jobs):
            waiting.append(client.post("/v1/jobs", job(f"m{number % MODELS}", epochs=5))["id"])
            if len(waiting) == 100:
                for made in waiting:
                    client.wait_for(made, 60.0, poll=0.01)
                waiting = []
        for made in waiting:
            client.wait_for(made, 60.0, poll=0.01)
        client.post("/v1/models", model("long"))
        running = client.post("/v1/jobs", job("long", data=ON_TABLE, epochs=100_000))["id"]
        for _ in range(WAITING):
            client.post("/v1/jobs", job("served"))
        ready, back = [], []
        for _ in range(kills):
            before = once(client, running, lambda state: epoch(state) > 0)["attempt"]
            time.sleep(1.0)
            server.kill()
            began = time.monotonic()
            ready.append(server.start())
            client = Client(server.url)
            once(client, running, lambda state: state["status"] == "running" and state["attempt"] > before)
            back.append(time.monotonic() - began)
        versions = sum(len(client.get(f"/v1/models/m{number}/versions?limit=100")["data"]) for number in range(MODELS))
        size = os.path.getsize(os.path.join(data_dir, "gradientd.db")) / 1e6
        client.close()
    require(max(ready) <= READY_LIMIT, f"ready after {max(ready):.2f} s")
    require(max(back) <= RUNNING_LIMIT, f"the job runs again after {max(back):.2f} s")
    return f"{jobs} jobs and {versions} versions in {size:.0f} MB: ready after {shown(ready)}, the job runs again after {shown(back)}"


def shown(seconds):
    return " / ".join(f"{one:.2f}" for one in seconds) + " s"


class Creator(threading.Thread):
    """Creates small models and notes when each began and how long it took."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.client, self.stopped, self.took = Client(url), threading.Event(), []

    def run(self):
        while not self.stopped.wait(0.01):
            began = time.time()
            self.client.post("/v1/models", model(f"small-{len(self.took)}"))
            self.took.append((began, time.time() - began))
        self.client.close()


def at(event):
    return datetime.datetime.fromisoformat(event["created_at"].replace("Z", "+00:00")).timestamp()


def checkpoint(prepared, seconds):
    rng = random.Random(1)
    with prepared.copy() as data_dir, prepared.server(data_dir) as server:
        server.start()
        client = Client(server.url, timeout=120.0)
        made = client.post("/v1/models", LARGE)
        inputs = [[round(rng.random(), 2) for _ in range(LARGE["inputs"])] for _ in range(ROWS)]
        targets = [[round(rng.random(), 2) for _ in range(64)] for _ in range(ROWS)]
        started = client.post("/v1/jobs", {"model": "large", "data": {"inputs": inputs, "targets": targets}, "epochs": 100_000,
                                           "batch_size": ROWS, "optimizer": {"type": "adam", "learning_rate": 0.0001}})["id"]
        once(client, started, lambda state: epoch(state) > 0, 60.0)
        creator, watch = Creator(server.url), watcher.of_served(server, prepared.served)
        creator.start()
        watch.start()
        time.sleep(seconds)
        pausing = time.time()
        client.send("POST", f"/v1/jobs/{started}/pause")
        once(client, started, lambda state: state["status"] == "paused", 120.0)
        paused = time.time()
        creator.stopped.set()
        creator.join()
        predictions = watch.stop()
        found = events(client, started)
        kept = client.get(f"/v1/jobs/{started}/checkpoints")["data"]
        client.send("POST", f"/v1/jobs/{started}/cancel")
        client.close()
        server.stop(30.0)
    stored = [at(event) for event in found if event["type"] == "checkpoint"]
    require(stored, f"no checkpoint was stored: {kept}")
    beside = [took for began, took in creator.took
              if any(one - BEFORE_EVENT <= began + took and began <= one for one in [*stored, paused])]
    else_ = [took for began, took in creator.took if took not in beside]
    ends = [at(event) for event in found if event["type"] == "epoch" and at(event) < pausing]
    epochs = [(end, end - begin) for begin, end in zip(ends, ends[1:])]
    usual = watcher.percentile([took for _, took in epochs], 0.5) if epochs else 0.0
    with_one = [took for end, took in epochs if any(end - took <= one <= end for one in stored)]
    require(max(took for _, took in creator.took) <= WRITE_LIMIT, f"a write took {max(took for _, took in creator.took):.2f} s")
    return (f"{made['parameter_count'] / 1e6:.1f} million parameters, {len(stored)} checkpoints in {seconds:.0f} s and at the pause, "
            f"which took {paused - pausing:.2f} s; {len(creator.took)} writes beside: {latency(else_)}; "
            f"while a checkpoint is stored: {latency(beside)}; "
            f"epochs take {usual:.2f} s, those with a checkpoint {', '.join(f'{took:.2f}' for took in with_one) or '-'} s; "
            f"{predictions} predictions, slowest {max(watch.seconds) * 1000:.0f} ms")


def latency(took):
    if not took:
        return "none"
    median, p99 = (watcher.percentile(took, share) * 1000 for share in (0.5, 0.99))
    return f"median {median:.1f} ms, p99 {p99:.0f} ms, most {max(took) * 1000:.0f} ms"


def run(binary, jobs, kills, seconds):
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-recovery-") as folder:
        prepared = Prepared(binary, folder)
        outcomes.append(is_kept("recovery", lambda: recovery(prepared, jobs, kills)))
        outcomes.append(is_kept("a large checkpoint", lambda: checkpoint(prepared, seconds)))
    return summary("recovery", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for which the large network trains")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), min(arguments.jobs, 10_000), min(arguments.kills, 20), min(arguments.seconds, 600.0))


if __name__ == "__main__":
    sys.exit(main())
