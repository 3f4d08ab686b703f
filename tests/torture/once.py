#!/usr/bin/env python3
"""Sends requests with one Idempotency-Key many times at once, and again after SIGKILL: each must be carried out once (T18).

    python3 tests/torture/once.py --binary target/release/gradientd --times 50

For each kind of request that makes something (a model, a dataset, an append, a job, a batch prediction, the publication of a
checkpoint): so many clients send it at the same moment, with SIGKILL somewhere in between for half of the rounds; then it is sent
once more, and after another SIGKILL once more. All that are answered must be answered with the same status, Location and bytes, all
but one of them as replayed, and one thing must be there. Another body, or another path, under the same key must be refused
with 422 and change nothing.
Prints a line per check and exits 1 on any miss.
"""

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402

XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}
TABLE = b"x,y\n" + b"".join(b"%d,%s\n" % (n % 17, b"ab"[n % 2 : n % 2 + 1]) for n in range(200))
JSON, CSV = "application/json", "text/csv"


class Request:
    """What is sent: its target, and its body as the content of a type."""

    def __init__(self, target, body, content_type=JSON):
        self.target, self.content_type = target, content_type
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(self, url, key):
        """Status, Location, body and whether it was replayed; None where the server is gone."""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60.0)
        try:
            headers = {"Content-Type": self.content_type, "Idempotency-Key": key}
            connection.request("POST", self.target, body=self.body, headers=headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, response.headers["Location"], content, "Idempotent-Replayed" in response.headers
        except GONE:
            return None
        finally:
            connection.close()


class Kind:
    """A kind of request, of which each round makes another one."""

    def __init__(self, status, make, other, count):
        # `make(name)` and `other(name)` are requests, the second with another body; `count(client, name)` counts what came of them.
        self.status, self.make, self.other, self.count = status, make, other, count


def model_spec(name, units=3):
    return {"name": name, "inputs": 2, "layers": [{"units": units, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]}


def table(name, rows=TABLE):
    return Request(f"/v1/datasets?name={name}", rows, CSV)


def labelled(client, path, name):
    return len(client.get(f"{path}?metadata[label]={name}")["data"])


def kinds(base):
    """Every kind; `base` names things that are there: a dataset, a model trained on it, a plain model, a job with a checkpoint."""
    job = lambda name, seed: Request("/v1/jobs", {"model": base["plain"], "data": XOR, "epochs": 3, "seed": seed,  # noqa: E731
                                                  "from": {"version": 1}, "metadata": {"label": name}})
    batch = f"/v1/models/{base['trained']}/predictions"
    predict = lambda name, top: Request(batch, {"dataset": base["dataset"], "version": 2, "top_k": top, "metadata": {"label": name}})  # noqa: E731
    publish = f"/v1/jobs/{base['job']}/checkpoints/{base['epoch']}/publish"
    versions = lambda client, _: len(client.get(f"/v1/models/{base['published']}/versions?limit=100")["data"])  # noqa: E731
    return {
        "a model": Kind(201, lambda name: Request("/v1/models", model_spec(name)), lambda name: Request("/v1/models", model_spec(name, 4)),
                        lambda client, name: int(client.find(f"/v1/models/{name}") is not None)),
        "a dataset": Kind(201, table, lambda name: table(name, TABLE + b"1,a\n"),
                          lambda client, name: int(client.find(f"/v1/datasets/{name}") is not None)),
        "an append": Kind(201, lambda _: Request(f"/v1/datasets/{base['grown']}/rows", TABLE, CSV),
                          lambda _: Request(f"/v1/datasets/{base['grown']}/rows", TABLE + b"1,a\n", CSV),
                          lambda client, _: client.get(f"/v1/datasets/{base['grown']}")["revision"]),
        "a job": Kind(202, lambda name: job(name, 1), lambda name: job(name, 2), lambda client, name: labelled(client, "/v1/jobs", name)),
        "a batch prediction": Kind(202, lambda name: predict(name, 1), lambda name: predict(name, 2),
                                   lambda client, name: labelled(client, batch, name)),
        "a publication": Kind(201, lambda _: Request(publish, b""), lambda _: Request(publish.replace("checkpoints/", "checkpoints/9"), b""),
                              versions),
    }


def prepare(client):
    """The things that requests are about."""
    for name in ("table", "grown"):
        table(name).send(client.url, f"prepare-{name}")
    client.post("/v1/models", {"name": "trained", "dataset": "table", "target": "y"})
    client.wait_for(client.post("/v1/jobs", {"model": "trained", "epochs": 2})["id"], 30.0)
    for name in ("plain", "published"):
        client.post("/v1/models", model_spec(name))
    job = client.post("/v1/jobs", {"model": "published", "data": XOR, "epochs": 2})["id"]
    client.wait_for(job, 30.0)
    epoch = client.get(f"/v1/jobs/{job}/checkpoints")["data"][0]["epoch"]
    return {"dataset": "table", "grown": "grown", "trained": "trained", "plain": "plain", "published": "published", "job": job, "epoch": epoch}


def send_at_once(server, request, key, times, kill_after):
    """What came back to so many clients; where it is asked for, the server is killed meanwhile and started anew."""
    answers, gate = [], threading.Barrier(times + 1)

    def send():
        gate.wait()
        answers.append(request.send(server.url, key))

    threads = [threading.Thread(target=send) for _ in range(times)]
    for thread in threads:
        thread.start()
    gate.wait()
    if kill_after is not None:
        time.sleep(kill_after)
        server.kill()
    for thread in threads:
        thread.join()
    if kill_after is not None:
        server.start()
    return [answer for answer in answers if answer is not None]


def carried_out_once(server, kind, name, times, kill_after):
    request = kind.make(name)
    with Client(server.url) as client:
        before = kind.count(client, name)
    answers = send_at_once(server, request, name, times, kill_after)
    lost = times - len(answers)
    require(kill_after is not None or not lost, f"{lost} requests had no answer")
    answers.append(request.send(server.url, name))
    server.kill()
    server.start()
    answers.append(request.send(server.url, name))
    require(None not in answers, "a request had no answer")
    faults = [answer for answer in answers if answer[0] != kind.status]
    require(not faults, f"{len(faults)} were answered otherwise: {faults[:1]}")
    require(len({answer[:3] for answer in answers}) == 1, f"answers differ: {sorted({answer[:3] for answer in answers})[:2]}")
    first = sum(not replayed for *_, replayed in answers)
    # The one that was carried out may be among those whose answer the kill took.
    require(first == 1 or (first == 0 and lost), f"{first} of {len(answers)} answers are not replayed")
    refused = kind.other(name).send(server.url, name)
    require(refused is not None and refused[0] == 422, f"another request under the key was answered with {refused}")
    problem = json.loads(refused[2])["type"]
    with Client(server.url) as client:
        made = kind.count(client, name) - before
    require(made == 1, f"{made} were made")
    return f"sent {len(answers) + lost} times, {lost} without an answer, one made, one answer; another request: 422 {problem}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--times", type=int, default=50, help="at once, at most 200")
    parser.add_argument("--rounds", type=int, default=2, help="of each kind, every second one with a kill; at most 100")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    rng, outcomes = random.Random(arguments.seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-once-") as data_dir:
        server = Server(arguments.binary, data_dir)
        try:
            server.start()
            with Client(server.url) as client:
                base = prepare(client)
            for number in range(min(arguments.rounds, 100)):
                for what, kind in kinds(base).items():
                    kill_after = rng.uniform(0.0, 0.12) if number % 2 else None
                    name = f"{what.split()[-1]}{number}"
                    label = f"{what}{', killed' if number % 2 else ''}"
                    outcomes.append(is_kept(label, lambda: carried_out_once(server, kind, name, min(arguments.times, 200), kill_after)))
        finally:
            server.kill()
    return summary("one key, many requests", outcomes)


if __name__ == "__main__":
    sys.exit(main())
