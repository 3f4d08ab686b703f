#!/usr/bin/env python3
"""Makes every sync of the disk late and looks that predictions do not feel it.

    python3 tests/torture/slow_disk.py --binary target/release/gradientd --seconds 6 --late-ms 100 2000

Predictions are timed beside four writers and a job that trains: first on the disk as it is, then with every fsync and fdatasync late by
each of the given milliseconds (strace delays it). Their 99th percentile must stay within twice that of the disk as it is and 5 ms
more; every prediction is answered with the same bytes. Writes are answered with 2xx, late, or with 503, and with nothing else; what was
acknowledged is there after a restart. A server whose syncs are late by 2 s may take long to stop: it is killed.
Needs strace. Exits 1 on any miss.
"""

import argparse
import os
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import injection  # noqa: E402
import watcher  # noqa: E402
from daemon import Client  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from scripted import job, model  # noqa: E402

WRITERS = 4
# A sync that is not late, but stopped and let go on by strace.
AS_IT_IS = 0
RATIO, SLACK_MS = 2.0, 5.0


class Writer(threading.Thread):
    """Creates models until it is told to stop."""

    def __init__(self, url, number, stopped):
        super().__init__(daemon=True)
        self.client, self.number, self.stopped = Client(url, timeout=60.0), number, stopped
        self.acknowledged, self.busy, self.faults, self.slowest = [], 0, [], 0.0

    def run(self):
        count = 0
        while not self.stopped.is_set():
            count += 1
            name = f"w{self.number}-{count}"
            began = time.monotonic()
            try:
                status, said = self.client.outcome("POST", "/v1/models", model(name))
            except GONE as gone:
                status, said = None, repr(gone)
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status == 200:
                self.acknowledged.append(name)
            elif status == 503:
                self.busy += 1
            else:
                self.faults.append((status, said))
        self.client.close()


def timed(prepared, late_ms, seconds):
    """The 99th percentile of predictions, in milliseconds, and what the writers say."""
    with prepared.copy() as data_dir:
        trace = data_dir + ".trace"
        prefix = injection.traced(injection.SYNCS, trace)
        if late_ms != AS_IT_IS:
            prefix = injection.injected(injection.SYNCS, f"delay_enter={late_ms}ms", trace)
        with prepared.server(data_dir, prefix) as server:
            server.start(60.0)
            client = Client(server.url)
            client.post("/v1/jobs", job("trained", epochs=100_000))
            stopped = threading.Event()
            writers = [Writer(server.url, number, stopped) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            watch = watcher.of_served(server, prepared.served, pause=0.002)
            watch.start()
            stopped.wait(seconds)
            predicted = watch.stop()
            stopped.set()
            for writer in writers:
                writer.join()
            client.close()
            server.kill()
        faults = [fault for writer in writers for fault in writer.faults]
        require(not faults, f"writes were answered with {faults[:2]}{complaints(server)}")
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            for writer in writers:
                for name in writer.acknowledged:
                    require(client.find(f"/v1/models/{name}") is not None, f"model {name} was acknowledged and is gone")
            client.close()
            server.kill()
    done, busy = sum(len(writer.acknowledged) for writer in writers), sum(writer.busy for writer in writers)
    slowest = max(writer.slowest for writer in writers)
    p99 = watcher.percentile(watch.seconds, 0.99) * 1000
    median = watcher.percentile(watch.seconds, 0.5) * 1000
    return p99, (f"{predicted} predictions, median {median:.2f} ms, p99 {p99:.2f} ms; {done} writes done, {busy} refused with 503, "
                 f"slowest {slowest:.2f} s")


def compared(prepared, late_ms, seconds, known):
    p99, said = timed(prepared, late_ms, seconds)
    require(p99 <= RATIO * known + SLACK_MS, f"p99 is {p99:.2f} ms, {p99 / known:.1f} times that of the disk as it is; {said}")
    return f"{said}; p99 is {p99 / known:.2f} times that of the disk as it is"


def run(binary, seconds, late):
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-slow-") as folder:
        # As the model that is watched must stay as it is, the job that trains has one of its own.
        prepared = Prepared(binary, folder, lambda client: client.post("/v1/models", model("trained")))
        known, said = timed(prepared, AS_IT_IS, seconds)
        print(f"{'the disk as it is':<32} {said}", flush=True)
        for late_ms in late:
            outcomes.append(is_kept(f"every sync {late_ms} ms late", lambda: compared(prepared, late_ms, seconds, known)))
    return summary("slow disk", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--late-ms", type=int, nargs="+", default=[100, 2000])
    arguments = parser.parse_args()
    injection.need_strace()
    return run(os.path.abspath(arguments.binary), min(arguments.seconds, 120.0), arguments.late_ms)


if __name__ == "__main__":
    sys.exit(main())
