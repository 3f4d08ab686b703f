#!/usr/bin/env python3
"""Cancels jobs at every moment, deletes what is in use and fills the queue, and looks at what becomes of it.

    python3 tests/torture/moves.py --binary target/release/gradientd --cancels 50 --seed 1

Cancel: a job that waits, one that runs on a single layer of 4096 x 4096, one that has ended (409), one that is cancelled already
(200), and --cancels of a usual job at random moments, also while it stores a checkpoint: each must be cancelled within --cancel-seconds, whatever
it was doing, and never become anything else; the last good version stays served with the same bytes.
Deletion: a model that a job trains is not deleted (409); one that is predicted goes at once, predictions are answered with the right bytes
or with 404, and a new model of that name answers as itself.
Queue: one job more than may wait is refused with 503 or 429 and Retry-After, and is not stored. Exits 1 on any miss.
"""

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True

import watcher  # noqa: E402
from daemon import Client  # noqa: E402
from long_job import LongJob, epoch, once  # noqa: E402
from prepared import Prepared  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from scripted import ON_TABLE, XOR, job, model  # noqa: E402

JOB_SECONDS = 5.0
WIDE = 4096


class Cancelling:
    """Cancels jobs and knows how long each took until it was cancelled."""

    def __init__(self, client, limit):
        self.client, self.limit, self.seconds = client, limit, []

    def cancel(self, made):
        """Cancels a job and waits until it is; the seconds that this took."""
        began = time.monotonic()
        status, said = self.client.outcome("POST", f"/v1/jobs/{made}/cancel")
        require(status == 200, f"a cancel is answered with {status}: {said}")
        state = once(self.client, made, lambda state: state["status"] != "running" or time.monotonic() - began > 3 * self.limit)
        took = time.monotonic() - began
        require(state["status"] == "cancelled" and took <= self.limit, f"after {took:.2f} s the job is {state['status']}")
        self.seconds.append(took)
        return took


def running(client, made):
    once(client, made, lambda state: state["status"] == "running")


def long(name):
    """A job that goes on for minutes."""
    return job(name, data=ON_TABLE, epochs=100_000)


def queued(client, cancelling):
    first = client.post("/v1/jobs", long("one"))["id"]
    running(client, first)
    waiting = client.post("/v1/jobs", long("other"))["id"]
    took = cancelling.cancel(waiting)
    require(client.get(f"/v1/jobs/{waiting}")["attempt"] == 0, "the cancelled job was started")
    cancelling.cancel(first)
    return f"cancelled in {took * 1000:.0f} ms"


def twice(client, cancelling):
    made = client.post("/v1/jobs", long("one"))["id"]
    running(client, made)
    cancelling.cancel(made)
    before = client.get(f"/v1/jobs/{made}")
    status, said = client.outcome("POST", f"/v1/jobs/{made}/cancel")
    require(status == 200 and said == before, f"a second cancel is answered with {status}: {said}")
    return "200 and the same job"


def finished(client, _):
    made = client.post("/v1/jobs", job("one"))["id"]
    ended = client.wait_for(made, 30.0)
    status, said = client.outcome("POST", f"/v1/jobs/{made}/cancel")
    require(status == 409, f"the cancel of an ended job is answered with {status}: {said}")
    require(client.get(f"/v1/jobs/{made}") == ended, "an ended job has changed")
    return f"409: {said['detail']}"


def wide(client, cancelling):
    """A step of this job takes long by itself."""
    rng = random.Random(1)
    layers = [{"units": WIDE, "activation": "tanh"}]
    client.post("/v1/models", {"name": "wide", "inputs": WIDE, "layers": layers, "seed": 1})
    rows = [[round(rng.random(), 2) for _ in range(WIDE)] for _ in range(64)]
    took = []
    for wait in (0.0, 0.5, 1.5):
        made = client.post("/v1/jobs", {"model": "wide", "data": {"inputs": rows, "targets": rows}, "epochs": 1000, "batch_size": 64})["id"]
        running(client, made)
        time.sleep(wait)
        took.append(cancelling.cancel(made))
    return "cancelled in " + ", ".join(f"{seconds * 1000:.0f} ms" for seconds in took)


def many(cancelling, count, rng, trained):
    """A usual job, cancelled again and again."""
    client, before = cancelling.client, len(cancelling.seconds)
    for number in range(count):
        made = trained.start(client, f"cancelled-{number}")
        time.sleep(rng.uniform(0.0, 0.4))
        cancelling.cancel(made)
        state = client.get(f"/v1/jobs/{made}")
        require(state["version"] is None, "a cancelled job has published a version")
        kept = client.get(f"/v1/jobs/{made}/checkpoints")["data"]
        require(epoch(state) == 0 or kept and kept[0]["epoch"] == epoch(state), f"the checkpoint of epoch {epoch(state)} is not kept")
        client.send("DELETE", f"/v1/models/cancelled-{number}")
    took = cancelling.seconds[before:]
    median, p99 = (watcher.percentile(took, share) * 1000 for share in (0.5, 0.99))
    return f"{len(took)} cancelled, median {median:.0f} ms, p99 {p99:.0f} ms"


def while_checkpointing(client, cancelling, trained):
    """A pause makes a checkpoint; the cancel comes on its heels."""
    for number in range(10):
        made = trained.start(client, f"paused-{number}")
        once(client, made, lambda state: epoch(state) > 0)
        client.send("POST", f"/v1/jobs/{made}/pause")
        cancelling.cancel(made)
    return f"10 cancelled, slowest {max(cancelling.seconds[-10:]) * 1000:.0f} ms"


def deleted_in_training(client, cancelling):
    made = client.post("/v1/jobs", long("one"))["id"]
    running(client, made)
    status, said = client.outcome("DELETE", "/v1/models/one")
    require(status == 409, f"the deletion of a model that is trained is answered with {status}")
    cancelling.cancel(made)
    require(client.predict_raw("one", XOR["inputs"]), "the model does not answer")
    return f"409: {said['detail']}"


def deleted_in_use(client, url):
    """Predictions go on while their model goes and comes."""
    answers, faults, stopped = [], [], threading.Event()

    def predict():
        asking = Client(url)
        while not stopped.is_set():
            try:
                status, said = asking.outcome("POST", "/v1/models/in-use/predict", {"inputs": XOR["inputs"]})
                answers.append((status, json.dumps(said["outputs"]) if status == 200 else None))
            except GONE as gone:
                faults.append(repr(gone))
        asking.close()

    right = set()
    threads = [threading.Thread(target=predict, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for seed in range(30):
        client.post("/v1/models", model("in-use", seed=seed))
        right.add(json.dumps(json.loads(client.predict_raw("in-use", XOR["inputs"]))["outputs"]))
        client.send("DELETE", "/v1/models/in-use")
        require(client.find("/v1/models/in-use") is None, "a deleted model is there")
    stopped.set()
    for thread in threads:
        thread.join()
    wrong = [answer for answer in answers if answer[0] not in (200, 404) or answer[0] == 200 and answer[1] not in right]
    require(not faults and not wrong, f"{faults[:1]} {wrong[:1]}")
    found = sum(status == 200 for status, _ in answers)
    require(found, "no prediction found the model")
    return f"30 deletions, {found} predictions answered and {len(answers) - found} with 404"


def full_queue(client, url):
    limit = limits(client)["queued_jobs"]
    first = client.post("/v1/jobs", long("one"))["id"]
    running(client, first)
    waiting = [client.post("/v1/jobs", long("other"))["id"] for _ in range(limit)]
    before = counted(client)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30.0)
    connection.request("POST", "/v1/jobs", json.dumps(long("other")), {"Content-Type": "application/json"})
    response = connection.getresponse()
    said = json.loads(response.read())
    connection.close()
    require(response.status in (429, 503), f"one more is answered with {response.status}: {said}")
    require(response.headers["Retry-After"], "there is no Retry-After")
    require(counted(client) == before, "the refused job is stored")
    for made in [*waiting, first]:
        client.send("POST", f"/v1/jobs/{made}/cancel")
    return f"{limit} wait, one more: {response.status}, Retry-After {response.headers['Retry-After']}: {said['detail']}"


def limits(client):
    """The limits by name, however deep they stand."""
    found, heap = {}, [client.get("/v1/limits")]
    while heap:
        for name, value in heap.pop().items():
            found[name] = value
            if isinstance(value, dict):
                heap.append(value)
    return found


def counted(client):
    """How many jobs are stored."""
    count, after = 0, ""
    while True:
        page = client.get(f"/v1/jobs?limit=100{after}")
        count += len(page["data"])
        if not page["has_more"]:
            return count
        after = f"&after={page['data'][-1]['id']}"


def run(binary, cancels, limit, seed):
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-moves-") as folder:
        prepared = Prepared(binary, folder, lambda client: [client.post("/v1/models", model(name)) for name in ("one", "other")])
        with prepared.server(prepared.data_dir) as server:
            server.start()
            client = Client(server.url)
            trained = LongJob(client, JOB_SECONDS)
            watch = watcher.of_served(server, prepared.served, pause=0.02)
            watch.start()
            cancelling = Cancelling(client, limit)
            for name, check in [("cancel a job that waits", lambda: queued(client, cancelling)),
                                ("cancel twice", lambda: twice(client, cancelling)),
                                ("cancel an ended job", lambda: finished(client, cancelling)),
                                (f"cancel one layer of {WIDE} x {WIDE}", lambda: wide(client, cancelling)),
                                (f"cancel {cancels} usual jobs", lambda: many(cancelling, cancels, rng, trained)),
                                ("cancel while checkpointing", lambda: while_checkpointing(client, cancelling, trained)),
                                ("delete a model that is trained", lambda: deleted_in_training(client, cancelling)),
                                ("delete a model that is used", lambda: deleted_in_use(client, server.url)),
                                ("fill the queue", lambda: full_queue(client, server.url)),
                                ("predictions meanwhile", lambda: f"{watch.stop()} answered, the same bytes")]:
                outcomes.append(is_kept(name, check))
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return summary("moves", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--cancel-seconds", type=float, default=1.0, help="that a cancel may take; a machine that others use needs more")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), min(arguments.cancels, 1000), arguments.cancel_seconds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
