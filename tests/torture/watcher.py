"""Watches that a model answers the same bytes, and how fast, while something happens to the rest of a server."""

import threading
import time

from daemon import Client, Refused
from promise import GONE, require
from scripted import XOR


class Watcher(threading.Thread):
    """Predicts again and again, a few milliseconds apart, until it is told to stop."""

    def __init__(self, url, name, rows, expected, pause=0.005):
        super().__init__(daemon=True)
        self.url, self.name, self.rows, self.expected, self.pause = url, name, rows, expected, pause
        self.seconds, self.faults, self.stopped = [], [], threading.Event()

    def run(self):
        client = Client(self.url, timeout=30.0)
        while not self.stopped.wait(self.pause):
            began = time.monotonic()
            try:
                if client.predict_raw(self.name, self.rows) != self.expected:
                    self.faults.append("other bytes")
            except (Refused, *GONE) as fault:
                self.faults.append(f"{type(fault).__name__}: {fault}")
            self.seconds.append(time.monotonic() - began)
        client.close()

    def stop(self):
        """Ends it; every prediction must have been answered with the expected bytes."""
        self.stopped.set()
        self.join()
        require(not self.faults, f"{len(self.faults)} of {len(self.seconds)} predictions failed: {self.faults[:1]}")
        require(self.seconds, "nothing was predicted")
        return len(self.seconds)


def of_served(server, served, pause=0.005):
    """Predictions of what is `Served`."""
    return Watcher(server.url, served.NAME, XOR["inputs"], served.prediction, pause)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
