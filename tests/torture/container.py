#!/usr/bin/env python3
"""Runs a gradientd as its container does, without a container engine, and has it train and predict there.

    sudo python3 tests/torture/container.py --binary target/release/gradientd

A root of its own that is read-only and has the libraries of this machine, the program, /proc, /dev/null, a token and a data directory,
but no /tmp; user 65532, no groups, no capabilities, no new privileges; PID 1 of its namespace. It must become ready, ask for the token,
train a model on a table, predict, be well by `healthcheck`, end with 0 on SIGTERM, and have everything after the next start. It needs
root, `unshare` and `setpriv`, and says so where the kernel does not let it. Exits 1 on any miss.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402
from promise import fail, is_kept, require, summary  # noqa: E402
from scripted import TABLE, XOR, job, model, status_of  # noqa: E402

USER = 65532
TOKEN = "a-token-of-this-script-alone"
SECRET = "/run/secrets/gradientd_token"
END_LIMIT = 8.0
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--propagation=private"]
# Lays out the root, $1, with the program $2, the token $3 and the data directory $4, and starts there what comes after.
LAYOUT = """
set -e
root="$1" program="$2" token="$3" data="$4"
shift 4
mount --bind "$root" "$root"
cd "$root"
mkdir -p proc dev data run/secrets
for folder in /lib /lib64 /usr/lib /usr/lib64; do
    if [ -d "$folder" ]; then
        mkdir -p ".$folder"
        mount --bind "$folder" ".$folder"
        mount -o remount,ro,bind ".$folder"
    fi
done
touch dev/null gradientd setpriv run/secrets/gradientd_token
mount --bind /dev/null dev/null
mount --bind "$program" gradientd
mount --bind "$(command -v setpriv)" setpriv
mount --bind "$token" run/secrets/gradientd_token
mount --bind "$data" data
mount -t proc proc proc
mount -o remount,ro,bind "$root"
exec chroot "$root" /setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


class Container:
    """A server in a root of its own."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.data = self.made("data", 0o700)
        self.token = os.path.join(folder, "token")
        with open(self.token, "w", encoding="ascii") as file:
            file.write(f"{TOKEN}\n")
        os.chmod(self.token, 0o400)
        os.chown(self.token, USER, USER)

    def made(self, name, mode):
        path = os.path.join(self.folder, name)
        os.mkdir(path, mode)
        os.chown(path, USER, USER)
        return path

    @contextlib.contextmanager
    def running(self):
        """The server and a client that knows its token."""
        root = tempfile.mkdtemp(prefix="root-", dir=self.folder)
        os.chmod(root, 0o755)
        prefix = [*NAMESPACES, "sh", "-c", LAYOUT, "layout", root, self.binary, self.token, self.data]
        server = Server("/gradientd", "/data", ["--token-file", SECRET], prefix)
        try:
            server.start()
            client = Client(server.url, token=TOKEN)
            yield server, client
            client.close()
        finally:
            if server.process is not None:
                server.kill()


def first(server):
    """The process that unshare has started, as this namespace numbers it."""
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


def confined(server):
    """What the kernel says of the process."""
    process = first(server)
    with open(f"/proc/{process}/status", encoding="ascii") as status:
        told = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    require(set(told["Uid"].split()) == {str(USER)} and set(told["Gid"].split()) == {str(USER)}, f"Uid {told['Uid']}, Gid {told['Gid']}")
    for held in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        require(int(told[held], 16) == 0, f"{held} is {told[held]}")
    require(told["NoNewPrivs"] == "1", "it may gain privileges")
    require(told["NSpid"].split()[-1] == "1", f"it is {told['NSpid']}")
    require(not told["Groups"].strip(), f"groups {told['Groups']}")
    with open(f"/proc/{process}/mounts", encoding="ascii") as mounts:
        ways = {line.split()[1]: line.split()[3].split(",") for line in mounts}
    require("ro" in ways["/"], f"the root is {ways['/']}")
    require(not os.path.lexists(f"/proc/{process}/root/tmp"), "there is a /tmp")
    return "user 65532, no capabilities, no new privileges, PID 1, root read-only, no /tmp"


def smoke(binary, server, client):
    """A table, a model, a job and a prediction, by whoever carries the token."""
    stranger = Client(server.url)
    require(status_of(stranger, "/v1/models") == 401, "it answers without the token")
    stranger.close()
    client.upload("table", TABLE)
    client.post("/v1/models", model("contained"))
    ended = client.wait_for(client.post("/v1/jobs", job("contained"))["id"], 30.0)
    require(ended["version"] == 2, f"the job has made version {ended['version']}")
    answer = client.predict_raw("contained", XOR["inputs"])
    asked = [binary, "healthcheck", "--listen", server.url.removeprefix("http://")]
    checked = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    require(checked.returncode == 0, f"healthcheck: {checked.stderr}")
    return answer


def ended(server):
    """The end by SIGTERM, to PID 1 alone, as an engine does it."""
    began = time.monotonic()
    os.kill(first(server), signal.SIGTERM)
    status = server.wait_for_end(END_LIMIT + 2.0)
    took = time.monotonic() - began
    require(status == 0, f"it ended with {status}\n{server.log_tail()}")
    require(took <= END_LIMIT, f"it took {took:.1f} s")
    return took


def contained(binary, folder):
    container = Container(binary, folder)
    with container.running() as (server, client):
        said = confined(server)
        before = smoke(binary, server, client)
        took = ended(server)
    with container.running() as (server, client):
        require(client.predict_raw("contained", XOR["inputs"]) == before, "the model predicts other bytes")
        ended(server)
    return f"{said}; trained and predicted, ended with 0 in {took:.2f} s, all there at the next start"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        fail("must be run as root: it makes namespaces and mounts")
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            fail(f"{program} is missing: install the package util-linux")
    tried = subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        fail(f"the kernel does not permit namespaces with mounts: {tried.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="gradientd-container-") as folder:
        os.chmod(folder, 0o755)
        held = is_kept("as its container does", lambda: contained(os.path.abspath(arguments.binary), folder))
    return summary("container", [held])


if __name__ == "__main__":
    sys.exit(main())
