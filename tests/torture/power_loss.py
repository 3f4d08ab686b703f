#!/usr/bin/env python3
"""Cuts the power of a gradientd at every moment, on paper, and starts it on everything that a disk may hold then (T3).

    python3 tests/torture/power_loss.py --binary target/release/gradientd            # all states
    python3 tests/torture/power_loss.py --binary target/release/gradientd --sample 60 --normal-sample 60

The story of story.py (models, tables small and large, an append, a job with five pauses, each with a checkpoint, its version, SIGTERM and another
start, a publication, aliases, a batch prediction, deletions) is played once under strace, server and client together, so that the
trace has each acknowledgement in its place among the writes. From the trace disk.py makes what may be left after each call:
only what was synced; everything; any sectors of what was not (`--torn` of these). On each the server must be ready within 2 s,
SQLite must find the database whole, and every acknowledged step must be there with its content, the one in flight whole or
not at all; of every tenth state the job must come to the bits that it would have had.
`--as-normal` leaves out the syncs that SQLite's synchronous=NORMAL would leave out: that must be found to lose what was
acknowledged, else this script does not see what it looks for. Without it, both are done.
Prints figures and exits 1 on any miss.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import disk  # noqa: E402
import story  # noqa: E402
from daemon import Client, Refused, Server  # noqa: E402
from promise import GONE, Miss, fail, is_kept, require, summary  # noqa: E402

READY_LIMIT = 2.0
PAUSES = 5
# Of each so many states the job and the batch prediction are waited for.
FINISHED = 10
AT_ONCE = 2
# A commit of the server's own may come while the log is copied, or a pause too late: then the next play has it.
PLAYS = 6
# How a play says so to who traces it.
TOO_LATE = 3
# Nobody who starts the server anew has these: the index of the log is in memory, and locks are of processes.
NOT_ON_DISK = ("-shm", "/lock")


def record(binary, scratch):
    """Plays the story under strace, until the log is once begun over what it had."""
    for number in range(PLAYS):
        place = os.path.join(scratch, str(number))
        os.mkdir(place)
        try:
            steps, facts = record_once(binary, place)
        except story.TooLate:
            continue
        if disk.logs_begun(steps)[1]:
            return steps, facts, data_directory(place)
    fail(f"in {PLAYS} plays the job had ended before its pauses, or the log was never begun over what it had: "
         f"is it copied from {story.COPIED} pages on, as src/store/wal.rs says?")


def record_once(binary, scratch):
    trace = os.path.join(scratch, "trace")
    strace = ["strace", "-f", "-q", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-e", f"trace={','.join(disk.CALLS + disk.STRANGE)}", "-o", trace]
    play = [sys.executable, os.path.abspath(__file__), "--binary", binary, "--play", scratch]
    played = subprocess.run(strace + play, capture_output=True, text=True, timeout=300, check=False)
    if played.returncode == TOO_LATE:
        raise story.TooLate(played.stdout)
    require(played.returncode == 0, f"the story could not be played: {played.stdout[-1000:]} {played.stderr[-1000:]}")
    steps = disk.read_trace(trace, data_directory(scratch))
    os.unlink(trace)
    return steps, story.read_facts(os.path.join(scratch, "facts"))


def data_directory(scratch):
    return os.path.join(os.path.realpath(scratch), "data")


def play(binary, scratch):
    """The client and the server that are traced."""
    os.mkdir(data_directory(scratch))
    server = Server(binary, data_directory(scratch))
    server.start()

    def restart():
        require(server.stop() == 0, "the server did not end with 0")
        server.start()
        return server.url

    with open(os.path.join(scratch, "acknowledged"), "wb", buffering=0) as told:
        try:
            played = story.Story(Client(server.url), PAUSES, told=lambda done: told.write(b"ACK %d\n" % done), restart=restart,
                           data_dir=server.data_dir)
            played.play()
            played.client.close()
            server.stop()
        except story.TooLate:
            return TOO_LATE
        finally:
            server.kill()
    story.write_facts(os.path.join(scratch, "facts"), played.facts)
    return 0


def candidates(steps, root, torn):
    """Every moment at which something may be left, as the disk and how many steps were acknowledged, with each kind of state."""
    acknowledged, drive = 0, disk.Disk()
    for call, ends in steps:
        if call.kind == "acknowledged":
            acknowledged, changed = max(acknowledged, call.acknowledged), not ends
        else:
            changed = (drive.end if ends else drive.begin)(call, call.path == root)
        if changed:
            for kind in ("lost", "kept", *["torn"] * torn):
                yield acknowledged, kind, drive


def states(steps, root, torn, seed, chosen):
    """What may be left, each once: how many steps were acknowledged, what kind of state it is, and the files."""
    seen = set()
    for number, (acknowledged, kind, drive) in enumerate(candidates(steps, root, torn)):
        if chosen is not None and number not in chosen:
            continue
        left = drive.torn(random.Random(f"{seed} {number}")) if kind == "torn" else drive.lost() if kind == "lost" else drive.kept()
        files = {path: content for path, content in left.items() if not path.endswith(NOT_ON_DISK)}
        mark = repr([acknowledged, *((path, hashlib.sha256(files[path]).digest()) for path in sorted(files))])
        if mark not in seen:
            seen.add(mark)
            yield acknowledged, kind, files


class Replay:
    """The trace, and what came of the states that were tried."""

    def __init__(self, binary, steps, facts, root, ready_limit):
        self.binary, self.steps, self.facts, self.root, self.ready_limit = binary, steps, facts, root, ready_limit

    def tried(self, number, state):
        """What is wrong with a state, or None."""
        acknowledged, kind, files = state
        with tempfile.TemporaryDirectory(prefix="gradientd-power-") as scratch:
            for name in ("data", "copy"):
                os.mkdir(os.path.join(scratch, name))
                for path, content in files.items():
                    with open(os.path.join(scratch, name, os.path.basename(path)), "wb") as file:
                        file.write(content)
            server = Server(self.binary, os.path.join(scratch, "data"))
            try:
                is_whole(os.path.join(scratch, "copy", "gradientd.db"))
                ready = server.start(seconds=10.0)
                require(ready <= self.ready_limit, f"ready after {ready:.2f} s")
                with Client(server.url) as client:
                    story.Found(client, self.facts, acknowledged, of_another_play=False).check(finish=number % FINISHED == 0)
                return None
            except (Miss, Refused, RuntimeError, KeyError, sqlite3.DatabaseError, *GONE) as miss:
                step = self.facts[acknowledged]["step"] if acknowledged < len(self.facts) else "the end"
                return f"{kind}, {acknowledged} acknowledged, “{step}” in flight: {type(miss).__name__}: {str(miss)[:600]}"
            finally:
                if server.process is not None:
                    server.kill()

    def run(self, steps, torn, sample, seed):
        """Tries all states, or a sample; what is wrong with which, and how many of each kind were tried."""
        chosen = None
        if sample:
            count = sum(1 for _ in candidates(steps, self.root, torn))
            chosen = set(random.Random(seed).sample(range(count), min(sample, count)))
        bad, kinds = [], collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = collections.deque()
            for number, state in enumerate(states(steps, self.root, torn, seed, chosen)):
                kinds[state[1]] += 1
                waiting.append(pool.submit(self.tried, number, state))
                # Not all at once in memory.
                if len(waiting) >= 4 * AT_ONCE:
                    bad.append(waiting.popleft().result())
            bad += [future.result() for future in waiting]
        return [miss for miss in bad if miss], kinds


def is_whole(path):
    """What SQLite itself says of the database, in a copy: it works the log in."""
    if not os.path.exists(path):
        return
    with sqlite3.connect(path) as database:
        for check in ("integrity_check", "foreign_key_check"):
            found = database.execute(f"PRAGMA {check}").fetchall()
            require(found in ([], [("ok",)]), f"PRAGMA {check}: {found[:3]}")
    database.close()


def with_full(replay, arguments):
    bad, kinds = replay.run(replay.steps, arguments.torn, arguments.sample, arguments.seed)
    for miss in bad[:10]:
        print(f"    {miss}", flush=True)
    require(not bad, f"{len(bad)} of {sum(kinds.values())} states are bad")
    what = "a sample of the states" if arguments.sample else "all states"
    return f"{what} after a power loss: {sum(kinds.values())} ({of_each(kinds)}), 0 bad"


def with_normal(replay, arguments):
    steps, dropped = disk.as_normal(replay.steps)
    bad, kinds = replay.run(steps, arguments.torn, arguments.normal_sample, arguments.seed)
    require(bad, f"{dropped} syncs were left out, and none of {sum(kinds.values())} states is bad: the checks see nothing")
    return f"{dropped} syncs left out, {sum(kinds.values())} states ({of_each(kinds)}), {len(bad)} bad, as they should be; one: {bad[0][:160]}"


def of_each(kinds):
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--sample", type=int, default=0, help="states that are tried; 0 tries all")
    parser.add_argument("--normal-sample", type=int, default=300, help="the same as NORMAL would have synced")
    parser.add_argument("--torn", type=int, default=1, help="states with torn sectors after each call, at most 10")
    parser.add_argument("--as-normal", action="store_true", help="only as synchronous=NORMAL would have synced")
    parser.add_argument("--slack", type=float, default=1.0, help="times the bounds in seconds, for a busy machine")
    parser.add_argument("--seed", type=int, default=1, help="of the sectors and the sample")
    parser.add_argument("--play", metavar="DIRECTORY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        return play(arguments.binary, arguments.play)
    if shutil.which("strace") is None:
        fail("strace is missing: install it")
    arguments.torn = min(arguments.torn, 10)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-trace-") as scratch:
        steps, facts, root = record(os.path.abspath(arguments.binary), scratch)
        replay = Replay(arguments.binary, steps, facts, root, arguments.slack * READY_LIMIT)
        syncs = sum(ends and call.kind == "sync" for call, ends in steps)
        begun, over = disk.logs_begun(steps)
        print(f"{len(facts)} steps, {sum(ends for _, ends in steps)} calls, {syncs} of them syncs; "
              f"the log was begun {begun} times, {over} of them over what it had", flush=True)
        if not arguments.as_normal:
            outcomes.append(is_kept("synchronous=FULL, as it is", lambda: with_full(replay, arguments)))
        outcomes.append(is_kept("as NORMAL would have synced", lambda: with_normal(replay, arguments)))
    return summary("power loss", outcomes)


if __name__ == "__main__":
    sys.exit(main())
