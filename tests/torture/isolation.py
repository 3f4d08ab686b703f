#!/usr/bin/env python3
"""Measures whether predictions feel training: on all cores, and under a quota of CPU time.

    python3 tests/torture/isolation.py --binary target/release/gradientd --seconds 60 --runs 5
    python3 tests/torture/isolation.py --binary target/release/gradientd --quotas 1.0 0.5 --seconds 20

First the rate is found at which --clients are answered that ask one prediction after the other; half of it is the load. Then, --runs times
for each kind of job (a small network, a wide one, a large table), idle and training on all cores by turns, --seconds each: requests come at
random moments from one process, and latencies count from the moment that each was due. Of the medians over the runs, p99 may be at most
--times that of idle and --more ms, and p99.9 five times and 2 ms (T43). --quotas: the same in a new control group of its own with so many
processors' time, of cgroup v1 or v2, which takes root: p99 may be at most --quota-ms, and the table has how many periods were cut short
(T44). Exits 1 on any miss.

T43 asks for the other side, too: while predictions come at a tenth of the rate that keeps the machine busy, a job must train at 80 % or more
of the speed that it has alone.

The server belongs to the session of this script: Linux divides processors among sessions first, and looks at the priority of threads
only within each, so that a server in a session of its own takes its share from its clients on the same machine whatever its threads say.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench"))

from latency import INPUTS, layers  # noqa: E402
from arrivals import at_once, at_rate  # noqa: E402
from daemon import Client, Server  # noqa: E402
from promise import fail, is_kept, require, summary  # noqa: E402
from watcher import percentile  # noqa: E402
from wire import request  # noqa: E402

GROUPS = pathlib.Path("/sys/fs/cgroup")
PERIOD = 100_000
# Of half load, a tenth of all load; and the part of its speed that training keeps beside it.
FEW, LEAST_SPEED = 0.2, 0.8
# The kinds of jobs: rows of the table, hidden units, rows of a batch.
KINDS = {"small network": (5_000, [30], 32), "wide network": (1_000, [2048, 2048], 512), "large table": (300_000, [64], 256)}


class Group:
    """A control group with a quota of CPU time, for a server alone; gone at the end."""

    def __init__(self, processors):
        self.is_second = (GROUPS / "cgroup.controllers").exists()
        parent = GROUPS if self.is_second else GROUPS / "cpu"
        self.path = parent / f"gradientd-isolation-{os.getpid()}"
        quota = round(processors * PERIOD)
        try:
            if self.is_second and "cpu" not in (GROUPS / "cgroup.subtree_control").read_text().split():
                (GROUPS / "cgroup.subtree_control").write_text("+cpu")
            self.path.mkdir()
            if self.is_second:
                (self.path / "cpu.max").write_text(f"{quota} {PERIOD}")
            else:
                (self.path / "cpu.cfs_period_us").write_text(str(PERIOD))
                (self.path / "cpu.cfs_quota_us").write_text(str(quota))
        except OSError as error:
            self.remove()
            fail(f"no control group with a quota can be made here: {error}")

    def prefix(self):
        """What starts a program in it."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"]

    def throttled(self):
        """Periods so far, and those that were cut short."""
        counts = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(counts["nr_periods"]), int(counts["nr_throttled"])

    def remove(self):
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)


def asking():
    """A prediction of a row."""
    return request("POST", "/v1/models/served/predict", json.dumps({"inputs": [[column % 17 for column in range(INPUTS)]]}).encode())


def capacity(url, clients, seconds):
    """Predictions per second when each client waits for its answer."""
    return at_once(url, asking(), clients, seconds).outcome(seconds).goodput


def measured(url, rate, seconds):
    """p50, p99 and p99.9 at this rate, in milliseconds."""
    outcome = at_rate(url, asking(), rate, seconds).outcome(seconds)
    require(not outcome.others and not outcome.refused, f"not all are predicted: {outcome}")
    return [1000 * percentile(outcome.accepted, share) for share in (0.5, 0.99, 0.999)]


def table(rows):
    rng = random.Random(1)
    yield (",".join(f"p{column}" for column in range(INPUTS)) + ",digit\n").encode()
    lines = [",".join(str(rng.randint(0, 16)) for _ in range(INPUTS)) for _ in range(1000)]
    for first in range(0, rows, 1000):
        part = lines[:rows - first]
        yield "".join(f"{line},{rng.randint(0, 9)}\n" for line in part).encode()


@contextlib.contextmanager
def training(client, kind, slots):
    """As many endless jobs as there are slots; all of them have trained an epoch or ten seconds, and train until this ends."""
    rows, hidden, batch = KINDS[kind]
    name = kind.replace(" ", "-")
    if client.find(f"/v1/datasets/{name}") is None:
        client.upload(name, table(rows))
        client.post("/v1/models", {"name": name, "inputs": INPUTS, "layers": layers(*hidden, 10), "preprocess": "minmax"})
    spec = {"model": name, "data": {"dataset": name, "target": "digit", "target_kind": "categorical"}, "epochs": 100_000, "batch_size": batch}
    jobs = [client.post("/v1/jobs", spec)["id"] for _ in range(slots)]
    deadline = time.monotonic() + 10
    while any(client.get(f"/v1/jobs/{job}")["progress"]["epoch"] == 0 for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield jobs
        still = [client.get(f"/v1/jobs/{job}")["status"] for job in jobs]
        require(set(still) == {"running"}, f"the jobs of a {kind} did not run all the while: {still}")
    finally:
        for job in jobs:
            client.outcome("POST", f"/v1/jobs/{job}/cancel")


def medians(runs):
    return [statistics.median(values) for values in zip(*runs)]


def shown(values):
    return " ".join(f"{value:8.2f}" for value in values)


def compare(server, kind, arguments, rate, group=None):
    """Idle and training by turns; what the medians are, and how many periods were cut short while it trained."""
    client, idle, loaded, cut = Client(server.url), [], [], [0, 0]
    for _ in range(arguments.runs):
        idle.append(measured(server.url, rate, arguments.seconds))
        with training(client, kind, arguments.job_slots):
            before = group.throttled() if group else (0, 0)
            loaded.append(measured(server.url, rate, arguments.seconds))
            after = group.throttled() if group else (0, 0)
        cut = [total + later - earlier for total, later, earlier in zip(cut, after, before)]
    return medians(idle), medians(loaded), cut


def speed(client, jobs, act):
    """Epochs in a second of training, of all these jobs together, in those epochs that they end meanwhile."""
    begun = [client.get(f"/v1/jobs/{job}")["progress"]["epoch"] for job in jobs]
    act()
    ended = [client.losses(job, epoch) for job, epoch in zip(jobs, begun)]
    # The first had begun before.
    ended = [rows[1:] for rows in ended]
    require(all(ended), "a job ends no two epochs meanwhile: measure for longer")
    # An epoch that is stored late counts as the others.
    return sum(len(rows) / sum(row["seconds"] for row in rows) for rows in ended)


def kept_speed(server, kind, arguments, rate):
    """The part of its speed that training keeps beside so many predictions."""
    client = Client(server.url)
    with training(client, kind, arguments.job_slots) as jobs:
        alone = speed(client, jobs, lambda: time.sleep(arguments.seconds))
        beside = speed(client, jobs, lambda: measured(server.url, rate, arguments.seconds))
    return beside / alone


def check_cores(server, kind, arguments, rate):
    idle, loaded, _ = compare(server, kind, arguments, rate)
    kept = statistics.median(kept_speed(server, kind, arguments, rate * FEW) for _ in range(arguments.runs))
    told = f"idle {shown(idle)}   training {shown(loaded)}   at {rate * FEW:.0f}/s it trains at {100 * kept:.0f} % of its speed"
    require(kept >= LEAST_SPEED, f"speed: {told}")
    require(loaded[1] <= arguments.times * idle[1] + arguments.more, f"p99: {told}")
    require(loaded[2] <= 5 * idle[2] + 2, f"p99.9: {told}")
    return told


def check_quota(server, kind, arguments, rate, group):
    idle, loaded, cut = compare(server, kind, arguments, rate, group)
    told = f"idle {shown(idle)}   training {shown(loaded)}   {cut[1]} of {cut[0]} periods cut short"
    require(loaded[1] <= arguments.quota_ms, f"p99: {told}")
    return told


def serve(arguments, options, prefix, check):
    """Runs the checks of each kind on a server of their own; their outcomes."""
    with tempfile.TemporaryDirectory(prefix="gradientd-isolation-") as data_dir:
        server = Server(arguments.binary, data_dir, options, prefix, own_session=False)
        server.start()
        try:
            Client(server.url).post("/v1/models", {"name": "served", "inputs": INPUTS, "layers": layers(30, 10)})
            rate = capacity(server.url, arguments.clients, 3) / 2
            print(f"half load: {rate:.0f} predictions/s; ms at p50, p99, p99.9", flush=True)
            return [is_kept(kind, lambda kind=kind: check(server, kind, rate)) for kind in arguments.kinds]
        finally:
            server.stop()


def run(arguments):
    if not arguments.quotas:
        options = ["--job-slots", str(arguments.job_slots)]
        return summary("isolation", serve(arguments, options, (), lambda server, kind, rate: check_cores(server, kind, arguments, rate)))
    outcomes = []
    arguments.job_slots = 1
    for processors in arguments.quotas:
        group = Group(processors)
        print(f"a quota of {processors} processors", flush=True)
        try:
            outcomes += serve(arguments, [], group.prefix(), lambda server, kind, rate: check_quota(server, kind, arguments, rate, group))
        finally:
            group.remove()
    return summary("isolation under quotas", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, at most 60")
    parser.add_argument("--runs", type=int, default=3, help="of each kind, of which the medians count, at most 9")
    parser.add_argument("--clients", type=int, default=4, help="that each wait for an answer where the rate is found, at most 64")
    parser.add_argument("--job-slots", type=int, default=os.cpu_count(), help="jobs that train at the same time (default: one per core)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of jobs")
    parser.add_argument("--times", type=float, default=2.0, help="times the p99 of idle that p99 may be")
    parser.add_argument("--more", type=float, default=1.0, help="ms beside that")
    parser.add_argument("--quotas", nargs="+", type=float, default=[], help="processors' time in a control group of its own")
    parser.add_argument("--quota-ms", type=float, default=20.0, help="p99 under a quota, at most")
    arguments = parser.parse_args()
    arguments.seconds, arguments.runs = min(arguments.seconds, 60.0), min(arguments.runs, 9)
    arguments.clients = min(arguments.clients, 64)
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
