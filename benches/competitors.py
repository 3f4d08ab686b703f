"""Processes that train a unit of a workload whenever they are told to: gradientd and its peers."""

import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# The peers by name: their script, and its variants in the files' order and in a new order each epoch.
PEERS = {
    "jax scan": ("jax_peers", "scan", "scan-shuf"),
    "torch manual": ("torch_peers", "manual", "manual-shuf"),
    "torch cpp": ("torch_peers", "cpp", "cpp-shuf"),
    "torch fused": ("torch_peers", "fused", "fused-shuf"),
    "numpy": ("numpy_peers", "", None),
    "sklearn": ("sklearn_peers", "", ""),
}
# What a peer may take to start: libtorch's loop is compiled the first time.
START_SECONDS = 600
# A visit goes on until units have taken so long: a unit of W1 alone is too short to be one.
VISIT_SECONDS = 0.2


class Failed(Exception):
    """A competitor that cannot do a workload, which is a result too."""


class Competitor:
    """A process that says {"ready": …}, then {"seconds": …} for each line that it is sent, and at the end its loss after
    one unit, where it has one. Between two visits it is stopped, so that no thread of it waits by spinning."""

    def __init__(self, name, command, cores, environment=None):
        self.name, self.visits, self.said, self.rest = name, [], "", b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE if name != "gradientd" else None,
            env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        if self.process.stderr:
            os.set_blocking(self.process.stderr.fileno(), False)

    def answer(self, key, seconds):
        """The next line of JSON with this key."""
        deadline = time.monotonic() + seconds
        while True:
            *lines, self.rest = self.rest.split(b"\n")
            for number, line in enumerate(lines):
                if line.startswith(b"{"):
                    found = json.loads(line)
                    if key in found:
                        self.rest = b"\n".join(lines[number + 1:] + [self.rest])
                        return found
                elif line:
                    self.said = line.decode(errors="replace")
            if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Failed(f"no answer within {seconds} s")
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                raise Failed(self.said or self.complaint() or "ended")
            self.rest += piece
            if self.process.stderr:
                self.process.stderr.read()

    def complaint(self):
        left = (self.process.stderr.read() if self.process.stderr else None) or b""
        return left.decode(errors="replace").strip().splitlines()[-1] if left.strip() else ""

    def start(self):
        """Ready, and warm by one unit, whose seconds it returns."""
        self.answer("ready", START_SECONDS)
        seconds = self.unit()
        self.halt(True)
        return seconds

    def unit(self):
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.answer("seconds", START_SECONDS)["seconds"]

    def visit(self):
        """Lets it train for a while; the median of its units is a visit's time."""
        self.halt(False)
        units = []
        while sum(units) < VISIT_SECONDS:
            units.append(self.unit())
        self.halt(True)
        self.visits.append(sorted(units)[len(units) // 2])

    def halt(self, stopped):
        self.process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def end(self):
        """What it says when there is nothing more to do; None where it says nothing."""
        self.halt(False)
        self.process.stdin.close()
        try:
            return self.answer("loss", 120)
        except Failed:
            return None
        finally:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Arena:
    """Where the competitors' programs and files are."""

    def __init__(self, python, peers, binary, folder):
        self.python, self.peers, self.binary, self.folder = python, os.path.abspath(peers), binary, folder
        bin_folder = os.path.dirname(os.path.abspath(python))
        self.environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}  # torch looks for ninja there
        sys.path.insert(0, self.peers)
        import common  # its workloads and flops need no package
        self.common = common

    def write(self, workload):
        self.peer_script("write", str(self.folder), workload)

    def peer_script(self, *arguments):
        subprocess.run([self.python, HERE / "peer.py", self.peers, *arguments], check=True, timeout=300)

    def product(self, workload, threads, shuffle):
        command = self.train(workload, threads, shuffle) + ["--on-demand"]
        return Competitor("gradientd", command, cores(threads))

    def train(self, workload, threads, shuffle):
        command = [self.binary, "train", workload, "--data", str(self.folder), "--training-threads", str(threads)]
        return command + ["--shuffle"] * shuffle

    def peer(self, name, workload, threads, shuffle):
        """None where the peer has no such variant."""
        script, *variants = PEERS[name]
        variant = variants[shuffle]
        if variant is None:
            return None
        arguments = [str(threads)] + [variant] * bool(variant) + [workload]
        command = [self.python, HERE / "peer.py", self.peers, script, *arguments]
        return Competitor(name, command, cores(threads), self.environment)

    def alone(self, workload, shuffle, units=1):
        """What gradientd says of a process that trains so many units and no more: its loss, and its memory."""
        command = self.train(workload, 1, shuffle) + ["--repeat", str(units)]
        said = subprocess.run(command, check=True, timeout=600, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(said.splitlines()[-1])

    def peak(self, threads):
        """GFLOP/s of multiply-adds in registers by number of threads."""
        command = [self.binary, "peak", "--threads", str(threads)]
        said = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE, text=True).stdout
        return {row["threads"]: row["gflops"] for row in map(json.loads, said.splitlines())}

    def recording(self, workload):
        """The cost of recording gradients."""
        steps = "200" if workload in ("W1", "W2", "W3") else "10"
        command = [self.binary, "record", workload, "--steps", steps]
        return json.loads(subprocess.run(command, check=True, timeout=300, stdout=subprocess.PIPE, text=True).stdout)


def cores(count):
    return set(sorted(os.sched_getaffinity(0))[:count])
