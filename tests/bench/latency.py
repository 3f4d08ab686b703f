#!/usr/bin/env python3
"""Latency of predictions, idle and while jobs train on all cores.

    python3 tests/bench/latency.py --binary target/release/gradientd --rate 200 --seconds 10

Several client processes, each with one kept-alive connection, ask one model for a row at fixed moments. A latency counts from
the moment that a request was due, so that a server which stalls is not spared the requests that waited behind the stall.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "torture"))

from daemon import Client, Server  # noqa: E402

INPUTS = 64


def layers(*units):
    return [{"units": count, "activation": "sigmoid"} for count in units]


def caller(url, start, rate, count, results):
    """Asks `count` times at `rate` per second from `start` on (of the monotonic clock, which processes share)."""
    client = Client(url)
    body = json.dumps({"inputs": [[column % 17 for column in range(INPUTS)]]})
    headers = {"Content-Type": "application/json"}
    latencies = []
    for number in range(count):
        due = start + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        client.raw("POST", "/v1/models/served/predict", body, headers)
        latencies.append(time.monotonic() - due)
    results.put(latencies)


def measure(url, clients, rate, seconds):
    """All latencies in seconds, sorted."""
    results = multiprocessing.Queue()
    start, each = time.monotonic() + 0.5, rate / clients
    processes = [
        multiprocessing.Process(target=caller, args=(url, start + number / rate, each, round(each * seconds), results), daemon=True)
        for number in range(clients)
    ]
    for process in processes:
        process.start()
    latencies = [latency for _ in processes for latency in results.get(timeout=seconds + 60)]
    for process in processes:
        process.join()
    return sorted(latencies)


def report(name, latencies):
    def quantile(share):
        return 1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))]
    print(f"{name:<10} {len(latencies):>6} {quantile(0.5):>9.2f} {quantile(0.99):>9.2f} {1000 * latencies[-1]:>9.2f}", flush=True)


def start_jobs(client, slots):
    """As many endless jobs as there are slots, each of its own model; they are running when this returns."""
    rng = random.Random(1)
    rows = "".join(",".join(str(rng.randint(0, 16)) for _ in range(INPUTS)) + f",{rng.randint(0, 9)}\n" for _ in range(5000))
    header = ",".join(f"p{column}" for column in range(INPUTS)) + ",digit\n"
    client.upload("bench-rows", (header + rows).encode())
    jobs = []
    for slot in range(slots):
        client.post("/v1/models", {"name": f"trained-{slot}", "inputs": INPUTS, "layers": layers(256, 10), "preprocess": "minmax"})
        jobs.append(client.post("/v1/jobs", {
            "model": f"trained-{slot}", "data": {"dataset": "bench-rows", "target": "digit", "target_kind": "categorical"},
            "epochs": 10_000, "batch_size": 32,
        })["id"])
    deadline = time.monotonic() + 30
    while any(client.get(f"/v1/jobs/{job}")["status"] != "running" for job in jobs):
        if time.monotonic() > deadline:
            raise SystemExit("the jobs are not running after 30 s")
        time.sleep(0.05)
    return jobs


def run(url, arguments):
    client = Client(url)
    client.post("/v1/models", {"name": "served", "inputs": INPUTS, "layers": layers(30, 10)})
    print(f"{arguments.rate} predictions/s over {arguments.clients} connections for {arguments.seconds} s; milliseconds")
    print(f"{'server':<10} {'count':>6} {'p50':>9} {'p99':>9} {'max':>9}")
    report("idle", measure(url, arguments.clients, arguments.rate, arguments.seconds))
    jobs = start_jobs(client, arguments.job_slots)
    latencies = measure(url, arguments.clients, arguments.rate, arguments.seconds)
    still = [client.get(f"/v1/jobs/{job}")["status"] for job in jobs]
    for job, status in zip(jobs, still):
        if status == "running":
            client.send("POST", f"/v1/jobs/{job}/cancel")
    if set(still) != {"running"}:
        raise SystemExit(f"the jobs did not run all the while: {still}")
    report("training", latencies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second, all connections together")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement, at most 60")
    parser.add_argument("--clients", type=int, default=4, help="connections, at most 64")
    parser.add_argument("--job-slots", type=int, default=os.cpu_count(), help="jobs that train at the same time (default: one per core)")
    arguments = parser.parse_args()
    arguments.seconds, arguments.clients = min(arguments.seconds, 60.0), min(arguments.clients, 64)
    with tempfile.TemporaryDirectory(prefix="gradientd-bench-") as data_dir:
        server = Server(arguments.binary, data_dir, ["--job-slots", str(arguments.job_slots)])
        server.start()
        try:
            run(server.url, arguments)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
