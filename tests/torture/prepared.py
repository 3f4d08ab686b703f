"""Data directories of stopped servers, and copies of them for a round each."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402
from scripted import Served  # noqa: E402


class Prepared:
    """A folder with the data directory of a stopped server. What it serves is in `served`, what `more` made of it in `made`."""

    def __init__(self, binary, folder, more=None, options=()):
        self.binary, self.folder, self.options = binary, folder, options
        self.data_dir = os.path.join(folder, "prepared")
        server = Server(binary, self.data_dir, options)
        server.start()
        try:
            client = Client(server.url)
            self.served = Served(client)
            self.made = more(client) if more else None
            client.close()
            server.stop()
        finally:
            server.kill()

    @contextlib.contextmanager
    def copy(self):
        """A data directory of its own, gone at the end."""
        with tempfile.TemporaryDirectory(prefix="round-", dir=self.folder) as folder:
            data_dir = os.path.join(folder, "data")
            shutil.copytree(self.data_dir, data_dir)
            yield data_dir

    @contextlib.contextmanager
    def server(self, data_dir, prefix=(), options=()):
        """A server, not started, that is gone at the end."""
        server = Server(self.binary, data_dir, [*self.options, *options], prefix)
        try:
            yield server
        finally:
            if server.process is not None:
                server.kill()


def complaints(server):
    """The last lines of a server's log that are more than information."""
    with open(server.log.name, "rb") as log:
        lines = log.read().decode(errors="replace").splitlines()
    return "".join(f"\n    {line[:600]}" for line in lines if '"level":"INFO"' not in line[:100])[-2000:]


def knows(binary, command):
    """Whether a program has a command: an older one lacks some."""
    told = subprocess.run([binary, "help"], capture_output=True, text=True, check=True).stdout
    return f"\n  {command} " in told
