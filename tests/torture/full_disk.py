#!/usr/bin/env python3
"""Takes the room away from a gradientd, for single writes and for real, and looks that it waits for it.

    python3 tests/torture/full_disk.py --binary target/release/gradientd --most 12 --seed 1

Injected: the Nth pwrite64 of a server fails with ENOSPC, or it and the twenty after it for half a second, while a script of writes
runs. Every request must be answered with 2xx or 507, and one that is repeated until there is room with 2xx; predictions and reads go
on, with the same bytes; the job ends well, the batch prediction too or as `disk_full`; a restart finds everything.
Real: the data directory is on a disk of some MB that is filled while a job trains. Once less than a twentieth is free, new things are
refused (507) while deletions and the end of a job still go through; once nothing is free, writes are 507, predictions and reads are
200, and the job says that it waits for the disk. When the room is back the job goes on by itself, in its first attempt, and ends with
the bits of an undisturbed run.
--most bounds the injected rounds of each kind; 0 is every N. Needs strace, and root for the small disk. Exits 1 on any miss.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import injection  # noqa: E402
import watcher  # noqa: E402
from daemon import Client, Server  # noqa: E402
from long_job import LongJob, epoch, once  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import TABLE, Scripted, job, model, recovered, status_of  # noqa: E402

DISK = 48 << 20
# The part of a small disk that is kept free: a twentieth.
KEPT = DISK // 20
JOB_SECONDS = 6.0
CSV = {"Content-Type": "text/csv"}


def injected_round(prepared, when, seconds):
    with prepared.copy() as data_dir:
        trace = data_dir + ".trace"
        with prepared.server(data_dir, injection.injected_until_lifted(injection.WRITES, f"error=ENOSPC:when={when}", trace)) as server:
            try:
                server.start()
            except RuntimeError:
                require(server.process.returncode == 2, f"the start found no room and the server ended with {server.process.returncode}")
                return refused_start(prepared, data_dir)
            injection.Lift(server.process, trace, seconds)
            watch = watcher.of_served(server, prepared.served)
            watch.start()
            scripted = Scripted(server.url, seconds=20.0, retry=(507,))
            scripted.run()
            refusals = sum(outcome.status == 507 for outcome in scripted.outcomes)
            wrong = [outcome for outcome in scripted.outcomes if not outcome.is_acknowledged and outcome.status != 507]
            require(not wrong, f"{wrong}{complaints(server)}")
            client = Client(server.url)
            prepared.served.check(client)
            scripted.check(client)
            client.close()
            predictions = watch.stop()
            came = bool(injection.moments(trace))
            # A strace that is told to end at the same time may keep the signal for itself.
            injection.lift(server.process)
            status = server.stop()
            require(status == 0, f"the server ended with {status}{complaints(server)}")
        with prepared.server(data_dir) as server:
            recovered(server, prepared.served.check, scripted.check)
            server.stop()
    # How many writes there are varies a little with who comes first.
    what = f"{refusals} refused with 507, then" if came else "the write never came:"
    return f"{what} {scripted.acknowledged} acknowledged; {predictions} predictions, the same bytes"


def refused_start(prepared, data_dir):
    with prepared.server(data_dir) as server:
        recovered(server, prepared.served.check)
        server.stop()
    return "refused to start for want of room; started once there was some"


def counted(prepared):
    """The writes of the busiest thread in an undisturbed run."""
    with prepared.copy() as data_dir, prepared.server(data_dir, injection.traced(injection.WRITES, data_dir + ".trace")) as server:
        server.start()
        Scripted(server.url).run()
        return injection.most_calls(data_dir + ".trace")


class SmallDisk:
    """A disk with a file that takes as much of it as is wanted."""

    def __init__(self, folder):
        self.folder = folder
        self.filler = os.path.join(folder, "filler")

    def leave(self, free):
        """Fills the disk so that so many bytes are free, as far as that can be done while others write."""
        while (more := injection.free_bytes(self.folder) - free) > 0:
            with open(self.filler, "ab") as file:
                file.write(b"\0" * min(more, 1 << 20))

    def free(self):
        os.remove(self.filler)


class RealRound:
    """A job that trains while its disk fills up."""

    def __init__(self, prepared, long, disk, server):
        self.prepared, self.long, self.disk, self.server = prepared, long, disk, server
        self.client = Client(server.url, timeout=30.0)
        self.asking = Scripted(server.url)
        self.notes = []

    def run(self):
        watch = watcher.of_served(self.server, self.prepared.served)
        watch.start()
        job_id = self.long.start(self.client, "on-a-full-disk")
        once(self.client, job_id, lambda state: epoch(state) > 0)
        self.nearly_full()
        self.full(job_id)
        self.disk.free()
        began = time.monotonic()
        once(self.client, job_id, lambda state: state["waiting_for"] is None, 30.0)
        self.notes.append(f"went on {time.monotonic() - began:.1f} s after there was room")
        ended = self.long.check(self.client, job_id)
        require(ended["attempt"] == 1, f"the job took {ended['attempt']} attempts")
        require(self.write("POST", "/v1/models", model("after")).status == 201, "a write after there is room is refused")
        self.prepared.served.check(self.client)
        predictions = watch.stop()
        self.client.close()
        require(self.server.stop() == 0, "the server ended with an error")
        self.notes.append(f"same bits; {predictions} predictions, slowest {max(watch.seconds) * 1000:.0f} ms")
        return "; ".join(self.notes)

    def write(self, method, path, body=None, headers=None):
        return self.asking.ask(f"{method} {path}", method, path, body, headers)

    def refused(self):
        """Everything that would store something new, in words."""
        writes = [("POST", "/v1/models", model("new"), None), ("POST", "/v1/datasets?name=new", TABLE, CSV),
                  ("POST", "/v1/datasets/table/rows", TABLE, CSV), ("POST", "/v1/jobs", job("served"), None),
                  ("POST", "/v1/models/served/predictions", {"dataset": "table"}, None)]
        return [self.write(*write) for write in writes]

    def nearly_full(self):
        """Less than the part that is kept is free: nothing new, but deletions and the ends of jobs."""
        self.disk.leave(KEPT // 2)
        wrong = [outcome for outcome in self.refused() if outcome.status != 507]
        require(not wrong, f"with {KEPT // 2} bytes free: {wrong}")
        deleted = self.write("DELETE", "/v1/models/to-delete")
        require(deleted.status == 204, f"a deletion on a nearly full disk: {deleted}")
        cancelled = self.write("POST", f"/v1/jobs/{self.queued}/cancel")
        require(cancelled.status == 200, f"the end of a job on a nearly full disk: {cancelled} {cancelled.body}")

    def full(self, job_id):
        """Nothing is free."""
        deadline = time.monotonic() + 30.0
        while self.client.get(f"/v1/jobs/{job_id}")["waiting_for"] != "disk":
            self.disk.leave(0)
            require(time.monotonic() < deadline, "the job does not say that it waits for the disk")
            time.sleep(0.02)
        wrong = [outcome for outcome in self.refused() if outcome.status != 507]
        require(not wrong, f"with no room: {wrong}")
        self.prepared.served.check(self.client)
        for path in ("/healthz", "/v1/jobs", "/v1/models", f"/v1/jobs/{job_id}/loss"):
            require(status_of(self.client, path) == 200, f"{path} is not answered on a full disk")
        before = epoch(self.client.get(f"/v1/jobs/{job_id}"))
        time.sleep(1.5)
        state = self.client.get(f"/v1/jobs/{job_id}")
        require(state["status"] == "running" and epoch(state) <= before + 1, f"the waiting job went on: {state['progress']}")
        self.notes.append(f"waited at epoch {epoch(state)} of {self.long.epochs}")


def real_round(prepared, long, number):
    folder = os.path.join(prepared.folder, f"disk-{number}")
    os.makedirs(folder)
    injection.mounted(folder, DISK)
    server = None
    try:
        data_dir = os.path.join(folder, "data")
        shutil.copytree(prepared.data_dir, data_dir)
        server = Server(prepared.binary, data_dir)
        server.start()
        disk = SmallDisk(folder)
        real = RealRound(prepared, long, disk, server)
        real.client.post("/v1/models", model("to-delete"))
        real.queued = paused(real.client)
        return real.run()
    finally:
        if server is not None:
            server.kill()
        injection.unmounted(folder)


def paused(client):
    """A job that does nothing until it is cancelled."""
    client.post("/v1/models", model("waits"))
    made = client.post("/v1/jobs", job("waits", epochs=100_000))["id"]
    client.send("POST", f"/v1/jobs/{made}/pause")
    once(client, made, lambda state: state["status"] == "paused")
    return made


def run(binary, most, real, seed):
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-full-") as folder:
        prepared = Prepared(binary, folder, lambda client: LongJob(client, JOB_SECONDS))
        writes = counted(prepared)
        print(f"an undisturbed run: {writes} writes in the busiest thread; the long job {prepared.made.epochs} epochs in "
              f"{prepared.made.seconds:.1f} s", flush=True)
        for number in injection.sample(rng, range(1, writes + 1), most or writes):
            outcomes.append(is_kept(f"write {number} has no room", lambda: injected_round(prepared, str(number), 0.0)))
        for number in injection.sample(rng, range(1, writes + 1), most or writes):
            when = f"{number}..{number + 20}"
            outcomes.append(is_kept(f"writes {when} have no room", lambda: injected_round(prepared, when, 0.5)))
        for number in range(1, real + 1):
            outcomes.append(is_kept(f"a full disk, {number}", lambda: real_round(prepared, prepared.made, number)))
    return summary("full disk", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--most", type=int, default=6, help="injected rounds of each kind; 0 for every write")
    parser.add_argument("--real", type=int, default=1, help="rounds on a disk that is really full")
    parser.add_argument("--seed", type=int, default=1, help="of which writes fail")
    arguments = parser.parse_args()
    injection.need_strace()
    return run(arguments.binary, arguments.most, arguments.real, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
