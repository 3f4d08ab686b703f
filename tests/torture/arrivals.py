"""Requests at given moments, whether or not those before are answered, from a process of its own with as little work as can be.

The bytes of the request are made before; every connection is kept alive and has one request under way. Latencies of what was accepted
count from the moment that a request was due, so that a server that stalls is not spared those that waited behind the stall; those of
refusals from the moment that it was written.
"""

import collections
import multiprocessing
import os
import random
import select
import socket
import time

from watcher import percentile
from wire import address

# Shorter waits than the milliseconds of epoll.
NAP = 0.000_2
# For what is under way in the end.
PATIENCE = 30.0


class Outcome:
    """What became of the requests, in seconds."""

    def __init__(self, seconds):
        self.seconds, self.sent = seconds, 0
        self.accepted, self.refused, self.late = [], [], []
        # Statuses but 200 and 503, and "broken" and "unanswered".
        self.others = collections.Counter()
        self.without_retry_after = 0
        self.processor_seconds = 0.0
        # The moments of acceptances, from the start on.
        self.moments = []

    @property
    def goodput(self):
        """Of those accepted per second, what was answered before the last was due."""
        return sum(moment <= self.seconds for moment in self.moments) / self.seconds

    def __str__(self):
        late = f"the generator {1000 * percentile(self.late, 0.99):.1f} ms late at p99" if self.late else "closed loop"
        others = f", others {dict(self.others)}" if self.others else ""
        return (f"{self.sent / self.seconds:.0f}/s sent, {self.goodput:.0f}/s accepted{spread(self.accepted)}, "
                f"{len(self.refused) / self.seconds:.0f}/s refused{spread(self.refused)}{others}; {late}, "
                f"{100 * self.processor_seconds / self.seconds:.0f} % of a core")


def spread(latencies):
    if not latencies:
        return ""
    return f" (median {1000 * percentile(latencies, 0.5):.1f}, p99 {1000 * percentile(latencies, 0.99):.1f} ms)"


class Lane:
    """A connection."""

    __slots__ = ("socket", "unsent", "read", "due", "written", "first")

    def __init__(self):
        self.socket, self.unsent, self.read, self.due, self.written, self.first = socket.socket(), b"", b"", None, 0.0, True


class Generator:
    """Sends and measures; runs in a process of its own."""

    def __init__(self, url, request, most):
        self.address, self.request, self.most = address(url), request, most
        self.lanes, self.idle, self.epoll = {}, [], select.epoll()

    def opened(self):
        lane = Lane()
        lane.socket.setblocking(False)
        lane.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lane.socket.connect_ex(self.address)
        self.lanes[lane.socket.fileno()] = lane
        self.epoll.register(lane.socket, select.EPOLLIN)
        return lane

    def send(self, due, outcome):
        """Sends a request that was due then; where there is no connection for it, it counts as unanswered."""
        lane = self.idle.pop() if self.idle else self.opened() if len(self.lanes) < self.most else None
        outcome.sent += 1
        if lane is None:
            outcome.others["unsent"] += 1
            return
        lane.due, lane.unsent = due, self.request
        self.write(lane, outcome)

    def write(self, lane, outcome):
        try:
            count = lane.socket.send(lane.unsent)
        except BlockingIOError:
            count = 0
        except OSError as fault:
            # A connection that is not made yet.
            if lane.first and fault.errno in (107, 11, 32) and not lane.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                count = 0
            else:
                return self.lose(lane, outcome)
        lane.unsent = lane.unsent[count:]
        self.epoll.modify(lane.socket, select.EPOLLIN | (select.EPOLLOUT if lane.unsent else 0))
        lane.written = time.monotonic()

    def lose(self, lane, outcome):
        if lane.due is not None:
            outcome.others["broken"] += 1
        if lane in self.idle:
            self.idle.remove(lane)
        del self.lanes[lane.socket.fileno()]
        lane.socket.close()

    def receive(self, lane, outcome, began):
        """Reads; whether the answer is whole."""
        try:
            piece = lane.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self.lose(lane, outcome)
            return False
        lane.read += piece
        end = lane.read.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = lane.read[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17:].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(lane.read) < end + 4 + length:
            return False
        now, status = time.monotonic(), lane.read[9:12]
        if status == b"200":
            outcome.accepted.append(now - lane.due)
            outcome.moments.append(now - began)
        elif status == b"503":
            outcome.refused.append(now - lane.written)
            outcome.without_retry_after += b"\r\nretry-after:" not in head
        else:
            outcome.others[status.decode()] += 1
        lane.read, lane.due, lane.first = b"", None, False
        if b"\r\nconnection: close" in head:
            self.lose(lane, outcome)
        else:
            self.idle.append(lane)
        return True

    def turn(self, timeout, outcome, began):
        """Handles what has happened; how many answers came."""
        count = 0
        for descriptor, event in self.epoll.poll(timeout):
            lane = self.lanes.get(descriptor)
            if lane is not None and event & select.EPOLLOUT and lane.unsent:
                self.write(lane, outcome)
            elif lane is not None:
                count += self.receive(lane, outcome, began)
        return count

    def open_loop(self, rate, seconds, seed):
        """Requests at `rate` per second, their gaps as those of a Poisson process."""
        rng, outcome = random.Random(seed), Outcome(seconds)
        cpu, began = time.process_time(), time.monotonic()
        due = began
        while due < began + seconds:
            now = time.monotonic()
            if due <= now:
                outcome.late.append(now - due)
                self.send(due, outcome)
                due += rng.expovariate(rate)
                # Answers are read in between also when it is behind.
                if outcome.sent % 16:
                    continue
                now = time.monotonic()
            if due - now > 0.002:
                self.turn(due - now - 0.001, outcome, began)
            elif not self.turn(0, outcome, began) and due > now:
                time.sleep(min(NAP, due - now))
        return self.ended(outcome, cpu, began)

    def closed_loop(self, lanes, seconds):
        """As many requests at once, always."""
        outcome = Outcome(seconds)
        cpu, began = time.process_time(), time.monotonic()
        for _ in range(lanes):
            self.send(time.monotonic(), outcome)
        while time.monotonic() < began + seconds:
            for _ in range(self.turn(0.1, outcome, began)):
                self.send(time.monotonic(), outcome)
        return self.ended(outcome, cpu, began)

    def ended(self, outcome, cpu, began):
        """Waits for what is under way."""
        deadline = time.monotonic() + PATIENCE
        outcome.processor_seconds = time.process_time() - cpu
        while any(lane.due is not None for lane in self.lanes.values()) and time.monotonic() < deadline:
            self.turn(0.05, outcome, began)
        outcome.others["unanswered"] += sum(lane.due is not None for lane in self.lanes.values())
        outcome.others = +outcome.others
        for lane in list(self.lanes.values()):
            lane.socket.close()
        return outcome


class Arrivals:
    """A generator that is running."""

    def __init__(self, url, request, how, most=1000, cores=None):
        self.receiver, sender = multiprocessing.Pipe(duplex=False)
        # A fork: what it is to do needs not be written down.
        self.process = multiprocessing.get_context("fork").Process(target=generate, args=(url, request, how, most, cores, sender), daemon=True)
        self.process.start()
        sender.close()

    def outcome(self, seconds):
        """Waits for the end."""
        if not self.receiver.poll(seconds + PATIENCE + 30.0):
            raise RuntimeError("the generator does not end")
        outcome = self.receiver.recv()
        self.process.join(10.0)
        return outcome


def generate(url, request, how, most, cores, sender):
    if cores:
        os.sched_setaffinity(0, cores)
    sender.send(how(Generator(url, request, most)))


def at_rate(url, request, rate, seconds, cores=None, seed=1, most=1000):
    """Starts an open loop."""
    return Arrivals(url, request, lambda generator: generator.open_loop(rate, seconds, seed), most, cores)


def at_once(url, request, lanes, seconds, cores=None):
    """Starts a closed loop."""
    return Arrivals(url, request, lambda generator: generator.closed_loop(lanes, seconds), lanes, cores)
