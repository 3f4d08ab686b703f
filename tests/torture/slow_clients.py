#!/usr/bin/env python3
"""Holds thousands of slow and silent connections to a gradientd, and looks that they are ended and nobody else feels them (T45).

    python3 tests/torture/slow_clients.py --binary target/release/gradientd --connections 5000
    python3 tests/torture/slow_clients.py --binary target/release/gradientd --connections 500 --kinds silent headers --together

The kinds: `silent` sends nothing; `headers` a byte of a header every 5 s; `body` a prediction's body and `upload` a table's at a byte
per second, `upload-same` all to one name; `unread` asks for large answers and never reads one; `idle` asks once and keeps its
connection. Each must be closed within the time that /v1/limits gives it (--limits sets it), with a status of its row. A well-behaved client asks for 100
predictions per second meanwhile: all are answered, and their 99th percentile stays within twice that of before and --slack-ms more; somebody
new is answered each second. In the end the server has as many sockets as before, and its memory has grown by at most 64 KiB for each
connection (and 16 MiB). One kind after the other, or --together all at once, each with its share of the connections. Prints a line per
kind and exits 1 on any miss.
"""

import argparse
import json
import sys
import time

sys.dont_write_bytecode = True

from arrivals import at_rate  # noqa: E402
from bystander import scene  # noqa: E402
from crowd import Crowd, Habit  # noqa: E402
from daemon import Client, known_options  # noqa: E402
from figures import MIB, socket_memory, until  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import XOR  # noqa: E402
from watcher import percentile  # noqa: E402
from wire import head, request  # noqa: E402

# Of the well-behaved: requests per second, seconds before the others come, connections at most.
RATE, BEFORE, LANES = 100.0, 8.0, 300
RATIO = 2.0
OF_ONE, OF_ALL = 64 << 10, 16 * MIB
FILES = 16
# Connections per second: those that a kernel has no room for are reset, and that is not what is looked for here.
PACE = 1000.0
# Bytes of the kernel for a connection whose answers are not read, and once it is closed.
UNREAD, LEFT = 1 * MIB, 16 << 10
# How long after its time the last one may be closed: clocks of some servers tick once in a while.
LATE = 5.0
PREDICT = "/v1/models/served/predict"


class Kind:
    """A habit, the limit that ends it, with its default, and what may be answered."""

    def __init__(self, habit, limit, default, statuses):
        self.habit, self.limit, self.default, self.statuses = habit, limit, default, statuses

    def seconds(self, limits):
        return float(limits.get(self.limit, self.default))


def posted(path, kind, first):
    return head("POST", path, [("Content-Type", kind), ("Content-Length", 1_000_000)]) + first


KINDS = {
    "silent": Kind(Habit(), "head_seconds", 10, {"408"}),
    "headers": Kind(Habit(b"GET /v1/limits HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"a", 5.0), "head_seconds", 10, {"408"}),
    "body": Kind(Habit(posted(PREDICT, "application/json", b'{"inputs":[[0,1]'), b" "), "body_seconds", 60, {"408", "503"}),
    "upload": Kind(Habit(posted("/v1/datasets?name=slowNUMBER", "text/csv", b"x,y\n"), b"1"), "body_idle_seconds", 30, {"408", "503"}),
    "upload-same": Kind(Habit(posted("/v1/datasets?name=slow", "text/csv", b"x,y\n"), b"1"), "body_idle_seconds", 30, {"408", "503"}),
    # So many at once that no buffer in between holds them.
    "unread": Kind(Habit(head("GET", "/openapi.yaml") * 40, reads=False), "stall_seconds", 30, None),
    "idle": Kind(Habit(request("GET", "/healthz")), "idle_seconds", 60, {"200"}),
}


class Watch:
    """What the server has while a crowd is there, looked at again and again."""

    def __init__(self, scene):
        self.scene, self.base, self.before = scene, scene.process.sockets(), scene.process.resident()
        self.descriptors = scene.process.descriptors()
        scene.process.forget_peak()
        self.most, self.slowest, self.newcomers = self.base, 0.0, 0

    def look(self):
        self.most = max(self.most, self.scene.process.sockets())
        began = time.monotonic()
        with Client(self.scene.url, timeout=10.0) as newcomer:
            newcomer.get("/healthz")
        self.slowest, self.newcomers = max(self.slowest, time.monotonic() - began), self.newcomers + 1

    def is_back(self, more=0):
        return self.scene.process.sockets() <= self.base + more

    def figures(self, count):
        process = self.scene.process
        growth, after = process.peak() - self.before, process.resident() - self.before
        left = process.descriptors()
        said = (f"sockets {self.base}, {self.most}, {process.sockets()}, all descriptors {self.descriptors} and {left}; "
                f"memory {self.before / MIB:.0f} MiB, {growth / MIB:+.1f} at its peak ({growth / count / 1024:.1f} KiB each), {after / MIB:+.1f} after; "
                f"{self.newcomers} newcomers, slowest {1000 * self.slowest:.0f} ms")
        # The database opens some of its files when they are needed.
        require(left <= self.descriptors + FILES, f"descriptors are left: {said}")
        require(growth <= OF_ONE * count + OF_ALL, f"the memory grows too much: {said}")
        require(self.slowest < 2.0, f"a newcomer waits: {said}")
        return said


def well_behaved(scene, seconds):
    return at_rate(scene.url, request("POST", PREDICT, json.dumps({"inputs": XOR["inputs"]}).encode()), RATE, seconds, most=LANES)


def require_small_buffers(scene, count):
    """What so few leave unread takes little of the kernel's memory; else thousands of them would take that of the whole machine."""
    before = socket_memory()
    crowd = Crowd(scene.url, KINDS["unread"].habit, count, 10.0)
    time.sleep(3.0)
    each = (socket_memory() - before) / count
    crowd.stop()
    require(each <= UNREAD, f"each of {count} that do not read takes {each / MIB:.1f} MiB of the kernel's memory")


def slow_round(scene, names, count, limits, slack_ms):
    """Crowds of these kinds at once; each has its share."""
    kinds = [KINDS[name] for name in names]
    if "unread" in names:
        require_small_buffers(scene, 20)
    longest = max(kind.seconds(limits) for kind in kinds) + count / PACE + LATE
    before = well_behaved(scene, BEFORE).outcome(BEFORE)
    scene.come_anew()
    require(not before.others and not before.refused, f"the well-behaved client alone: {before}")
    watch, buffers = Watch(scene), socket_memory()
    share = count // len(kinds)
    # Who does not read does not see his end either: it has come once this is over.
    unseen = count / PACE + LATE + max((kind.seconds(limits) for kind in kinds if not kind.habit.reads), default=0.0)
    others = min(LANES, share // 2)
    # Opening takes a while too.
    crowds = [Crowd(scene.url, kind.habit, share, longest, PACE / len(kinds)) for kind in kinds]
    meanwhile = well_behaved(scene, longest)
    began = time.monotonic()

    def have_heard():
        return all(crowd.is_over() for kind, crowd in zip(kinds, crowds) if kind.habit.reads)

    while time.monotonic() < began + longest and not all(crowd.is_over() for crowd in crowds):
        watch.look()
        time.sleep(1.0)
        # Of uploads to one name the second has its turn when the first has ended, and its own time then.
        if watch.is_back(others) and have_heard() and time.monotonic() > began + unseen:
            break
    lasted, left = time.monotonic() - began, watch.scene.process.sockets() - watch.base
    # Their own ends come a little later; only those who read hear of them.
    until(have_heard, LATE)
    # Before the crowd goes: what the server has closed, the kernel may still try to send.
    kept = (socket_memory() - buffers) / MIB
    fates = [crowd.stop() for crowd in crowds]
    outcome = meanwhile.outcome(longest)
    said = judged(zip(names, kinds, fates), share, limits)
    require(left <= others, f"{left} sockets more than before after {lasted:.0f} s; {said}")
    require(until(watch.is_back, LATE) is not None, f"{watch.scene.process.sockets()} sockets are left of {watch.base}; {said}")
    require(kept <= count * LEFT / MIB + 16, f"the kernel still holds {kept:.0f} MiB to be sent; {said}")
    figures = watch.figures(count)
    known, now = (1000 * percentile(one.accepted, 0.99) for one in (before, outcome))
    medians = " and ".join(f"{1000 * percentile(one.accepted, 0.5):.2f}" for one in (before, outcome))
    said = f"{said}; all gone after {lasted:.0f} s; others' median {medians} ms, p99 {known:.2f} and {now:.2f} ms; {figures}"
    require(not outcome.others and not outcome.refused, f"the well-behaved client was answered with {dict(outcome.others)} and "
                                                        f"{len(outcome.refused)} refusals; {said}")
    require(now <= RATIO * known + slack_ms, f"others feel it: {said}")
    # The connection of before has been idle for too long.
    scene.come_anew()
    scene.check()
    return said


def judged(crowds, share, limits):
    """What became of each crowd; it is what its kind may end with."""
    said = []
    for name, kind, fate in crowds:
        words = f"{name}: {fate}"
        require(fate.connected == share, f"of {share} not all were let in: {words}")
        if kind.statuses is not None:
            require(not fate.open, f"not all are closed: {words}")
            require(set(fate.statuses) <= kind.statuses, f"answered otherwise than {kind.statuses}: {words}")
            require(max(fate.closed) <= kind.seconds(limits) + LATE, f"closed too late: {words}")
        said.append(words)
    return "; ".join(said)


def run(binary, count, names, together, slack_ms, limits):
    options = known_options(binary, *(f"--limit={limit}" for limit in [f"connections={count + 300}", *limits]))
    with scene(binary, options) as made:
        limits = made.client.get("/v1/limits")
        outcomes = []
        for group in [names] if together else [[name] for name in names]:
            outcomes.append(is_kept(", ".join(group), lambda: slow_round(made, group, count, limits, slack_ms)))
    return summary("slow clients", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--connections", type=int, default=5000, help="of each kind, or of all together; at most 9,000")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--slack-ms", type=float, default=2.0, help="that others may be slower; more on a machine that is busy with others")
    parser.add_argument("--limits", nargs="+", default=[], metavar="NAME=NUMBER", help="of the server, such as shorter times")
    arguments = parser.parse_args()
    count = min(arguments.connections, 9000)
    return run(arguments.binary, count, arguments.kinds, arguments.together, arguments.slack_ms, arguments.limits)


if __name__ == "__main__":
    sys.exit(main())
