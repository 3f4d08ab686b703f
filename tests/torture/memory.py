#!/usr/bin/env python3
"""Asks for far more memory than there is, in every way that a body can, and looks at what the server takes.

    python3 tests/torture/memory.py --binary target/release/gradientd --memory-mib 256 --crowd 64

Declarations (T31): networks of 10^12 weights, layers of 0, -1, 2^63 and 2^64 units, batches, epochs, rates and seeds beyond all bounds: each
is answered with 400 or 422, a short one within --milliseconds (the median of several), and takes no memory.
Texts (T29): empty rows, short rows, keys and brackets by the million: each is answered with 4xx, and the peak grows by at most six times the
body, and by 112 bytes for each name and 32 for each string, which the server reserves.
Crowds (T32): --crowd models, then as many jobs, then as many predictions at once, which together have far more than --memory-mib: each ends,
or is refused with 503 and Retry-After and comes again; what is reserved is never more than the budget, and the peak at most a tenth more than
that and the program's own. The server runs with an address space of --address-mib. Exits 1 on any miss.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True

from daemon import Client, Refused, Server  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402

MIB = 1 << 20
# What a peak may grow by whatever was asked: a connection, a page of the allocator, an answer.
SLACK = 2 * MIB
# Times its length that a body may take, and bytes beside that of each name and each string in it.
BODY, NAME, STRING = 6, 112, 32


class Watched:
    """A server whose memory is watched."""

    def __init__(self, binary, data_dir, memory, address):
        self.server = Server(binary, data_dir, [f"--memory-mib={memory}", "--job-slots=8"], ["prlimit", f"--as={address * MIB}"])
        self.memory = memory * MIB

    def __enter__(self):
        self.server.start()
        self.client = Client(self.server.url, timeout=300.0)
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.stop()

    def status(self, name):
        """A field of its status, in bytes."""
        with open(f"/proc/{self.server.process.pid}/status") as status:
            return int(re.search(rf"{name}:\s+(\d+) kB", status.read())[1]) << 10

    def peak_from_here(self):
        """Has the peak counted from what is resident now, which is returned."""
        with open(f"/proc/{self.server.process.pid}/clear_refs", "w") as clear:
            clear.write("5")
        return self.status("VmHWM")

    def gauge(self, name):
        with Client(self.server.url) as client:
            text = client.raw("GET", "/metrics").decode()
        return float(re.search(rf"^gradientd_{name} (\S+)$", text, re.MULTILINE)[1])

    def answer(self, path, body):
        """The status and the problem that a body is answered with, and the seconds. A connection of its own: the server may close it
        before all of the body is sent."""
        host = urllib.parse.urlsplit(self.server.url)
        connection = http.client.HTTPConnection(host.hostname, host.port, timeout=300)
        began = time.monotonic()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read()), time.monotonic() - began, response.headers
        finally:
            connection.close()


def layers(*units):
    return [{"units": count, "activation": "tanh"} for count in units]


def declarations():
    """Each of a few bytes: a name, the path and the body, as text since not all of it is JSON."""
    model = {"name": "bomb", "inputs": 2}
    for name, units in [("10^12 weights", [10 ** 6, 10 ** 6]), ("65,536 x 65,536", [65_536, 65_536]), ("no unit", [0]), ("-1 units", [-1]),
                        ("2^63 units", [1 << 63]), ("2^64 units", [1 << 64]), ("200 layers", [65_536] * 200)]:
        yield name, "/v1/models", json.dumps({**model, "layers": layers(*units)})
    yield "2^63 inputs", "/v1/models", json.dumps({**model, "inputs": 1 << 63, "layers": layers(1 << 16)})
    yield "a model's seed 2^64", "/v1/models", json.dumps({**model, "layers": layers(1), "seed": 1 << 64})
    spec = {"model": "small", "data": {"inputs": [[0, 1]], "targets": [[1]]}}
    for name, more in [
        ("batch 0", {"batch_size": 0}), ("batch 2^63", {"batch_size": 1 << 63}), ("epochs 2^63", {"epochs": 1 << 63}),
        ("epochs -1", {"epochs": -1}), ("seed 2^64", {"seed": 1 << 64}), ("window 2^63", {"window_rows": 1 << 63}),
        *((f"rate {rate}", {"optimizer": {"type": "gradient_descent", "learning_rate": rate}}) for rate in (0, -1, 1e308, float("nan"), float("inf"))),
        ("fold 2^63", {"cross_validation": {"folds": 1 << 63}}), ("history 2^63", {"optimizer": {"type": "lbfgs", "history_size": 1 << 63}}),
    ]:
        yield name, "/v1/jobs", json.dumps({**spec, **more})
        yield f"{name}, dry", "/v1/jobs?dry_run=true", json.dumps({**spec, **more})


def check_declaration(watched, path, body, most):
    before = watched.peak_from_here()
    taken = []
    for _ in range(5):
        status, told, seconds, _ = watched.answer(path, body)
        taken.append(1000 * seconds)
        require(status in (400, 422), f"it is answered with {status}: {told}")
    grown = watched.status("VmHWM") - before
    require(grown <= SLACK, f"the peak grows by {grown >> 10} KiB")
    took = statistics.median(taken)
    require(took <= most, f"it takes {took:.1f} ms")
    return f"{status}, {took:.1f} ms, peak +{grown >> 10} KiB: {told['detail'][:90]}"


def texts(scale):
    """Bodies of megabytes, and the paths that read them."""
    million = round(1_000_000 * scale)
    empty = b"[" + b"[]," * (10 * million) + b"[]]"
    zeros = b"[" + b"[0]," * (7 * million) + b"[0]]"
    rows = b"[" + b"[0,0,0,0,0,0,0,0,0,0]," * million + b"[0,0,0,0,0,0,0,0,0,0]]"
    keys = b"{" + b",".join(b'"k%d":""' % key for key in range(million)) + b"}"
    instances = b"[" + b"{}," * (2 * million) + b"{}]"
    named = b"[" + b'{"a":0},' * (million // 2) + b'{"a":0}]'
    for what, data in [("empty rows", empty), ("rows of one number", zeros), ("rows of ten", rows)]:
        yield f"{what}, job", "/v1/jobs", b'{"model":"small","data":{"inputs":' + data + b',"targets":[[0]]}}'
        yield f"{what}, predict", "/v1/models/small/predict", b'{"inputs":' + data + b"}"
    yield "rows evaluated", "/v1/models/small/versions/1/evaluate", b'{"inputs":' + rows + b',"targets":' + zeros + b"}"
    yield "keys of metadata", "/v1/models", b'{"name":"k","inputs":1,"layers":[{"units":1,"activation":"tanh"}],"metadata":' + keys + b"}"
    yield "keys of the body", "/v1/models", keys
    yield "layers", "/v1/models", b'{"name":"k","inputs":1,"layers":[' + b'{"units":1},' * million + b'{"units":1}]}'
    yield "empty instances", "/v1/models/small/predict", b'{"instances":' + instances + b"}"
    yield "named rows", "/v1/models/small/predict", b'{"instances":' + named + b"}"
    yield "columns", "/v1/models", b'{"name":"k","target":"y","columns":[' + b'{"name":"a"},' * million + b'{"name":"y"}]}'
    yield "brackets", "/v1/models/small/predict", b'{"inputs":' + b"[" * million + b"]" * million + b"}"
    yield "braces", "/v1/models", b'{"metadata":' * million + b"1" + b"}" * million
    yield "words", "/v1/models/small/predict", b'{"inputs":[["' + b"a" * (7 * million) + b'"]]}'
    yield "a long number", "/v1/models/small/predict", b'{"inputs":[[1' + b"0" * (7 * million) + b"]]}"


def check_text(watched, path, body):
    before = watched.peak_from_here()
    status, told, seconds, _ = watched.answer(path, body)
    grown, after = watched.status("VmHWM") - before, watched.status("VmRSS") - before
    require(400 <= status < 500 or told.get("type") == "/problems/insufficient-memory", f"it is answered with {status}: {str(told)[:200]}")
    most = BODY * len(body) + NAME * body.count(b":") + STRING * body.count(b'"') // 2 + SLACK
    require(grown <= most, f"the peak grows by {grown / MIB:.1f} MiB, {grown / len(body):.1f} times the body")
    return f"{status}, {len(body) / MIB:.1f} MiB in {seconds:.2f} s, peak +{grown / MIB:.1f} MiB ({grown / len(body):.1f} x), then {after / MIB:+.1f}"


class Gauge(threading.Thread):
    """Looks again and again at what is reserved."""

    def __init__(self, watched):
        super().__init__(daemon=True)
        self.watched, self.most, self.ended = watched, 0.0, threading.Event()

    def run(self):
        while not self.ended.wait(0.02):
            # In a crowd it may get no turn.
            with contextlib.suppress(Refused, *GONE):
                self.most = max(self.most, self.watched.gauge("memory_reserved_bytes"))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def check_crowd(watched, base, what, ask, crowd):
    """Has all of them ask at once; each says what became of it."""
    watched.peak_from_here()
    began = time.monotonic()
    with Gauge(watched) as gauge, concurrent.futures.ThreadPoolExecutor(crowd) as pool:
        came = list(pool.map(ask, range(crowd)))
    peak = watched.status("VmHWM")
    counts = ", ".join(f"{came.count(end)} {end}" for end in sorted(set(came)))
    require(gauge.most <= watched.memory, f"{gauge.most / MIB:.0f} MiB are reserved")
    most = base + 1.1 * watched.memory
    require(peak <= most, f"the peak is {peak / MIB:.0f} MiB, of {most / MIB:.0f}")
    require(any(end in ("made", "succeeded", "answered") for end in came), f"none went through: {counts}")
    seconds = time.monotonic() - began
    return f"{counts}; reserved at most {gauge.most / MIB:.0f} MiB, peak {peak / MIB:.0f} of {most / MIB:.0f} MiB; {seconds:.0f} s"


def refusal(status, told, headers):
    """What a refusal is; an exception where it is none."""
    kind = told.get("type", "").removeprefix("/problems/")
    if status == 503:
        require(headers.get("Retry-After"), f"503 without Retry-After: {told}")
        require(kind in ("insufficient-memory", "busy", "queue-full"), f"503: {told}")
    else:
        require(status == 422 and kind == "too-large", f"{status}: {told}")
    return kind


def crowds(watched, crowd):
    """The checks of crowds, in order: the later ones use what the earlier ones have made."""
    side = 1024

    def model(number):
        spec = {"name": f"m{number}", "inputs": side, "layers": layers(2 * side)}
        while True:
            status, told, _, headers = watched.answer("/v1/models", json.dumps(spec))
            if status == 201:
                return "made"
            require(refusal(status, told, headers) != "too-large", f"a model is refused: {told}")
            time.sleep(float(headers["Retry-After"]))

    def train(number):
        rows = {"inputs": [[0.5] * side] * 4, "targets": [[0.5] * 2 * side] * 4}
        with Client(watched.server.url, timeout=600.0) as client:
            spec = {"model": f"m{number % 8}", "data": rows, "epochs": 1, "optimizer": {"type": "adam"}}
            while True:
                status, told, _, headers = watched.answer("/v1/jobs", json.dumps(spec))
                if status == 202:
                    break
                if refusal(status, told, headers) == "too-large":
                    return "too-large"
                time.sleep(float(headers["Retry-After"]))
            try:
                client.wait_for(told["id"], 600, 0.2)
            except RuntimeError as ended:
                return f"failed ({ended})"
            return "succeeded"

    def predict(number):
        body = json.dumps({"inputs": [[0.25] * side] * 256})
        status, told, _, headers = watched.answer(f"/v1/models/m{number % crowd}/predict", body)
        return "answered" if status == 200 else refusal(status, told, headers)

    yield f"{crowd} models of 8 MiB at once", model
    yield f"{crowd} jobs of 140 MiB at once", train
    yield f"{crowd} predictions of 256 rows", predict


def run(arguments):
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-memory-") as data_dir:
        with Watched(arguments.binary, data_dir, arguments.memory_mib, arguments.address_mib) as watched:
            watched.client.post("/v1/models", {"name": "small", "inputs": 2, "layers": layers(3, 1)})
            watched.client.predict_raw("small", [[0, 1]])
            base = watched.status("VmRSS")
            print(f"the program's own: {base / MIB:.1f} MiB", flush=True)
            for name, path, body in declarations():
                outcomes.append(is_kept(name, lambda: check_declaration(watched, path, body, arguments.milliseconds)))
            for name, path, body in texts(arguments.scale):
                outcomes.append(is_kept(name, lambda: check_text(watched, path, body)))
            for name, ask in crowds(watched, arguments.crowd):
                outcomes.append(is_kept(name, lambda: check_crowd(watched, base, name, ask, arguments.crowd)))
            outcomes.append(is_kept("all is given back", lambda: given_back(watched)))
    return summary("memory", outcomes)


def given_back(watched):
    """Nothing but versions of models is held once nobody asks."""
    held, loaded = watched.gauge("memory_reserved_bytes"), watched.gauge("models_loaded")
    require(held <= loaded * 9 * MIB, f"{held / MIB:.1f} MiB are reserved, and {loaded:.0f} versions are in memory")
    return f"{held / MIB:.1f} MiB reserved for {loaded:.0f} versions, resident {watched.status('VmRSS') / MIB:.0f} MiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--memory-mib", type=int, default=256, help="the server's budget")
    parser.add_argument("--address-mib", type=int, default=6144, help="the server's address space, of which threads take most")
    parser.add_argument("--crowd", type=int, default=64, help="of each kind at once, at most 256")
    parser.add_argument("--scale", type=float, default=1.0, help="of the long bodies, in (0, 1]")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="in which a short declaration is refused")
    arguments = parser.parse_args()
    arguments.crowd, arguments.scale = min(arguments.crowd, 256), min(arguments.scale, 1.0)
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
