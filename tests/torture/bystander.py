"""A server with a bystander: a client whose predictions must stay what they are, whatever is done to the server beside them."""

import contextlib
import os
import tempfile
import time

from daemon import Client, Server
from figures import MIB, Process
from promise import require
from scripted import XOR, Served


# Seconds that a connection may be silent for certain.
IDLE = 50.0


class Scene:
    """A server, its process, and the bystander's connection that is kept alive."""

    def __init__(self, server):
        self.server, self.url = server, server.url
        self.process = Process(server.process.pid)
        self.client = Client(self.url)
        self.served = Served(self.client)
        self.asked = time.monotonic()

    def check(self):
        """The server lives and the bystander feels nothing; it has the connection that it had, if that was not idle for long."""
        ended = self.server.process.poll()
        require(ended is None, f"the server has ended with {ended}\n{self.server.log_tail()}")
        if time.monotonic() - self.asked > IDLE:
            self.come_anew()
        kept = self.client.connection.sock
        require(self.client.predict_raw(self.served.NAME, XOR["inputs"]) == self.served.prediction, "a bystander is predicted other bytes")
        self.asked = time.monotonic()
        require(self.client.connection.sock is kept, "the bystander's connection was closed")
        with Client(self.url) as fresh:
            require(fresh.get("/healthz") == {"status": "ok"}, "/healthz does not say ok")

    def come_anew(self):
        """By a new connection, where the one of before may have been idle for too long."""
        self.client.close()
        self.client = Client(self.url)
        self.client.get("/healthz")
        self.asked = time.monotonic()

    def weighed(self, act, most):
        """What `act` gives, and how the memory went meanwhile, in words: it must not grow by more than `most` bytes."""
        before = self.process.resident()
        self.process.forget_peak()
        given = act()
        growth, after = self.process.peak() - before, self.process.resident()
        figures = f"memory {before / MIB:.0f} MiB, {growth / MIB:+.1f} at its peak, {(after - before) / MIB:+.1f} after"
        require(growth <= most, f"{figures}: more than {most / MIB:.0f} MiB; {given}")
        return given, figures


@contextlib.contextmanager
def scene(binary, options=(), prefix=()):
    """A scene whose server is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="gradientd-scene-") as folder:
        server = Server(binary, os.path.join(folder, "data"), options, prefix)
        try:
            server.start()
            made = Scene(server)
            yield made
            made.client.close()
        finally:
            if server.process is not None:
                server.kill()
