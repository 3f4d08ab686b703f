#!/usr/bin/env python3
"""Opens more connections to a gradientd than it takes, and takes its descriptors away, and looks that it goes on (T46).

    python3 tests/torture/crowds.py --binary target/release/gradientd --connections 20000

1. So many connections against the cap (the limit `connections`): no more sockets than that are open; a client that was there before is
   answered as before; the server does not spin; and once the crowd is gone, a new client is answered at once.
2. The same against a server that may have 256 descriptors, and 3. against one that loses all but a few of its descriptors while it runs
   (accept fails with EMFILE), and gets them back: it backs off, complains little, and takes new clients again.
Prints a line per check, with figures, and exits 1 on any miss.
"""

import argparse
import resource
import sys
import threading
import time

sys.dont_write_bytecode = True

from bystander import scene  # noqa: E402
from crowd import Crowd, Habit  # noqa: E402
from daemon import Client  # noqa: E402
from figures import until  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from watcher import of_served, percentile  # noqa: E402

# Sockets beside the connections: the one that listens, and those of the runtime.
OWN_SOCKETS = 8
# Shares of a core that waiting may take, on top of the watched client's predictions.
SPIN = 0.25
# Seconds of a core that it takes to let one in and out.
ACCEPTING = 0.000_2
# Lines of the log per second that are more than information.
COMPLAINTS = 15.0
# Seconds that a crowd is there, of which who was there before is watched alone for half as long first.
SECONDS = 8.0
FEW = 256


class Meanwhile:
    """A client that was there before, and what the server takes, while a crowd is there."""

    def __init__(self, scene):
        self.scene, self.process = scene, scene.process
        self.watcher = of_served(scene.server, scene.served)
        self.watcher.start()
        # Its connection is made before the crowd comes.
        require(until(lambda: self.watcher.seconds, 10.0, 0.01) is not None, "the watched client is not answered")

    def look(self, seconds):
        """The most sockets, the share of a core and the complaints per second of so long."""
        cpu, log, began, sockets = self.process.processor_seconds(), self.complaints(), time.monotonic(), 0
        while time.monotonic() < began + seconds:
            sockets = max(sockets, self.process.sockets())
            time.sleep(0.2)
        took = time.monotonic() - began
        return sockets, (self.process.processor_seconds() - cpu) / took, (self.complaints() - log) / took

    def complaints(self):
        with open(self.scene.server.log.name, "rb") as log:
            return sum(b'"level":"INFO"' not in line[:100] for line in log)

    def end(self):
        predicted = self.watcher.stop()
        return f"{predicted} predictions beside it, p99 {1000 * percentile(self.watcher.seconds, 0.99):.1f} ms"


def idle_share(scene, seconds):
    """Of a core, that the watched client alone takes."""
    meanwhile = Meanwhile(scene)
    _, share, _ = meanwhile.look(seconds)
    meanwhile.end()
    return share


def crowded(scene, count, cap, seconds):
    """So many connections that say nothing."""
    alone = idle_share(scene, seconds / 2)
    meanwhile = Meanwhile(scene)
    crowd = Crowd(scene.url, Habit(), count, 60.0, pace=4000.0)
    sockets, share, log = meanwhile.look(seconds)
    fate = crowd.stop()
    back = answered_again(scene)
    said = (f"{count} tried, {fate}; at most {sockets} sockets of the server, cap {cap}; {100 * share:.0f} % of a core ({100 * alone:.0f} % alone), "
            f"{log:.1f} complaints per second; a new client is answered {1000 * back:.0f} ms after they are gone; {meanwhile.end()}")
    require(sockets <= cap + OWN_SOCKETS, f"more connections than the cap: {said}")
    require(fate.connected >= min(count, cap // 2), f"it was no crowd: {said}")
    return judged(scene, said, share - alone - ACCEPTING * fate.connected / seconds, log)


def answered_again(scene):
    """Seconds until somebody new is answered."""
    def is_answered():
        try:
            with Client(scene.url, timeout=2.0) as client:
                client.get("/healthz")
            return True
        except GONE:
            return False
    back = until(is_answered, 15.0, 0.02)
    require(back is not None, "nobody new is answered 15 s after the crowd is gone")
    return back


def judged(scene, said, share, log):
    require(share <= SPIN, f"it spins: {said}")
    require(log <= COMPLAINTS, f"it logs too much: {said}")
    require(until(lambda: scene.process.sockets() <= OWN_SOCKETS, 15.0) is not None, f"{scene.process.sockets()} sockets are left: {said}")
    scene.come_anew()
    scene.check()
    return said


def without_descriptors(scene, spare, seconds):
    """All but so many descriptors are taken away for a while."""
    alone = idle_share(scene, seconds / 2)
    meanwhile = Meanwhile(scene)
    pid, before = scene.process.pid, resource.prlimit(scene.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (scene.process.descriptors() + spare, before[1]))
    crowd = Crowd(scene.url, Habit(), 10 * spare, 60.0)
    sockets, share, log = meanwhile.look(seconds)
    asked = Asked(scene.url)
    asked.start()
    time.sleep(0.5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    began = time.monotonic()
    asked.join(30.0)
    waited = time.monotonic() - began
    fate = crowd.stop()
    said = (f"{spare} descriptors left for {10 * spare} connections: {fate}; at most {sockets} sockets; {100 * share:.0f} % of a core "
            f"({100 * alone:.0f} % alone), {log:.1f} complaints per second; one that waited is answered {1000 * waited:.0f} ms after they are back; "
            f"{meanwhile.end()}")
    require(asked.answered, f"one that waited is not answered: {said}")
    require(waited < 5.0, f"one that waited is answered late: {said}")
    return judged(scene, said, share - alone, log)


def is_told(scene, cap):
    told = scene.client.get("/v1/limits").get("connections")
    require(told is not None and told <= cap, f"/v1/limits says {told} connections, more than half of the descriptors: {cap}")
    return f"{told} connections"


class Asked(threading.Thread):
    """One who asks while nobody is let in."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.answered = url, False

    def run(self):
        try:
            with Client(self.url, timeout=30.0) as client:
                self.answered = client.get("/healthz") == {"status": "ok"}
        except GONE:
            pass


def run(binary, count, seconds):
    outcomes = []
    with scene(binary) as made:
        cap = made.client.get("/v1/limits").get("connections", 4096)
        outcomes.append(is_kept(f"{count} connections", lambda: crowded(made, count, cap, seconds)))
        outcomes.append(is_kept("no descriptors for a while", lambda: without_descriptors(made, 20, seconds)))
    with scene(binary, prefix=["prlimit", f"--nofile={FEW}:{FEW}"]) as made:
        cap = FEW // 2
        outcomes.append(is_kept("the cap of few descriptors", lambda: is_told(made, cap)))
        outcomes.append(is_kept(f"with {FEW} descriptors", lambda: crowded(made, min(count, 2000), cap, seconds)))
        outcomes.append(is_kept("and none for a while", lambda: without_descriptors(made, 20, seconds)))
    return summary("crowds", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--connections", type=int, default=20_000, help="at most 25,000")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that each crowd is there, at most 60")
    arguments = parser.parse_args()
    return run(arguments.binary, min(arguments.connections, 25_000), min(arguments.seconds, 60.0))


if __name__ == "__main__":
    sys.exit(main())
