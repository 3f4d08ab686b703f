#!/usr/bin/env python3
"""Has every sync of the disk fail in turn, and some writes, and looks what a gradientd does about it.

    python3 tests/torture/failing_syncs.py --binary target/release/gradientd --most 20 --seed 1

Each round starts a server whose Nth fsync or fdatasync fails with EIO (or its Nth pwrite64), and runs a script of writes of every kind
against it. The kernel takes pages for clean that it could not write, so that no later sync is to be believed. From the failure on no
write may be acknowledged, /readyz must be 503 or nobody answers, and the process must end by itself within 5 s and not with 0. After a
restart without the fault everything that was acknowledged is there, before the failure as after, and what was in the making is there
as a whole or not at all.
The sync of a directory, in which SQLite has made the write-ahead log, is another matter: SQLite ignores how it ends. Where the server
does not sync the directory once more itself, and refuses to start, it may go on, and everything acknowledged must be there all the
same; such rounds are counted apart.
--most bounds the rounds of each kind; 0 is every N up to the last call. Needs strace. Exits 1 on any miss.
"""

import argparse
import os
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import injection  # noqa: E402
from daemon import Client, Server  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import Scripted, recovered, status_of  # noqa: E402

END_LIMIT = 5.0
# From the failure on until the store can know of it.
IN_FLIGHT = 0.05


class Ends:
    """The slowest end of a server after a failure, and what was counted of the rounds."""

    def __init__(self):
        self.slowest, self.failures, self.acknowledged, self.told, self.ignored, self.absent = 0.0, 0, 0, 0, 0, 0

    def check(self):
        require(self.absent * 10 <= self.failures, f"{self.absent} calls never came, and {self.failures} failed")
        return f"{self.failures + self.ignored}, and {self.absent} did not"

    def __str__(self):
        return (f"{self.failures} failures that ended the server, {self.told} of them told by a 500, "
                f"slowest end {self.slowest:.2f} s after it; {self.ignored} of a directory, which SQLite ignores; {self.acknowledged} writes acknowledged")


def scripted_round(prepared, calls, number, ends):
    with prepared.copy() as data_dir:
        trace = data_dir + ".trace"
        with prepared.server(data_dir, injection.injected(calls, f"error=EIO:when={number}", trace)) as server:
            scripted = Scripted("")
            try:
                server.start()
                scripted.url = server.url
                scripted.run()
            except RuntimeError:
                require(injection.moments(trace), f"the server did not start{complaints(server)}")
            if not injection.moments(trace):
                # How many calls there are varies a little with who comes first.
                require(server.stop() == 0, "the server ended with an error")
                ended, ends.absent = "the call never came", ends.absent + 1
            elif injection.of_files(trace) == {data_dir} and server.process.poll() is None:
                require(server.stop() == 0, "the server ended with an error")
                ended, ends.ignored = "SQLite ignores the directory", ends.ignored + 1
            else:
                ended = end_of_failed(server, scripted, injection.moments(trace)[0], ends)
        ends.acknowledged += scripted.acknowledged
        with prepared.server(data_dir) as server:
            ready = recovered(server, prepared.served.check, scripted.check)
            require(server.stop() == 0, "the next server ended with an error")
    return f"{scripted.acknowledged:>2} acknowledged, {ended}, ready again in {ready:.2f} s, all there"


def end_of_failed(server, scripted, failed, ends):
    """What a server must do whose disk has failed at that moment, in words."""
    if server.process.poll() is None:
        # A failure that only the copy of the log meets is known to the store a moment later than to us.
        time.sleep(IN_FLIGHT)
        client = Client(server.url, timeout=END_LIMIT)
        ready = status_of(client, "/readyz")
        client.close()
        require(ready in (None, 503), f"/readyz is {ready} after the failure")
        late = scripted.ask("write after the failure", "PUT", "/v1/models/a/aliases/late", {"version": 1})
        require(not late.is_acknowledged, "a write was acknowledged after the failure")
    status = server.wait_for_end(END_LIMIT)
    ended = time.time() - failed
    require(status is not None and ended < END_LIMIT, f"the server still ran {ended:.1f} s after the failure{complaints(server)}")
    require(status != 0, f"the server ended with {status}{complaints(server)}")
    late = [outcome for outcome in scripted.outcomes if outcome.is_acknowledged and outcome.began > failed + IN_FLIGHT]
    require(not late, f"begun and acknowledged after the failure: {late}")
    strange = [outcome for outcome in scripted.outcomes
               if not outcome.is_acknowledged and outcome.status not in (None, 404, 500, 503)]
    require(not strange, f"answered strangely: {strange}")
    ends.slowest, ends.failures = max(ends.slowest, ended), ends.failures + 1
    ends.told += any(outcome.status == 500 for outcome in scripted.outcomes)
    return f"ended with {status} {ended:.2f} s after it"


def start_round(binary, folder, number, ends):
    """The first start, on an empty directory."""
    with tempfile.TemporaryDirectory(prefix="start-", dir=folder) as scratch:
        data_dir, trace = os.path.join(scratch, "data"), os.path.join(scratch, "trace")
        server = Server(binary, data_dir, prefix=injection.injected(injection.SYNCS, f"error=EIO:when={number}", trace))
        try:
            server.start()
            require(injection.of_files(trace) <= {data_dir}, "it started, although a sync of a file had failed")
            require(server.stop() == 0, "the server ended with an error")
            said, ends.ignored = "started, as SQLite ignores the directory", ends.ignored + 1
        except RuntimeError:
            require(server.process.returncode == 2, f"the start ended with {server.process.returncode}")
            said, ends.failures = "refused to start", ends.failures + 1
        finally:
            server.kill()
        require(injection.moments(trace), f"the sync {number} never came")
        server = Server(binary, data_dir)
        try:
            ready = server.start()
            require(server.stop() == 0, "the next server ended with an error")
        finally:
            server.kill()
    return f"{said}, then ready in {ready:.2f} s"


def counted(prepared, calls):
    """The calls that the busiest thread makes in an undisturbed run, of the script and of its end."""
    with prepared.copy() as data_dir, prepared.server(data_dir, injection.traced(calls, data_dir + ".trace")) as server:
        server.start()
        scripted = Scripted(server.url)
        scripted.run()
        refused = [outcome for outcome in scripted.outcomes if not outcome.is_acknowledged]
        require(not refused, f"the script does not run undisturbed: {refused}")
        within = injection.most_calls(data_dir + ".trace")
        server.stop()
        return within


def counted_start(binary, folder):
    with tempfile.TemporaryDirectory(prefix="start-", dir=folder) as scratch:
        trace = os.path.join(scratch, "trace")
        server = Server(binary, os.path.join(scratch, "data"), prefix=injection.traced(injection.SYNCS, trace))
        server.start()
        calls = injection.most_calls(trace)
        server.stop()
        return calls


def run(binary, most, seed):
    rng, ends, outcomes = random.Random(seed), Ends(), []
    with tempfile.TemporaryDirectory(prefix="gradientd-syncs-") as folder:
        prepared = Prepared(binary, folder)
        syncs, writes, starts = counted(prepared, injection.SYNCS), counted(prepared, injection.WRITES), counted_start(binary, folder)
        print(f"an undisturbed run: {syncs} syncs and {writes} writes in the busiest thread, {starts} syncs in a first start", flush=True)
        chosen = [(injection.SYNCS, "sync", number) for number in numbers(rng, syncs, most, most)]
        chosen += [(injection.WRITES, "write", number) for number in numbers(rng, writes, most and most // 2, 60)]
        for calls, kind, number in chosen:
            outcomes.append(is_kept(f"{kind} {number} fails", lambda: scripted_round(prepared, calls, number, ends)))
        for number in numbers(rng, starts, most and most // 4, most):
            outcomes.append(is_kept(f"sync {number} of a first start fails", lambda: start_round(binary, folder, number, ends)))
        outcomes.append(is_kept("calls that came", ends.check))
    return summary(f"failing syncs, {ends}", outcomes)


def numbers(rng, last, most, long):
    """Which calls are to fail: at most so many, and all (or `long`) where `most` is 0."""
    return injection.sample(rng, range(1, last + 1), most or long or last)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--most", type=int, default=16, help="syncs that fail, half as many writes; 0 for every sync and 60 writes")
    parser.add_argument("--seed", type=int, default=1, help="of which calls fail")
    arguments = parser.parse_args()
    injection.need_strace()
    return run(arguments.binary, arguments.most, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
