"""Has calls of a gradientd to the kernel fail or be late, by `strace -e inject`, and counts them.

strace counts for each thread by itself: the Nth call is the Nth of every thread. The database has a thread per connection, and one of
them does nearly all of the writing.
"""

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

from promise import fail  # noqa: E402

SYNCS = "fsync,fdatasync"
WRITES = "pwrite64"
READS = "pread64"


def need_strace():
    if shutil.which("strace") is None:
        fail("strace is missing: install the package strace")


# -D: the process that was started is the server, and strace its child.
STRACE = ["strace", "-D", "-f", "-y", "-qq", "-ttt", "-e", "signal=none"]
# A filter in the kernel leaves all other calls alone. It stays when strace goes, and then all that it filters fail.
FILTERED = ["--seccomp-bpf"]
# Else strace does not hear that it is to end.
LIFTABLE = ["-I", "2"]


def traced(calls, trace):
    """What to start the server by so that these calls are written down in the file `trace`."""
    return [*STRACE, *FILTERED, "-o", trace, "-e", f"trace={calls}"]


def injected(calls, how, trace):
    """The same, and the calls fail or are late as `how` says: `error=EIO:when=7`."""
    return [*traced(calls, trace), "-e", f"inject={calls}:{how}"]


def injected_until_lifted(calls, how, trace):
    """The same, and slower, until the fault is lifted."""
    return [*STRACE, *LIFTABLE, "-o", trace, "-e", f"trace={calls}", "-e", f"inject={calls}:{how}"]


def moments(trace):
    """When calls were made to fail or be late, in seconds since 1970."""
    return [float(line.split()[1]) for line in disturbed(trace)]


def disturbed(trace):
    return [line for line in lines(trace) if "(INJECTED)" in line or "(DELAYED)" in line]


def of_files(trace):
    """The paths of the files whose calls were disturbed."""
    return {match.group(1) for line in disturbed(trace) if (match := re.search(r"\(\d+<([^>]*)>", line))}


def lift(process):
    """Has all calls succeed from now on: ends the strace of a server."""
    tracer = tracer_of(process)
    if tracer:
        os.kill(tracer, signal.SIGTERM)
    deadline = time.monotonic() + 5.0
    while tracer_of(process) and time.monotonic() < deadline:
        time.sleep(0.005)


def tracer_of(process):
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"TracerPid:\s*(\d+)", status.read()).group(1))
    except OSError:
        return 0


class Lift(threading.Thread):
    """Lifts a fault so many seconds after it has come."""

    def __init__(self, process, trace, seconds):
        super().__init__(daemon=True)
        self.process, self.trace, self.seconds = process, trace, seconds
        self.start()

    def run(self):
        while self.process.poll() is None and not moments(self.trace):
            time.sleep(0.005)
        time.sleep(self.seconds)
        lift(self.process)


def most_calls(trace):
    """How many of the traced calls the busiest thread made."""
    counts = collections.Counter(line.split()[0] for line in lines(trace) if re.search(r"\w+\(", line))
    return max(counts.values(), default=0)


def lines(trace):
    if not os.path.exists(trace):
        return []
    with open(trace, encoding="utf-8", errors="replace") as content:
        return content.read().splitlines()


def sample(rng, numbers, most):
    """At most so many of the numbers, in their order."""
    numbers = list(numbers)
    return numbers if len(numbers) <= most else sorted(rng.sample(numbers, most))


def free_bytes(directory):
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def mounted(directory, bytes_):
    """Mounts a disk of so many bytes, in memory, on a directory; `umount` ends it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={bytes_}", "tmpfs", directory], check=True)


def unmounted(directory):
    subprocess.run(["umount", "--lazy", directory], check=False)
