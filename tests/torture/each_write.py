#!/usr/bin/env python3
"""Kills a gradientd at every write, sync, truncation, deletion and renaming of a scripted run, and of the start on an older database (T2, T15).

    python3 tests/torture/each_write.py --binary target/release/gradientd --old tests/fixtures/databases/0009.db

The story of story.py (models, tables, an append, a job that is paused and resumed, its version, a publication, aliases, a batch
prediction, deletions, SIGTERM) is played once to count its calls, then again for each of them, with the server under strace, which
kills it as it enters the call. Calls are counted thread by thread: the Nth of a kind is that of the thread that comes to it
first, which leaves out calls of threads that make fewer. After a start every acknowledged step must be there and the one in flight
whole or not at all, no job may have succeeded without its version, and the job and the batch prediction must come to the
bits of the undisturbed play.
The start on a database of an older program, and SIGTERM after it, are killed in the same way; after the next start everything must be there,
and jobs that had not ended must come to what they come to undisturbed.
Prints figures and exits 1 on any miss.
"""

import argparse
import collections
import concurrent.futures
import glob
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client, Refused, Server  # noqa: E402
from promise import GONE, Miss, fail, is_kept, require, stripped, summary  # noqa: E402
from story import PATIENCE, Found, Story, masked, played  # noqa: E402

READY_LIMIT = 2.0
CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename")
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "databases", "*.db")
CALL = re.compile(r"^(\d+) +(\w+)\(")
# Of the starts: two cores, and most of the time goes to waiting for strace.
AT_ONCE = 2


class Place:
    """A data directory of its own."""

    def __init__(self, binary, database=None):
        self.binary, self.directory = binary, tempfile.TemporaryDirectory(prefix="gradientd-each-")
        self.data_dir = os.path.join(self.directory.name, "data")
        os.mkdir(self.data_dir)
        if database is not None:
            shutil.copy(database, os.path.join(self.data_dir, "gradientd.db"))
        self.server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server is not None:
            self.server.kill()
        self.directory.cleanup()

    def start(self, strace=()):
        """Starts the server, under strace with these options where there are some; whether it got ready."""
        prefix = ["strace", "-f", "-q", *strace] if strace else []
        self.server = Server(self.binary, self.data_dir, prefix=prefix)
        try:
            self.ready_after = self.server.start()
            return True
        except RuntimeError:
            require(strace and self.server.process.returncode == -signal.SIGKILL, f"it does not start: {self.server.log_tail()}")
            return False

    def kill_at(self, call, number):
        return self.start(["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", "-o", "/dev/null"])

    def count(self):
        """Starts the server so that its calls can be counted."""
        self.counted = os.path.join(self.directory.name, "calls")
        return self.start(["-e", f"trace={','.join(CALLS)}", "-o", self.counted])

    def calls(self):
        """How many calls of each kind each thread has made."""
        calls = collections.defaultdict(collections.Counter)
        with open(self.counted, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if found := CALL.match(line):
                    calls[found[2]][found[1]] += 1
        return calls


class Scripted:
    """The story, killed."""

    def __init__(self, binary, ready_limit):
        self.binary, self.ready_limit = binary, ready_limit
        self.facts, self.calls = played(self.undisturbed)

    def undisturbed(self):
        with Place(self.binary) as place:
            place.count()
            with Client(place.server.url) as client:
                story = Story(client, pauses=1)
                story.play()
            require(place.server.stop() == 0, "the undisturbed server did not end with 0")
            return story.facts, place.calls()

    def killed(self, call, number):
        """Plays until the kill; the name of the step in flight, or None where it came to no kill."""
        return played(lambda: self.killed_once(call, number))

    def killed_once(self, call, number):
        with Place(self.binary) as place:
            acknowledged = 0

            def told(done):
                nonlocal acknowledged
                acknowledged = done

            if place.kill_at(call, number):
                with Client(place.server.url) as client:
                    try:
                        Story(client, pauses=1, told=told).play()
                        place.server.stop()
                    except GONE:
                        pass
                status = place.server.wait_for_end(10.0)
                if status == 0:
                    return None
                require(status == -signal.SIGKILL, f"the server ended by itself with {status}: {place.server.log_tail()}")
            place.start()
            require(place.ready_after <= self.ready_limit, f"it was ready after {place.ready_after:.2f} s")
            with Client(place.server.url) as client:
                return Found(client, self.facts, acknowledged, of_another_play=True).check(finish=True)


class Upgrade:
    """The start on an older database, killed."""

    def __init__(self, binary, database):
        self.binary, self.database, self.held = binary, database, held_by(database)
        with Place(binary, database) as place:
            place.count()
            with Client(place.server.url) as client:
                self.content = everything(client, *self.held)
            # strace has written down all of them once the server has ended.
            require(place.server.stop() == 0, "the undisturbed server did not end with 0")
            self.calls = place.calls()
        require(self.content and None not in self.content.values(), f"of {database} something is missing, or all")

    def killed(self, call, number):
        with Place(self.binary, self.database) as place:
            if place.kill_at(call, number) and self.ends_whole(place):
                return None
            place.start()
            with Client(place.server.url) as client:
                found = everything(client, *self.held)
            for path, content in self.content.items():
                require(found[path] == content, f"{path} was {content}, is {found[path]}")
            return "start"

    def ends_whole(self, place):
        """Whether the jobs and the server end without the kill."""
        try:
            with Client(place.server.url) as client:
                everything(client, *self.held)
            return place.server.stop() == 0
        except GONE:
            # Its connections are gone before its lock is.
            place.server.wait_for_end(10.0)
            return False


def held_by(database):
    """Of an older database: the paths of what no start changes, and the names of jobs that have not ended."""
    found = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    paths, unfinished = [], []
    for model, version in found.execute("SELECT model, version FROM versions"):
        paths += [f"/v1/models/{model}/versions/{version}", f"/v1/models/{model}/versions/{version}/parameters"]
    for (name,) in found.execute("SELECT name FROM datasets WHERE ready"):
        paths += [f"/v1/datasets/{name}", f"/v1/datasets/{name}/rows?limit=1000"]
    for job, status in found.execute("SELECT id, status FROM jobs"):
        if status in ("succeeded", "failed", "cancelled"):
            paths += [f"/v1/jobs/{job}", f"/v1/jobs/{job}/loss?limit=10000"]
        else:
            unfinished.append(job)
    found.close()
    return paths, unfinished


def everything(client, paths, unfinished):
    """What is there of it, once the jobs that go on have ended."""
    deadline = time.monotonic() + PATIENCE
    found = {path: client.find(path) for path in paths}
    for job in unfinished:
        while (state := client.get(f"/v1/jobs/{job}"))["status"] in ("queued", "running"):
            require(time.monotonic() < deadline, f"job {job} is still {state['status']}")
            time.sleep(0.05)
        found[f"job {job}"] = masked(state), stripped(client.losses(job))
    return found


def points(calls):
    """Every kill that the calls allow: of each kind as many as the busiest thread makes."""
    return [(call, number) for call in CALLS for number in range(1, max(calls[call].values(), default=0) + 1)]


def kill_at_each(run, share, rng):
    """Kills at a share of the points; a line of what came of it."""
    every = points(run.calls)
    chosen = sorted(rng.sample(every, max(1, min(len(every), round(share * len(every))))))
    misses, steps, unkilled = [], collections.Counter(), 0

    def one(point):
        try:
            return point, run.killed(*point), None
        except (Miss, Refused, RuntimeError, KeyError, *GONE) as miss:
            return point, None, f"{type(miss).__name__}: {miss}"

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for (call, number), step, miss in pool.map(one, chosen):
            if miss is not None:
                misses.append(f"killed at {call} {number}: {miss}")
            elif step is None:
                unkilled += 1
            else:
                steps[step] += 1
    require(not misses, f"{len(misses)} of {len(chosen)} kills: " + "; ".join(misses[:3]))
    require(steps, f"none of {len(chosen)} kills came: strace injects nothing")
    total = sum(sum(threads.values()) for threads in run.calls.values())
    kinds = ", ".join(f"{len(threads)} threads make {sum(threads.values())} {call}" for call, threads in run.calls.items())
    return (f"{total} calls ({kinds}), {len(every)} points to kill at, {len(chosen)} tried, {sum(steps.values())} killed in "
            f"{len(steps)} different steps, {unkilled} were not come to; nothing lost, nothing half there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--share", type=float, default=1.0, help="of the points that are tried")
    parser.add_argument("--old", nargs="*", default=sorted(glob.glob(FIXTURES)), metavar="DATABASE",
                        help="databases of older programs; left out, those of tests/fixtures/databases")
    parser.add_argument("--old-binary", help="an older program that makes such a database first")
    parser.add_argument("--slack", type=float, default=1.0, help="times the bounds in seconds, for a busy machine")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        fail("strace is missing: install it")
    rng, outcomes = random.Random(arguments.seed), []
    share = min(1.0, arguments.share)
    outcomes.append(is_kept("the story", lambda: kill_at_each(Scripted(arguments.binary, arguments.slack * READY_LIMIT), share, rng)))
    with tempfile.TemporaryDirectory(prefix="gradientd-old-") as scratch:
        old = list(arguments.old)
        if arguments.old_binary is not None:
            old.append(made_by(arguments.old_binary, scratch))
        for database in old:
            name = f"a start on {os.path.basename(database)}"
            outcomes.append(is_kept(name, lambda: kill_at_each(Upgrade(arguments.binary, database), share, rng)))
    return summary("a kill at each write", outcomes)


def made_by(binary, scratch):
    """The database that another program leaves after the story."""
    with Place(binary) as place:
        place.start()
        with Client(place.server.url) as client:
            Story(client, pauses=1).play()
        place.server.stop()
        return shutil.copy(os.path.join(place.data_dir, "gradientd.db"), os.path.join(scratch, "old.db"))


if __name__ == "__main__":
    sys.exit(main())
