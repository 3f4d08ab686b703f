#!/usr/bin/env python3
"""Uses a gradientd for long, in the same way over and over, and looks that it does not grow (T48).

    python3 tests/torture/soak.py --binary target/release/gradientd --seconds 3600

--clients clients each declare a model, upload a table, train, predict, inspect, publish, predict the table, and delete what they made,
again and again; a tenth of what they ask is wrong in one of several ways. The server keeps few ended jobs, versions and results. Each second
its memory, threads, descriptors and files are measured. The first quarter of the time lets it come to its size; then the median of the last
quarter may be above that of the second by what 1 MiB an hour comes to, and 4 MiB for what a median may err by; threads and descriptors by 2;
files by a tenth and 4 MiB. Prints figures and exits 1 on any miss, and where a request was answered otherwise than it should be.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from daemon import Client, Refused, Server  # noqa: E402
from figures import MIB, Process  # noqa: E402
from promise import Miss, is_kept, require, summary  # noqa: E402

KEPT = ["--keep-jobs=20", "--keep-versions=3", "--keep-checkpoints=5", "--keep-predictions=5"]
PER_HOUR, ERR, MORE_FILES, FEW = MIB, 4 * MIB, 1.1, 2
# The write-ahead log is cut to so much, and may be beyond it by what is written meanwhile.
LOG = 64 * MIB
# What is wrong, and the statuses that say so.
WRONG = [
    ("POST", "/v1/models", {"name": "no name", "inputs": 0}, {422}),
    ("POST", "/v1/models/absent/predict", {"inputs": [[1]]}, {404}),
    ("GET", "/v1/nowhere", None, {404}),
    ("DELETE", "/v1/models", None, {405}),
    ("POST", "/v1/jobs", {"model": "absent", "data": {"inputs": [[1]], "targets": [[1]]}}, {404, 422}),
    ("POST", "/v1/models", {"name": "wide", "inputs": 10, "layers": [{"units": 1 << 40, "activation": "tanh"}]}, {422}),
]


class Used:
    """A server that is used until it is over, and what went wrong meanwhile."""

    def __init__(self, url, seconds):
        self.url, self.ends = url, time.monotonic() + seconds
        self.asked, self.rounds, self.wrong = 0, 0, []

    def is_over(self):
        return bool(self.wrong) or time.monotonic() > self.ends

    def client(self, number):
        draws = random.Random(number)
        try:
            with Client(self.url) as client:
                while not self.is_over():
                    self.round(client, draws, f"soak-{number}")
        except (Miss, Refused, RuntimeError, OSError, KeyError) as miss:
            self.wrong.append(f"{type(miss).__name__}: {miss}")

    def round(self, client, draws, name):
        rows = [[draws.random() for _ in range(4)] for _ in range(200)]
        targets = [[sum(row)] for row in rows]
        client.post("/v1/models", {"name": name, "inputs": 4, "layers": [{"units": 16, "activation": "tanh"}, {"units": 1, "activation": "identity"}]})
        table = "a,b,c,d,t\n" + "".join(",".join(f"{value:.4f}" for value in row + sums) + "\n" for row, sums in zip(rows, targets))
        client.upload(name, table.encode())
        for data in ({"inputs": rows, "targets": targets}, {"dataset": name, "target": "t"}):
            job = client.post("/v1/jobs", {"model": name, "data": data, "epochs": 40, "seed": draws.randrange(1 << 30)})
            client.wait_for(job["id"], 60)
            client.losses(job["id"])
            for _ in range(20):
                client.predict_raw(name, rows[: draws.randrange(1, 100)])
                self.ask_wrongly(client, draws)
            client.post(f"/v1/models/{name}/gradients", {"inputs": rows[:5], "targets": targets[:5]})
        batch = client.post(f"/v1/models/{name}/predictions", {"dataset": name})
        client.wait_at(f"/v1/models/{name}/predictions/{batch['id']}", 60)
        client.raw("GET", f"/v1/models/{name}/predictions/{batch['id']}/result")
        client.raw("GET", "/metrics")
        for path in (f"/v1/models/{name}", f"/v1/datasets/{name}"):
            client.send("DELETE", path)
        self.asked += 60
        self.rounds += 1

    def ask_wrongly(self, client, draws):
        if draws.randrange(7):
            return
        method, path, body, expected = draws.choice(WRONG)
        status, problem = client.outcome(method, path, body)
        require(status in expected, f"{method} {path} was answered with {status}: {problem}")


def measured(server):
    """Memory, threads, descriptors, and the bytes of files; of the log only what is beyond its bound."""
    process, files = Process(server.process.pid), 0
    for entry in os.scandir(server.data_dir):
        files += max(0, entry.stat().st_size - (LOG if entry.name.endswith("-wal") else 0))
    return process.resident(), process.threads(), process.descriptors(), files


def medians(samples):
    return [statistics.median(column) for column in zip(*samples)]


def stays(binary, seconds, clients):
    with tempfile.TemporaryDirectory(prefix="gradientd-soak-") as folder:
        server = Server(binary, os.path.join(folder, "data"), KEPT)
        server.start()
        try:
            used, samples = Used(server.url, seconds), []
            threads = [threading.Thread(target=used.client, args=(number,)) for number in range(clients)]
            for thread in threads:
                thread.start()
            while not used.is_over():
                time.sleep(1)
                samples.append(measured(server))
                if len(samples) % 60 == 0:
                    print(f"  after {len(samples)} s: {samples[-1][0] / MIB:.1f} MiB, {used.rounds} rounds", flush=True)
            for thread in threads:
                thread.join()
            status = server.stop()
        finally:
            server.kill()
    require(not used.wrong, "; ".join(used.wrong[:3]))
    require(status == 0, f"the server ended with {status}")
    quarter = len(samples) // 4
    before, after = medians(samples[quarter:2 * quarter]), medians(samples[-quarter:])
    hours = seconds / 2 / 3600
    told = (f"{used.rounds} rounds, {used.asked} requests: memory {before[0] / MIB:.1f} → {after[0] / MIB:.1f} MiB, threads {before[1]:.0f} → "
            f"{after[1]:.0f}, descriptors {before[2]:.0f} → {after[2]:.0f}, files {before[3] / MIB:.1f} → {after[3] / MIB:.1f} MiB")
    require(after[0] - before[0] <= PER_HOUR * hours + ERR, f"memory grows: {told}")
    require(after[1] - before[1] <= FEW and after[2] - before[2] <= FEW, f"threads or descriptors grow: {told}")
    require(after[3] <= before[3] * MORE_FILES + ERR, f"files grow: {told}")
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--seconds", type=float, default=3600, help="at least 20, at most three days")
    parser.add_argument("--clients", type=int, default=4, help="at most 16")
    arguments = parser.parse_args()
    seconds = max(20.0, min(arguments.seconds, 72 * 3600.0))
    outcomes = [is_kept(f"{seconds:.0f} s of use", lambda: stays(arguments.binary, seconds, min(arguments.clients, 16)))]
    return summary("soak", outcomes)


if __name__ == "__main__":
    sys.exit(main())
