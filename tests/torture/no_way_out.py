#!/usr/bin/env python3
"""Runs everything that a gradientd does under strace, and looks that there is no way out of its data directory (T49, T38).

    python3 tests/torture/no_way_out.py --binary target/release/gradientd
    python3 tests/torture/no_way_out.py --binary target/release/gradientd --tests

1. Two stories of writes, reads, jobs and predictions, and 2. hostile names (paths, URLs, encodings of them, NUL, line ends, text that
runs the other way, 10 kB, and so on) wherever a name is taken: each is answered with 4xx, and what is legal is data. Meanwhile the
server connects to nobody, starts no other program, opens sockets of TCP alone, and opens files in its data directory, whose names are
its own, and those of a list in this script. 3. With --tests the same of the integration tests, whose own client connects to the
loopback and which start gradientd. Needs strace. Prints a line per check and exits 1 on any miss.
"""

import argparse
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

sys.dont_write_bytecode = True

import injection  # noqa: E402
from daemon import Client, Server  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import Scripted, Served, job, model  # noqa: E402
from story import Story  # noqa: E402
from wire import Wire, head, request  # noqa: E402

CALLS = "connect,execve,execveat,fork,vfork,openat,openat2,open,creat,socket,unlink,unlinkat,rename,renameat,renameat2,link,symlink,mkdir"
PATIENCE = 60.0
TESTS_SECONDS = 1800.0
NEWEST = "newest"
# What is opened outside the data directory, and why.
OUTSIDE = [
    (r"/etc/ld\.so\.(cache|preload)", "the loader finds libraries"),
    (r"(/usr)?/lib(64)?/.*\.so(\.\d+)*", "the loader opens the C library"),
    (r"/proc/self/maps", "Rust looks where the stack of the first thread ends"),
    (r"/proc/self/(cgroup|mountinfo)|/sys/fs/cgroup/.*", "how many processors and how much memory there may be"),
    (r"/proc/meminfo|/sys/devices/system/(cpu|node)(/.*)?|/proc/cpuinfo|/proc/stat", "how many processors and how much memory there are"),
    (r"/proc/sys/vm/overcommit_memory|/sys/kernel/mm/transparent_hugepage/.*", "the allocator asks how memory is given"),
    (r"/proc/self/(status|stat|statm|fd|limits|task/.*)", "its own figures"),
    (r"/dev/u?random", "SQLite draws a seed"),
    (r"/dev/null", "for what a standard stream of its own lacks"),
]
NULL = "/dev/null"
# Names of files in the data directory: none comes from a request.
INSIDE = r"(/|/lock|/restoring|/(gradientd|scratch-[0-9a-f-]{36})(\.db)?(-wal|-shm|-journal)?)"
ROOT = str(pathlib.Path(__file__).resolve().parents[2])
CALL = re.compile(r'^\d+ +(\w+)\((.*)')
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')

NAMES = [
    "../../etc/passwd", "..", ".", "/etc/passwd", "..\\..\\windows\\win.ini", "C:\\", "a/../../b", "....//....//etc/passwd", "~root",
    "$HOME", "`id`", "$(id)", "a;id", "|id", "a\0b", "\0", "a\r\nX-Injected: 1", "a\nb", "a\tb", "\x1b[31m", "\u202etxt.exe", "a\u200bb",
    "x" * 10_000, "x" * 65, "\U0001f98a", "caf\u00e9", "cafe\u0301", "\uff0e\uff0e\uff0f", "", " ", "-rf", "_a", "'; DROP TABLE models; --",
    "a'b", 'a"b', "<script>alert(1)</script>", "%s%n", "{{7*7}}", "http://127.0.0.1:9/x", "file:///etc/passwd", "\\\\host\\share", "%2e%2e%2f", "..%252f",
    "%00", "gradientd.db", "CON", "NUL", "lock",
]
# As promised to clients; a few of the above are names like others.
LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Bounds:
    """What a server may do; `Tests` may do some more."""

    # Beside the one that it is.
    programs = ()
    connects = None
    sockets = r"AF_INET6?, SOCK_STREAM"
    outside = OUTSIDE
    inside = INSIDE


class Tests(Bounds):
    """Their own client connects to their servers, and they start gradientd, and end it by `kill`."""

    programs = ("gradientd", "kill")
    connects = r'.*(inet_addr\("127\.0\.0\.1"\)|sun_path="/var/run/nscd/socket")'
    sockets = r"AF_INET6?, SOCK_(STREAM|DGRAM)|AF_UNIX|AF_NETLINK"
    outside = [
        *OUTSIDE,
        (r"/etc/(hosts|host\.conf|nsswitch\.conf|resolv\.conf|gai\.conf|services)", "localhost is looked up, when it is to be listened on"),
        (r"(/usr)?/(lib|share)/terminfo/.*|/etc/terminfo/.*", "the harness asks whether the terminal has colours"),
        (r"/usr/(lib|share)/locale/.*|/usr/lib/.*/gconv/.*", "kill asks in which language it is to complain"),
        (r".*\.dwp|/usr/lib/debug/.*", "a panic that is expected looks for names of functions"),
    ]
    inside = r".*"


class Traced:
    """A server under strace, and what it called."""

    def __init__(self, binary, folder, name):
        self.trace, self.data_dir = os.path.join(folder, f"{name}.trace"), os.path.join(folder, name)
        self.server = Server(binary, self.data_dir, prefix=[*injection.traced(CALLS, self.trace), "-s", "16384"])

    def __enter__(self):
        self.server.start(PATIENCE)
        return self.server

    def __exit__(self, *_):
        try:
            self.server.stop(PATIENCE)
        finally:
            self.server.kill()

    def judged(self):
        return judged(calls(self.trace), [self.data_dir])


def calls(trace):
    """Name and arguments of each."""
    found = []
    for line in injection.lines(trace):
        # The moment stands between the process and the call.
        match = CALL.match(re.sub(r"^(\d+) +\d+\.\d+", r"\1", line))
        if match and "resumed>" not in line[:60]:
            found.append(match.groups())
    return found


def judged(called, inside, bounds=Bounds):
    """Requires that none of the calls leads out; in words, what they were."""
    count, outside, names = {}, {}, set()
    for name, arguments in called:
        count[name] = count.get(name, 0) + 1
        path, said = path_of(arguments), f"{name}({arguments[:300]}"
        if name == "connect":
            require(bounds.connects and re.match(bounds.connects, arguments), f"it connects: {said}")
        elif name in ("execve", "execveat"):
            require(count[name] == 1 or os.path.basename(path).startswith(bounds.programs or "/"), f"it starts a program: {said}")
        elif name in ("fork", "vfork"):
            require(bounds.programs, f"it forks: {said}")
        elif name == "socket":
            require(re.match(bounds.sockets, arguments), f"it opens another kind of socket: {said}")
        elif rest := inner(path, inside):
            require(re.fullmatch(bounds.inside, rest), f"it has a file of another name in its data directory: {said}")
            names.add(rest)
        else:
            reason = next((reason for pattern, reason in bounds.outside if re.fullmatch(pattern, path)), None)
            require(reason is not None, f"it touches what is not its own: {said}")
            written = re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)", arguments) or not name.startswith("open")
            require(not written or path == NULL, f"it writes to what is not its own: {said}")
            outside[reason] = outside.get(reason, 0) + 1
    require(count.get("openat", 0) + count.get("open", 0) > 0, "strace has seen nothing")
    return f"{dict(sorted(count.items()))}; {len(names)} paths inside; outside, to be read: {outside}"


def path_of(arguments):
    """The first path, with the directory that it is relative to; nothing of it is resolved."""
    match = PATH.search(arguments)
    within = re.match(r"(?:AT_FDCWD|\d+)<([^>]*)>, \"", arguments)
    return os.path.join(within.group(1) if within else "", match.group(1)) if match else ""


def inner(path, folders):
    """What of a path is behind one of these folders, with its slash; None where it is elsewhere."""
    folder = next((folder for folder in folders if path == folder or path.startswith(folder + "/")), None)
    return None if folder is None else path[len(folder):] or "/"


def stories(binary, folder):
    """Everything that is done in peace, at two servers."""
    first, second = Traced(binary, folder, "first"), Traced(binary, folder, "second")
    with first as server:
        with Client(server.url, timeout=PATIENCE) as client:
            served = Served(client)
            outcomes = Scripted(server.url).run()
            require(all(outcome.is_acknowledged for outcome in outcomes), f"a step was refused: {outcomes}")
            for path in ("/docs", "/openapi.yaml", "/openapi.json", "/metrics", "/problems", "/v1/hyperparameters", "/healthz", "/readyz"):
                client.raw("GET", path)
            served.check(client)
    with second as server:
        with Client(server.url, timeout=PATIENCE) as client:
            Story(client, pauses=1).play()
    return f"{first.judged()}; and {second.judged()}"


def places(name):
    """A request for each place that takes a name."""
    quoted = urllib.parse.quote(name, safe="")
    as_it_is = name if name.isascii() and name.isprintable() and " " not in name else quoted
    for path in {quoted, urllib.parse.quote(quoted, safe=""), as_it_is}:
        yield f"/v1/models/{path}", head("GET", f"/v1/models/{path}")
        yield f"DELETE of {path}", head("DELETE", f"/v1/models/{path}")
        yield f"/v1/models/{path}/predict", posted(f"/v1/models/{path}/predict", {"inputs": [[0, 1]]})
        yield f"version {path}", head("GET", f"/v1/models/served/versions/{path}")
        yield f"dataset {path}", head("GET", f"/v1/datasets/{path}/rows")
        yield f"job {path}", head("GET", f"/v1/jobs/{path}")
        yield f"problem {path}", head("GET", f"/problems/{path}")
        yield f"docs {path}", head("GET", f"/docs/{path}")
        yield f"alias {path}", request("PUT", f"/v1/models/other/aliases/{path}", b'{"version":1}')
        yield f"upload {path}", request("POST", f"/v1/datasets?name={path}", b"x,y\n1,2\n", kind="text/csv")
        yield f"root {path}", head("GET", f"/{path}")
    yield "a model's name", posted("/v1/models", model(name))
    yield "a job's model", posted("/v1/jobs", job(name))
    yield "a job's dataset", posted("/v1/jobs", {"model": "served", "data": {"dataset": name, "target": "y"}})
    yield "a job's column", posted("/v1/jobs", {"model": "served", "data": {"dataset": "table", "features": [name], "target": "y"}})
    yield "a prediction's dataset", posted("/v1/models/served/predictions", {"dataset": name})
    yield "a model's dataset", posted("/v1/models", {"name": "of-table", "dataset": name, "target": "y"})
    yield "a kind of layer", posted("/v1/models", {"name": "m", "inputs": 2, "layers": [{"units": 1, "activation": name}]})


def texts(name):
    """Places where any text may stand: it is stored as it is given, and shown."""
    yield "a description", posted("/v1/models", model(f"d{abs(hash(name))}", description=name))
    yield "metadata", posted("/v1/models", model(f"m{abs(hash(name))}", metadata={"key": name}))
    cell = '"' + name.replace('"', '""') + '"'
    yield "a column", request("POST", f"/v1/datasets?name=t{abs(hash(name))}", f"x,{cell}\n1,{cell}\n2,b\n".encode(), kind="text/csv")


def posted(path, body):
    return request("POST", path, json.dumps(body).encode())


def hostile(binary, folder):
    traced, asked, statuses = Traced(binary, folder, "hostile"), 0, {}
    with traced as server:
        with Client(server.url, timeout=PATIENCE) as client:
            served = Served(client)
            client.post("/v1/models", model("other"))
            for name in NAMES:
                legal = LEGAL.fullmatch(name)
                for place, sent in places(name):
                    status = status_of(server, sent)
                    require(status is not None and (200 if legal else 400) <= status < 500,
                            f"{place[:80]!r} of {name[:40]!r} is answered with {status}")
                    statuses[status], asked = statuses.get(status, 0) + 1, asked + 1
                for place, sent in texts(name):
                    status = status_of(server, sent)
                    require(status is not None and status < 500, f"{place} of {name[:40]!r} is answered with {status}")
                    asked += 1
            # Decoded once, and once only.
            require(client.find("/v1/models/serve%64") is not None, "a name is not decoded")
            require(client.find("/v1/models/serve%2564") is None, "a name is decoded twice")
            served.check(client)
    return f"{len(NAMES)} names in {asked} requests, answered {dict(sorted(statuses.items()))}; {traced.judged()}"


def status_of(server, sent):
    with Wire(server.url, PATIENCE) as wire:
        wire.send(sent)
        answer = wire.answer()
        return answer and answer.status


def suite(tests, folder):
    """The integration tests; they have a client in the same process, and start the program."""
    trace, temporary = os.path.join(folder, "tests.trace"), os.path.join(folder, "tests")
    os.mkdir(temporary)
    built = os.path.dirname(os.path.dirname(tests))
    # Without -D: strace ends when the tests have ended.
    strace = [option for option in injection.traced(CALLS, trace) if option != "-D"]
    ran = subprocess.run([*strace, "-s", "16384", tests, "--test-threads=2"], cwd=ROOT, env={**os.environ, "TMPDIR": temporary},
                         capture_output=True, text=True, timeout=TESTS_SECONDS, check=False)
    ended = re.findall(r"^test result: .*", ran.stdout, re.MULTILINE)
    require(ended, f"the tests did not run: {ran.stdout[-500:]} {ran.stderr[-500:]}")
    return f"{ended[-1]}; {judged(calls(trace), [temporary, ROOT, built], Tests)}"


def newest_beside(binary):
    built = [path for path in glob.glob(os.path.join(os.path.dirname(binary), "deps", "it-*")) if os.access(path, os.X_OK)]
    require(built, "there are no integration tests beside the binary: cargo test --release builds them")
    return max(built, key=os.path.getmtime)


def run(binary, tests):
    with tempfile.TemporaryDirectory(prefix="gradientd-traced-") as folder:
        folder = os.path.realpath(folder)
        outcomes = [is_kept("two stories", lambda: stories(binary, folder)), is_kept("hostile names", lambda: hostile(binary, folder))]
        if tests is not None:
            outcomes.append(is_kept("the integration tests", lambda: suite(
                newest_beside(binary) if tests == NEWEST else os.path.abspath(tests), folder)))
    return summary("no way out", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--tests", nargs="?", const=NEWEST, metavar="PROGRAM",
                        help="the integration tests, as cargo has built them; without a program the newest beside the binary")
    arguments = parser.parse_args()
    injection.need_strace()
    return run(os.path.abspath(arguments.binary), arguments.tests)


if __name__ == "__main__":
    sys.exit(main())
