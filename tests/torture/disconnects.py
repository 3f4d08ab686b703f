#!/usr/bin/env python3
"""Has clients vanish in the middle of everything, thousands of times, and looks that nothing of them is left (T47).

    python3 tests/torture/disconnects.py --binary target/release/gradientd --times 10000

In the middle of the headers, of a prediction's body, of a large upload, before and in the middle of an answer that takes long or is
large, and in the middle of a stream of events; half of them with a reset, half with an orderly end. Afterwards, within 10 s: the gauges
of requests in flight, connections, uploads and reserved memory are what they were, and so are the server's sockets; no half of an upload
is stored and its name is free; memory is what it was after the first of them, but for 24 MiB, and there are no more threads than
requests may be in flight; the job whose events were streamed goes on. A client that was there before is predicted the same bytes
throughout; while predictions are asked for and not waited for he may be refused some. Prints a line per way of vanishing, with figures,
and exits 1 on any miss.
"""

import argparse
import json
import sys
import threading
import time

sys.dont_write_bytecode = True

from bystander import scene  # noqa: E402
from figures import MIB, scraped, until  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from scripted import XOR, job, model  # noqa: E402
from watcher import of_served, percentile  # noqa: E402
from wire import Wire, chunk, head, request  # noqa: E402

# Clients at the same time.
AT_ONCE = 16
FIRST = 100
BACK_SECONDS = 10.0
FLAT = 24 * MIB
# Descriptors that the database may open later than at the start.
FILES = 16
# Beside one for each prediction and upload that may be in flight: the server's own, the database's, inspections.
THREADS = 40
# What must be as it was; those that a server does not have are left out.
MEMORY = "gradientd_memory_reserved_bytes"
GAUGES = ("gradientd_requests_in_flight", "gradientd_connections", "gradientd_uploads", "gradientd_event_streams", MEMORY)
PUBLISHED = 64 << 10
WIDE = 2048


def in_headers(_):
    """Sends half a head."""
    return b"POST /v1/models/served/predict HTTP/1.1\r\nHost: localhost\r\nContent-Le", 0


def in_body(_):
    return head("POST", "/v1/models/served/predict", [("Content-Type", "application/json"), ("Content-Length", 100_000)]) + b'{"inputs":[[0,', 0


def in_chunk(_):
    told = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
    return head("POST", "/v1/models", told) + chunk(b'{"name":"half",') + b"ff\r\n", 0


def in_upload(number):
    told = [("Content-Type", "text/csv"), ("Content-Length", 10_000_000)]
    return head("POST", f"/v1/datasets?name=half-{number % 50}", told) + b"x,y\n" + b"1,2\n" * 20_000, 0


def before_answer(_):
    """Asks for what takes some milliseconds, and waits for nothing."""
    return COSTLY, 0


def in_answer(_):
    """Reads a little of an answer that is larger than what is under way."""
    return head("GET", "/openapi.yaml") * 20, 100


def in_events(_):
    return head("GET", f"/v1/jobs/{STREAMED['job']}/events", [("Accept", "text/event-stream")]), 200


COSTLY = request("POST", "/v1/models/wide/predict", json.dumps({"inputs": [[0.5]] * 64}).encode())
# The job whose events are asked for.
STREAMED = {}
WAYS = {"headers": in_headers, "body": in_body, "chunk": in_chunk, "upload": in_upload, "before-answer": before_answer, "answer": in_answer,
        "events": in_events}


class Vanishing(threading.Thread):
    """Every n-th of the clients."""

    def __init__(self, url, way, numbers):
        super().__init__(daemon=True)
        self.url, self.way, self.numbers, self.answered, self.fault = url, way, numbers, 0, None

    def run(self):
        try:
            for number in self.numbers:
                self.vanish(number)
        except GONE as fault:
            self.fault = repr(fault)

    def vanish(self, number):
        sent, read = self.way(number)
        wire = Wire(self.url, 10.0, receive_bytes=4096 if read else None)
        wire.send(sent)
        deadline = time.monotonic() + 10.0
        while len(wire.read) < read and wire.more(deadline):
            pass
        self.answered += bool(wire.read)
        if number % 2:
            wire.vanish()
        else:
            wire.close()


def crowd(scene, name, times):
    """Has so many vanish; how many of them were answered."""
    clients = [Vanishing(scene.url, WAYS[name], range(first, times, AT_ONCE)) for first in range(AT_ONCE)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    faults = [client.fault for client in clients if client.fault]
    require(not faults, f"{len(faults)} clients could not connect: {faults[:1]}")
    return sum(client.answered for client in clients)


def gauges(scene):
    samples = scraped(scene.client)
    return {name: value for name, value in samples.items() if name.partition("{")[0] in GAUGES}


def is_back(base, now):
    """Whether nothing is held that was not before; of memory, but for what a job that trains beside them publishes."""
    return base.keys() == now.keys() and all(
        (abs(now[name] - held) <= PUBLISHED if name == MEMORY else now[name] <= held) for name, held in base.items())


def vanished(scene, name, times):
    base, sockets, files = gauges(scene), scene.process.sockets(), scene.process.descriptors()
    # What is needed for so many at once is there by then.
    crowd(scene, name, FIRST)
    require(until(lambda: is_back(base, gauges(scene)), BACK_SECONDS) is not None, f"after {FIRST} the gauges are {differences(base, gauges(scene))}")
    memory = scene.process.resident()
    watch = of_served(scene.server, scene.served)
    watch.start()
    began, cpu = time.monotonic(), scene.process.processor_seconds()
    answered = crowd(scene, name, times)
    took, threads = time.monotonic() - began, scene.process.threads()
    predicted = beside(watch, name == "before-answer")
    back = until(lambda: is_back(base, gauges(scene)) and scene.process.sockets() <= sockets, BACK_SECONDS, 0.01)
    growth, left, now = scene.process.resident() - memory, scene.process.descriptors(), gauges(scene)
    said = (f"{times} clients in {took:.1f} s, {answered} of them answered; sockets {sockets} and "
            f"{scene.process.sockets()}, descriptors {files} and {left}, {threads} threads; memory {memory / MIB:.0f} MiB, {growth / MIB:+.1f} after; "
            f"{scene.process.processor_seconds() - cpu:.1f} s of a processor; {predicted} predictions beside them, p99 "
            f"{1000 * percentile(watch.seconds, 0.99):.1f} ms")
    require(back is not None, f"after {BACK_SECONDS:.0f} s the gauges are {differences(base, now)} (before and now): {said}")
    # Who is gone must not make room for one more while what he asked for is still computed.
    limits = scene.client.get("/v1/limits")
    require(threads <= limits.get("predictions", 0) + limits["uploads"] + THREADS, f"more threads than requests may be in flight: {said}")
    require(left <= files + FILES, f"descriptors are left: {said}")
    require(growth <= FLAT, f"memory grows: {said}")
    nothing_is_stored(scene)
    scene.check()
    return f"{said}; all gauges back after {1000 * back:.0f} ms"


def beside(watch, loads):
    """How many predictions somebody else had meanwhile. Some may be refused where those who vanish are as many as can be served."""
    watch.stopped.set()
    watch.join()
    faults = [fault for fault in watch.faults if not (loads and "503" in fault)]
    require(not faults, f"{len(faults)} of {len(watch.seconds)} predictions failed: {faults[:1]}")
    return len(watch.seconds)


def differences(base, now):
    return {name: (base.get(name), now.get(name)) for name in {*base, *now} if base.get(name) != now.get(name)} or "as they were, the sockets not"


def nothing_is_stored(scene):
    """No half of anything, and its name is free."""
    stored = [found["name"] for found in scene.client.get("/v1/datasets?limit=100")["data"] if found["name"].startswith("half")]
    require(not stored, f"halves of uploads are stored: {stored[:3]}")
    require(scene.client.find("/v1/models/half") is None, "half a model is stored")
    scene.client.upload("half-0", b"x,y\n1,2\n")
    scene.client.send("DELETE", "/v1/datasets/half-0")


def run(binary, times, names):
    with scene(binary) as made:
        layers = [{"units": WIDE, "activation": "tanh"}, {"units": WIDE, "activation": "tanh"}, {"units": 1, "activation": "identity"}]
        made.client.post("/v1/models", {"name": "wide", "inputs": 1, "layers": layers, "dtype": "float32"})
        made.client.predict_raw("wide", [[0.5]])
        made.client.post("/v1/models", model("streamed"))
        # Of some milliseconds an epoch, so that it goes on to the end.
        rows = {field: values * 1000 for field, values in XOR.items()}
        STREAMED["job"] = made.client.post("/v1/jobs", {**job("streamed", data=rows, epochs=100_000), "batch_size": 1})["id"]
        require(until(lambda: len(made.client.losses(STREAMED["job"])) >= 10, 30.0) is not None, "the job does not get on")
        outcomes = [is_kept(f"in the middle of: {name}", lambda: vanished(made, name, times)) for name in names]
        state = made.client.get(f"/v1/jobs/{STREAMED['job']}")["status"]
        outcomes.append(is_kept("the job", lambda: require(state == "running", f"it is {state}") or f"is {state}"))
        made.client.send("POST", f"/v1/jobs/{STREAMED['job']}/cancel")
    return summary("disconnects", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--times", type=int, default=500, help="of each way, at most 20,000")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    return run(arguments.binary, min(arguments.times, 20_000), arguments.ways)


if __name__ == "__main__":
    sys.exit(main())
