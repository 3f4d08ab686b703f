#!/usr/bin/env python3
"""Many writers, many readers, and a client that reads slowly: nobody is turned away, and the write-ahead log stays small (T13, T14).

    python3 tests/torture/contention.py --binary target/release/gradientd --writes 1000

1. Twenty clients each write so many small things (models, aliases, datasets, appends, deletions) while others stream rows of a
   dataset, events of a job, lists and predictions: every answer must be a 2xx, and everything must be there afterwards.
2. A client reads an answer of some 100 MB slowly, twice: the result of a batch prediction, and the parameters of a network as
   safetensors. Meanwhile 2,000 things are written: the -wal file must stay below 64 MiB, and the answer must be whole.
Prints a line per part, with figures, and exits 1 on any miss.
"""

import argparse
import hashlib
import http.client
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402

WAL_LIMIT = 64 << 20
PIECE = 1 << 20
# The server takes 16 uploads at a time and says so to those that are more: that is not what is looked for here.
UPLOADS = threading.BoundedSemaphore(16)
MODEL = {"inputs": 2, "layers": [{"units": 3, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]}
XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}


class Writer:
    """One who writes small things, one after the other; every answer that is no 2xx is an exception."""

    def __init__(self, url, number, seed):
        self.client, self.name, self.rng = Client(url, timeout=120.0), f"writer{number}", random.Random(f"{seed} {number}")
        self.models, self.rows, self.gone, self.seconds, self.fault = {}, {}, [], [], None

    def write(self, times):
        try:
            for number in range(times):
                began = time.monotonic()
                self.rng.choice([self.create, self.create, self.upload, self.append, self.set_alias, self.delete])(f"{self.name}-{number}")
                self.seconds.append(time.monotonic() - began)
        except Exception as fault:
            self.fault = f"{self.name}: {type(fault).__name__}: {fault}"

    def create(self, name):
        self.client.post("/v1/models", {"name": name, **MODEL})
        self.models[name] = {}

    def upload(self, name):
        with UPLOADS:
            self.client.upload(name, b"x,y\n1,a\n2,b\n")
        self.rows[name] = 2

    def append(self, name):
        if not self.rows:
            return self.upload(name)
        table = self.rng.choice(sorted(self.rows))
        with UPLOADS:
            self.client.raw("POST", f"/v1/datasets/{table}/rows", b"x,y\n3,a\n", {"Content-Type": "text/csv"})
        self.rows[table] += 1

    def set_alias(self, name):
        if not self.models:
            return self.create(name)
        model = self.rng.choice(sorted(self.models))
        self.client.send("PUT", f"/v1/models/{model}/aliases/{name}", {"version": 1})
        self.models[model][name] = 1

    def delete(self, name):
        if len(self.models) < 10:
            return self.create(name)
        model = self.rng.choice(sorted(self.models))
        self.client.send("DELETE", f"/v1/models/{model}")
        del self.models[model]
        self.gone.append(model)

    def check(self):
        """Compares everything with what is there; how many things that were."""
        for name, aliases in self.models.items():
            found = self.client.get(f"/v1/models/{name}")["aliases"]
            require(found == aliases, f"model {name} has the aliases {found}, not {aliases}")
        for name, rows in self.rows.items():
            found = self.client.get(f"/v1/datasets/{name}")["rows"]
            require(found == rows, f"dataset {name} has {found} rows, not {rows}")
        for name in self.gone:
            require(self.client.find(f"/v1/models/{name}") is None, f"model {name} was deleted and is there")
        return len(self.models) + len(self.rows) + len(self.gone)


class Reader:
    """One who reads the same again and again until the writers are done."""

    def __init__(self, url, read):
        self.client, self.read, self.count, self.fault, self.done = Client(url, timeout=120.0), read, 0, None, threading.Event()

    def loop(self):
        try:
            while not self.done.is_set():
                self.read(self.client)
                self.count += 1
        except Exception as fault:
            self.fault = f"a reader: {type(fault).__name__}: {fault}"


def stream(client, job):
    """Events of a job as they come, for a while."""
    parts = urllib.parse.urlsplit(client.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60.0)
    try:
        connection.request("GET", f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
        response = connection.getresponse()
        require(response.status == 200, f"the stream of events was answered with {response.status}")
        for _ in range(20):
            response.fp.readline()
    finally:
        connection.close()


def busy(server, writers, writes, seed):
    """Part 1."""
    with Client(server.url) as client:
        client.upload("table", b"x,y\n" + b"".join(b"%d,%d\n" % (n, n % 7) for n in range(100_000)))
        client.post("/v1/models", {"name": "served", **MODEL})
        client.post("/v1/models", {"name": "trained", **MODEL})
        job = client.post("/v1/jobs", {"model": "trained", "data": XOR, "epochs": 100_000, "batch_size": 1})["id"]
        reads = [lambda client: client.get(f"/v1/datasets/table/rows?limit=1000&after={random.randrange(99_000)}"),
                 lambda client: stream(client, job), lambda client: client.get("/v1/models?limit=100"),
                 lambda client: client.predict_raw("served", [[0, 1]]), lambda client: client.losses(job)]
        all_writers = [Writer(server.url, number, seed) for number in range(writers)]
        readers = [Reader(server.url, read) for read in reads]
        read_threads = [threading.Thread(target=reader.loop) for reader in readers]
        threads = [threading.Thread(target=writer.write, args=[writes]) for writer in all_writers]
        began = time.monotonic()
        for thread in read_threads + threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        for reader in readers:
            reader.done.set()
        for thread in read_threads:
            thread.join()
        for each in all_writers + readers:
            require(each.fault is None, each.fault)
        things = sum(writer.check() for writer in all_writers)
        if client.get(f"/v1/jobs/{job}")["status"] in ("queued", "running"):
            client.send("POST", f"/v1/jobs/{job}/cancel")
    seconds = sorted(second for writer in all_writers for second in writer.seconds)
    return (f"{len(seconds)} writes by {writers} clients in {took:.1f} s, all 2xx, median {1000 * statistics.median(seconds):.0f} ms, "
            f"p99 {1000 * seconds[int(0.99 * len(seconds))]:.0f} ms, slowest {1000 * seconds[-1]:.0f} ms, "
            f"beside {sum(reader.count for reader in readers)} reads; {things} things as they should be")


class SlowReader:
    """Reads an answer piece by piece, with little room in between, so that the server has to wait."""

    def __init__(self, url, path, headers):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120.0)
        self.connection.sock = socket.socket()
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.connection.sock.settimeout(120.0)
        self.connection.sock.connect((parts.hostname, parts.port))
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()
        require(self.response.status == 200, f"{path} was answered with {self.response.status}")
        self.length, self.read, self.digest = int(self.response.headers["Content-Length"]), 0, hashlib.sha256()

    def take(self, size):
        piece = self.response.read(size)
        self.read += len(piece)
        self.digest.update(piece)
        return piece


def slowly(server, path, headers, writes, prefix):
    """Reads what is there while so many things are written."""
    with Client(server.url, timeout=120.0) as client:
        whole = hashlib.sha256(client.raw("GET", path, headers=headers)).hexdigest()
        # What the making of the answer has left in the log is worked off by then.
        writer = Writer(server.url, f"{prefix}-before", 1)
        writer.write(50)
        began, largest = time.monotonic(), 0
        reader = SlowReader(server.url, path, headers)
        writer = Writer(server.url, prefix, 1)
        for number in range(writes):
            # A body that is not small, so that the log would grow fast.
            client.upload(f"{prefix}-{number}", b"x,y\n" + b"".join(b"%d,%d\n" % (n * number, n) for n in range(2500)))
            if reader.read < reader.length * number // writes:
                reader.take(min(PIECE, reader.length * number // writes - reader.read))
            largest = max(largest, wal_size(server))
        while reader.take(PIECE):
            largest = max(largest, wal_size(server))
        reader.connection.close()
        require(reader.read == reader.length, f"{reader.read} of {reader.length} bytes came")
        require(reader.digest.hexdigest() == whole, "the answer differs from the one that was read at once")
        require(largest < WAL_LIMIT, f"the -wal grew to {largest / 2**20:.1f} MiB")
        for number in random.Random(1).sample(range(writes), min(50, writes)):
            require(client.get(f"/v1/datasets/{prefix}-{number}")["rows"] == 2500, f"dataset {prefix}-{number} is not whole")
    size = os.path.getsize(os.path.join(server.data_dir, "gradientd.db"))
    return (f"{reader.length / 2**20:.0f} MiB read in {time.monotonic() - began:.1f} s beside {writes} uploads: the -wal had at most "
            f"{largest / 2**20:.1f} MiB, the database has {size >> 20} MiB; the answer is whole")


def wal_size(server):
    try:
        return os.path.getsize(os.path.join(server.data_dir, "gradientd.db-wal"))
    except FileNotFoundError:
        return 0


def make_result(client, megabytes):
    """A batch prediction whose result has so many MB: a column of few but long words is kept."""
    words = ["".join(random.Random(n).choices("abcdefghij", k=50_000)) for n in range(20)]
    client.upload("few", b"x,w,y\n" + "".join(f"{n},{words[n]},{'ab'[n % 2]}\n" for n in range(20)).encode())
    client.upload("long", iter(["x,w,y\n".encode()] + [f"{n},{words[n % 20]},{'ab'[n % 2]}\n".encode() for n in range(20 * megabytes)]))
    columns = [{"name": "w", "role": "ignore"}]
    client.post("/v1/models", {"name": "keeps", "dataset": "few", "target": "y", "columns": columns})
    client.wait_for(client.post("/v1/jobs", {"model": "keeps", "epochs": 1})["id"], 60.0)
    made = client.post("/v1/models/keeps/predictions", {"dataset": "long", "keep": ["w"]})
    path = f"/v1/models/keeps/predictions/{made['id']}"
    client.wait_at(path, 120.0)
    return f"{path}/result"


def make_network(client, megabytes):
    """A network whose parameters have so many MB."""
    side = int((megabytes * 2**20 / 4) ** 0.5)
    layers = [{"units": side, "activation": "tanh"}, {"units": 1, "activation": "identity"}]
    client.post("/v1/models", {"name": "large", "inputs": side, "layers": layers})
    return "/v1/models/large/versions/1/parameters"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--writers", type=int, default=20, help="at most 64")
    parser.add_argument("--writes", type=int, default=1000, help="of each, at most 10,000")
    parser.add_argument("--uploads", type=int, default=2000, help="beside each slow reader, at most 10,000")
    parser.add_argument("--megabytes", type=int, default=100, help="of an answer, at most 180")
    parser.add_argument("--seed", type=int, default=1, help="of the writes")
    arguments = parser.parse_args()
    megabytes, uploads = min(arguments.megabytes, 180), min(arguments.uploads, 10_000)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-contention-") as data_dir:
        server = Server(arguments.binary, data_dir)
        try:
            server.start()
            writers, writes = min(arguments.writers, 64), min(arguments.writes, 10_000)
            outcomes.append(is_kept("many writers and readers", lambda: busy(server, writers, writes, arguments.seed)))
            with Client(server.url, timeout=120.0) as client:
                result = make_result(client, megabytes)
                network = make_network(client, megabytes)
            safetensors = {"Accept": "application/x-safetensors"}
            outcomes.append(is_kept("a result, read slowly", lambda: slowly(server, result, {}, uploads, "result")))
            outcomes.append(is_kept("parameters, read slowly", lambda: slowly(server, network, safetensors, uploads, "network")))
        finally:
            server.kill()
    return summary("contention", outcomes)


if __name__ == "__main__":
    sys.exit(main())
