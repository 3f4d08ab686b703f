#!/usr/bin/env python3
"""Looks whether what kills the server again and again is given up, and all else goes on (T5).

    python3 tests/torture/poison.py --binary target/release/gradientd

A job is killed with the server as soon as it runs, before it can have a checkpoint, as often as a server allows by default (3): the
next start must say that it failed with `crashed_repeatedly`, serve, and train another job. The same of a batch prediction. A job
that makes a checkpoint between its crashes must get on, however many there are. Then again with `--max-attempts 1`.
Prints a line per check and exits 1 on any miss.
"""

import argparse
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client, Server, known_options  # noqa: E402
from promise import fail, is_kept, require, summary  # noqa: E402

XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}
PATIENCE = 30.0


class Poisoned:
    """A server whose jobs end it."""

    def __init__(self, binary, data_dir, options=()):
        self.server = Server(binary, data_dir, options)
        self.count = 0
        self.restart()

    def restart(self):
        if self.server.process is not None:
            self.server.kill()
        self.server.start()
        self.client = Client(self.server.url)

    def model(self):
        self.count += 1
        name = f"model{self.count}"
        self.client.post("/v1/models", {"name": name, "inputs": 2, "layers": [{"units": 8, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]})
        return name

    def long_job(self):
        """One of many short epochs, for a minute or more."""
        rows = {"inputs": [[n % 7, n % 5] for n in range(500)], "targets": [[n % 2] for n in range(500)]}
        spec = {"model": self.model(), "data": rows, "epochs": 100_000, "batch_size": 5}
        return f"/v1/jobs/{self.client.post('/v1/jobs', spec)['id']}"

    def long_prediction(self):
        """One that takes some seconds: rows that are many, by a network that is wide."""
        rng = random.Random(1)
        body = "x,y\n" + "".join(f"{rng.randrange(1000)},{rng.choice('ab')}\n" for _ in range(200_000))
        self.client.upload("rows", body.encode())
        self.client.post("/v1/models", {"name": "wide", "dataset": "rows", "target": "y",
                                        "hidden": [{"units": 1500, "activation": "relu"}, {"units": 1500, "activation": "relu"}]})
        self.client.upload("few", b"x,y\n1,a\n2,b\n3,a\n")
        job = self.client.post("/v1/jobs", {"model": "wide", "data": {"dataset": "few", "target": "y"}, "epochs": 1})
        self.client.wait_for(job["id"], PATIENCE)
        made = self.client.post("/v1/models/wide/predictions", {"dataset": "rows"})
        return f"/v1/models/wide/predictions/{made['id']}"

    def wait_until(self, path, holds, what):
        deadline = time.monotonic() + PATIENCE
        while not holds(found := self.client.get(path)):
            require(time.monotonic() < deadline, f"{path} is not {what} within {PATIENCE} s: {found['status']}, {found['error']}")
            time.sleep(0.005)
        return found

    def kill_at_work(self, path):
        found = self.wait_until(path, lambda found: found["status"] != "queued", "running")
        require(found["status"] == "running", f"{path} is {found['status']}: {found['error']}")
        self.restart()

    def is_given_up(self, path, kills):
        for _ in range(kills):
            self.kill_at_work(path)
        found = self.client.get(path)
        require(found["status"] == "failed", f"after {kills} kills {path} is {found['status']}")
        require(found["error"]["code"] == "crashed_repeatedly", f"{path} failed with {found['error']}")
        require(str(kills) in found["error"]["detail"], f"the detail does not say how often: {found['error']['detail']}")
        other = self.client.post("/v1/jobs", {"model": self.model(), "data": XOR, "epochs": 5})["id"]
        self.client.wait_for(other, PATIENCE)
        self.restart()
        require(self.client.get(path) == found, f"{path} has changed after another start")
        return f"killed {kills} times, given up at the next start; another job trains"

    def gets_on(self):
        """Two kills before each checkpoint, three times over, are no crash in a row."""
        path, epoch, kills = self.long_job(), 0, 0
        for _ in range(3):
            for _ in range(2):
                self.kill_at_work(path)
                kills += 1
            kept = f"{path}/checkpoints"
            deadline = time.monotonic() + PATIENCE
            while not (found := self.client.get(kept)["data"]) or found[0]["epoch"] <= epoch:
                require(time.monotonic() < deadline, f"{path} makes no checkpoint")
                time.sleep(0.05)
            epoch = found[0]["epoch"]
        status = self.client.get(path)["status"]
        require(status == "running", f"{path} is {status}")
        self.client.send("POST", f"{path}/cancel")
        return f"killed {kills} times with a checkpoint after every second, still running at epoch {epoch}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    arguments = parser.parse_args()
    if not known_options(arguments.binary, "--max-attempts=1"):
        fail(f"{arguments.binary} has no --max-attempts: it gives nothing up")
    outcomes = []
    for options, kills in (((), 3), (("--max-attempts=1",), 1)):
        with tempfile.TemporaryDirectory(prefix="gradientd-poison-") as data_dir:
            poisoned = Poisoned(arguments.binary, data_dir, options)
            try:
                outcomes.append(is_kept(f"a job, {kills} in a row", lambda: poisoned.is_given_up(poisoned.long_job(), kills)))
                if not options:
                    outcomes.append(is_kept("a batch prediction", lambda: poisoned.is_given_up(poisoned.long_prediction(), kills)))
                    outcomes.append(is_kept("a job with checkpoints", poisoned.gets_on))
            finally:
                poisoned.server.kill()
    return summary("crashes in a row", outcomes)


if __name__ == "__main__":
    sys.exit(main())
