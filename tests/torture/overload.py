#!/usr/bin/env python3
"""Asks a gradientd for more predictions than it can make, and looks that it refuses what it cannot do and does the rest (T41, T42).

    python3 tests/torture/overload.py --binary target/release/gradientd --seconds 60

The server has one half of the cores and the generator of the requests the other, so that neither takes from the other. A closed loop
finds how many predictions of some milliseconds the server makes (its peak); then requests come at 0.5, 1, 2 and 10 times that rate for
--seconds each, whether or not those before are answered, and at 0.5 again. At 10 times, at least 90 % of the peak must be accepted; every
refusal is a 503 with Retry-After, within 10 ms of its request at the 99th percentile; the 99th percentile of what is accepted is at most
3 times that at half the peak; memory stays flat; and once the load is gone, latencies are within 5 s what they were.
And --connections at once that each ask for a costly prediction: the gauge of predictions in flight never says more than /v1/limits. A
machine that is busy with others measures nothing, and the line says so. Prints a line per step, with figures, and exits 1 on any miss.
"""

import argparse
import json
import os
import sys
import threading

sys.dont_write_bytecode = True

from arrivals import at_once, at_rate  # noqa: E402
from bystander import scene  # noqa: E402
from daemon import Client  # noqa: E402
from figures import MIB, scraped  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from watcher import percentile  # noqa: E402
from wire import request  # noqa: E402

GOODPUT, REFUSAL_MS, RATIO, NORMAL_SECONDS, FLAT = 0.9, 10.0, 3.0, 5.0, 32 * MIB
# That requests are sent after they were due, at the 99th percentile; else nothing is measured.
LATE_MS = 10.0
PATH = "/v1/models/costly/predict"
IN_FLIGHT = 'gradientd_requests_in_flight{class="predict"}'
UNITS = 1024
# A prediction is to take so long on a core.
MILLISECONDS = 6.0


def halves():
    """Cores of the server and of the generator."""
    cores = sorted(os.sched_getaffinity(0))
    require(len(cores) > 1, "this needs two cores")
    return set(cores[: len(cores) // 2]), set(cores[len(cores) // 2:])


def asking(rows):
    return request("POST", PATH, json.dumps({"inputs": [[row % 7 / 7] for row in range(rows)]}).encode())


def calibrated(scene, milliseconds):
    """A request for as many rows as take so long of a core, whatever else the machine does; and what they take."""
    layers = [{"units": UNITS, "activation": "tanh"}, {"units": UNITS, "activation": "tanh"}, {"units": 1, "activation": "identity"}]
    scene.client.post("/v1/models", {"name": "costly", "inputs": 1, "layers": layers, "dtype": "float32"})
    rows, most = 16, min(4096, int(scene.client.get("/v1/limits")["predict_work"] // (UNITS * UNITS * 1.1)))
    while True:
        before = scene.process.processor_seconds()
        outcome = at_once(scene.url, asking(rows), 2, 1.0).outcome(1.0)
        require(outcome.accepted, f"nothing is predicted: {outcome}")
        took = 1000 * (scene.process.processor_seconds() - before) / len(outcome.accepted)
        if took >= 0.8 * milliseconds or rows >= most:
            return asking(rows), f"{rows} rows of a network of {UNITS} x {UNITS} units, {took:.1f} ms of a core"
        rows = min(most, max(rows + 1, min(4 * rows, int(rows * milliseconds / took))))


class Steps:
    """One rate after the other."""

    def __init__(self, scene, sent, seconds, cores, slack):
        self.scene, self.sent, self.seconds, self.cores, self.slack = scene, sent, seconds, cores, slack
        self.peak = self.idle = None

    def measured(self, factor, seconds=None):
        seconds = seconds or self.seconds
        cpu = self.scene.process.processor_seconds()
        outcome = at_rate(self.scene.url, self.sent, factor * self.peak, seconds, self.cores).outcome(seconds)
        spent = self.scene.process.processor_seconds() - cpu
        late = 1000 * percentile(outcome.late, 0.99)
        require(late <= LATE_MS * self.slack, f"no measurement: the machine is busy, the generator was {late:.0f} ms late: {outcome}")
        require(not outcome.others, f"answers that are neither: {outcome}")
        require(not outcome.without_retry_after, f"{outcome.without_retry_after} of {len(outcome.refused)} refusals have no Retry-After")
        return outcome, f"{outcome}; the server {100 * spent / seconds:.0f} %, {1000 * spent / max(1, len(outcome.accepted)):.1f} ms for each accepted"

    def find_peak(self):
        best = None
        for lanes in (2 * len(self.cores), 4 * len(self.cores), 8 * len(self.cores)):
            outcome = at_once(self.scene.url, self.sent, lanes, max(2.0, self.seconds / 10), self.cores).outcome(self.seconds)
            require(not outcome.others, f"answers that are neither: {outcome}")
            if best is None or outcome.goodput > best.goodput:
                best = outcome
        self.peak = best.goodput
        return f"{best}"

    def half(self):
        outcome, said = self.measured(0.5)
        require(len(outcome.refused) <= 0.001 * self.slack * outcome.sent, f"refused at half the peak: {said}")
        self.idle = percentile(outcome.accepted, 0.99)
        return said

    def loaded(self, factor):
        before = self.scene.process.resident()
        self.scene.process.forget_peak()
        outcome, said = self.measured(factor)
        growth = (self.scene.process.peak() - before) / MIB
        faults = []
        p99 = percentile(outcome.accepted, 0.99)
        said = f"{said}; {outcome.goodput / self.peak:.2f} of the peak, accepted p99 {p99 / self.idle:.1f} times idle, memory {growth:+.1f} MiB"
        if factor > 1 and outcome.goodput < GOODPUT * self.peak:
            faults.append(f"less than {GOODPUT} of the peak")
        if outcome.refused and 1000 * percentile(outcome.refused, 0.99) > REFUSAL_MS * self.slack:
            faults.append(f"refusals take more than {REFUSAL_MS:.0f} ms")
        if p99 > RATIO * self.slack * self.idle:
            faults.append(f"what is accepted takes more than {RATIO:.0f} times as long as idle")
        if growth * MIB > FLAT:
            faults.append(f"memory grows by more than {FLAT / MIB:.0f} MiB")
        require(not faults, f"{', '.join(faults)}: {said}")
        return said

    def after(self):
        """Right after the worst: the seconds until latencies are those of before."""
        seconds = 2 * NORMAL_SECONDS
        worst = at_rate(self.scene.url, self.sent, 10 * self.peak, 2.0, self.cores).outcome(2.0)
        outcome, said = self.measured(0.5, seconds)
        slow = [moment for moment, took in zip(outcome.moments, outcome.accepted) if took > self.slack * (2 * self.idle + 0.005)]
        late = [moment for moment in slow if moment > NORMAL_SECONDS]
        normal = max(slow, default=0.0) if not late else float("inf")
        share = len(late) / max(1, sum(moment > NORMAL_SECONDS for moment in outcome.moments))
        require(share <= 0.01 * self.slack, f"{100 * share:.1f} % take twice as long as before after {NORMAL_SECONDS:.0f} s: {said}")
        self.scene.check()
        return f"after {worst.sent} requests in 2 s the last slow one is {'at times' if late else f'{normal:.1f} s'} later; {said}"


class Gauge(threading.Thread):
    """The most that a gauge says, until it is told to stop."""

    def __init__(self, url, name):
        super().__init__(daemon=True)
        self.client, self.name, self.most, self.looks, self.stopped = Client(url), name, 0, 0, threading.Event()

    def run(self):
        while not self.stopped.wait(0.001):
            self.most = max(self.most, scraped(self.client)[self.name])
            self.looks += 1
        self.client.close()


def crowd(scene, sent, connections, cores, seconds):
    """Everybody at once."""
    limit = scene.client.get("/v1/limits").get("predictions")
    require(limit is not None, "/v1/limits has no predictions")
    require(IN_FLIGHT in scraped(scene.client), f"/metrics has no {IN_FLIGHT}")
    gauge = Gauge(scene.url, IN_FLIGHT)
    gauge.start()
    outcome = at_once(scene.url, sent, connections, seconds, cores).outcome(seconds)
    gauge.stopped.set()
    gauge.join()
    said = f"{outcome}; in flight at most {gauge.most:.0f} of {limit} in {gauge.looks} looks"
    require(gauge.most <= limit, f"more in flight than the limit: {said}")
    require(gauge.most > 0 and outcome.refused, f"it was no crowd: {said}")
    require(not outcome.others, f"answers that are neither: {said}")
    require(not outcome.without_retry_after, f"refusals without Retry-After: {said}")
    scene.check()
    left = scraped(scene.client)[IN_FLIGHT]
    require(left == 0, f"the gauge is {left} when all is over")
    return said


def run(binary, seconds, connections, factors, slack):
    server_cores, own_cores = halves()
    cores = ",".join(str(core) for core in sorted(server_cores))
    os.sched_setaffinity(0, own_cores)
    outcomes = []
    with scene(binary, prefix=["taskset", "-c", cores]) as made:
        sent, said = calibrated(made, MILLISECONDS)
        print(f"{'a prediction':<32} {said}; the server has the cores {cores}", flush=True)
        steps = Steps(made, sent, seconds, own_cores, slack)
        outcomes.append(is_kept("the peak", steps.find_peak))
        if outcomes[-1]:
            outcomes.append(is_kept("half the peak", steps.half))
        if steps.idle is not None:
            outcomes += [is_kept(f"{factor:g} times the peak", lambda: steps.loaded(factor)) for factor in factors]
            outcomes.append(is_kept("normal again", steps.after))
        outcomes.append(is_kept(f"{connections} at once", lambda: crowd(made, sent, connections, own_cores, min(seconds, 10.0))))
    return summary("overload", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each rate, at most 300")
    parser.add_argument("--connections", type=int, default=1000, help="at once, at most 4,000")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 2.0, 10.0], help="of the peak, at most 20")
    parser.add_argument("--slack", type=float, default=1.0, help="times that latencies may be longer, on a machine that is busy with others")
    arguments = parser.parse_args()
    factors = [min(factor, 20.0) for factor in arguments.factors]
    return run(arguments.binary, min(arguments.seconds, 300.0), min(arguments.connections, 4000), factors, arguments.slack)


if __name__ == "__main__":
    sys.exit(main())
