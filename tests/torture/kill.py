#!/usr/bin/env python3
"""Kills a gradientd again and again under sixteen writers and looks whether it lost anything, or left anything half done (T1).

    python3 tests/torture/kill.py --binary target/release/gradientd --rounds 500 --seed 1

In each round sixteen clients write what they like (models, aliases, tables of some rows and of some MB, appends, deletions, jobs that
are paused, resumed and cancelled, batch predictions), SIGKILL comes at a random moment, and the server starts on the same
directory. Then it must be ready within 2 s; what was in flight must be there whole or not at all, and, sent again with the same
Idempotency-Key, come to one thing; what was acknowledged since the round before, and some of the rest, must be there with the
bytes that it had; every job that is not paused must end or get on within 10 s. In the end everything that was ever acknowledged is
compared, and every job must come to an end. The same work must come to the same bits, however often it was killed.
Prints a line per round and exits 1 on any miss.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from daemon import Client, Server, known_options  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from writers import MIXED, Writer  # noqa: E402

READY_LIMIT = 2.0
TAKE_UP_LIMIT = 10.0
# The rest of what is known, in each round, of each writer.
SAMPLE = 6
# Jobs are killed without end here: none is to be given up, and nothing is to be forgotten.
OPTIONS = ("--max-attempts=1000000", "--keep-jobs=0", "--keep-checkpoints=0", "--keep-versions=0", "--keep-predictions=0")


class Torture:
    """One server, its writers, and what came of the rounds so far."""

    def __init__(self, binary, data_dir, seed):
        self.rng = random.Random(seed)
        self.server = Server(binary, data_dir, ["--job-slots=6", *known_options(binary, *OPTIONS)])
        self.writers = [kind(number, seed) for number, kind in enumerate(MIXED, 1)]
        self.slowest, self.compared, self.taken_up = 0.0, 0, 0
        self.server.start()

    def round(self):
        before = sum(writer.acknowledged for writer in self.writers)
        killed = self.write_and_kill(self.rng.uniform(0.02, 1.5))
        in_flight = sum(writer.in_flight is not None for writer in self.writers)
        ready = self.server.start()
        self.slowest = max(self.slowest, ready)
        with Client(self.server.url) as client:
            waited, jobs = take_up(client)
            for writer in self.writers:
                require(writer.fault is None, writer.fault)
                writer.recover(client)
            compared = sum(writer.check(client, SAMPLE) for writer in self.writers)
        self.taken_up += jobs
        self.compared += compared
        require(ready <= READY_LIMIT, f"it was ready after {ready:.2f} s, the limit is {READY_LIMIT} s")
        acknowledged = sum(writer.acknowledged for writer in self.writers) - before
        return (f"{acknowledged:>4} acknowledged, killed after {killed:.2f} s with {in_flight} in flight, ready in {ready:.2f} s, "
                f"{jobs} jobs taken up in {waited:.2f} s, {compared} things as they were")

    def write_and_kill(self, seconds):
        """Lets all write for so long, then kills the server."""
        threads = [threading.Thread(target=writer.write_until_killed, args=[self.server.url]) for writer in self.writers]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        ended = self.server.process.poll()
        self.server.kill()
        killed = time.monotonic() - began
        for thread in threads:
            thread.join()
        require(ended is None, f"the server ended by itself with {ended}\n{self.server.log_tail()}")
        return killed

    def end(self):
        """Ends what stands still, waits for the rest, and compares everything."""
        with Client(self.server.url) as client:
            for writer in self.writers:
                writer.recover(client)
            for job in jobs_in(client, "paused"):
                client.send("POST", f"/v1/jobs/{job['id']}/cancel")
            deadline = time.monotonic() + 120.0
            while left := jobs_in(client, "running") + jobs_in(client, "queued"):
                require(time.monotonic() < deadline, f"{len(left)} jobs have not ended: {left[0]}")
                time.sleep(0.1)
            failed = jobs_in(client, "failed")
            require(not failed, f"{len(failed)} jobs failed: {failed[:1]}")
            compared = sum(writer.check(client, len(writer.known)) for writer in self.writers)
        status = self.server.stop()
        require(status == 0, f"after SIGTERM it ended with {status}")
        sums = {what: sum(getattr(writer, what) for writer in self.writers) for what in ("acknowledged", "retried")}
        size = os.path.getsize(os.path.join(self.server.data_dir, "gradientd.db"))
        return (f"{sums['acknowledged']} acknowledged, {sums['retried']} in flight sent again, {compared} things known and all as they were, "
                f"{self.compared} compared on the way, {self.taken_up} jobs taken up, none stuck, ready in {self.slowest:.2f} s at most, "
                f"{len(Writer.outcomes)} kinds of work with one outcome each, database of {size >> 20} MiB")


def jobs_in(client, status):
    """All jobs of this status."""
    found, after = [], ""
    while True:
        page = client.get(f"/v1/jobs?status={status}&limit=100{after}")
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={found[-1]['id']}"


def take_up(client):
    """Waits until each job that runs, or is to run, has ended or got on; for how long, and how many they were."""
    began = time.monotonic()
    first = {job["id"]: progress(job) for job in jobs_in(client, "running") + jobs_in(client, "queued")}
    standing = set(first)
    while standing:
        for job in list(standing):
            now = progress(client.get(f"/v1/jobs/{job}"))
            if now != first[job] and now[0] != "queued":
                standing.discard(job)
        require(time.monotonic() - began < TAKE_UP_LIMIT, f"jobs do not get on: {sorted(standing)}")
        time.sleep(0.02 if standing else 0.0)
    return time.monotonic() - began, len(first)


def progress(job):
    return job["status"], job["attempt"], job["progress"]["epoch"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--rounds", type=int, default=10, help="at most 2,000")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the writes")
    arguments = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-kill-") as data_dir:
        torture = Torture(arguments.binary, data_dir, arguments.seed)
        try:
            # After a miss the writers no longer know what to expect.
            for number in range(1, min(arguments.rounds, 2000) + 1):
                outcomes.append(is_kept(f"round {number}", torture.round))
                if not outcomes[-1]:
                    break
            else:
                outcomes.append(is_kept("at the end", torture.end))
        finally:
            torture.server.kill()
    return summary("kill -9 under sixteen writers", outcomes)


if __name__ == "__main__":
    sys.exit(main())
