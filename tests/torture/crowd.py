"""Many connections that a client holds and misuses, from processes of their own, and what becomes of each."""

import collections
import multiprocessing
import select
import socket
import time

from wire import RESET, address

# Connections of one process: its descriptors have a limit, too.
OF_ONE = 5000
# Opened at once, before what came is looked at.
AT_ONCE = 50


class Habit:
    """How a slow client behaves: what it sends first, with its number in place of `NUMBER`, what then and how often, and whether it reads."""

    def __init__(self, first=b"", drip=b"", every=1.0, reads=True):
        self.first, self.drip, self.every, self.reads = first, drip, every, reads


class Fate:
    """What became of so many connections: seconds from each's opening to its end, and what was answered."""

    def __init__(self):
        self.connected, self.closed, self.open = 0, [], 0
        # The first line's status of each that was answered.
        self.statuses = collections.Counter()

    def add(self, other):
        self.connected, self.open = self.connected + other.connected, self.open + other.open
        self.closed += other.closed
        self.statuses.update(other.statuses)

    def __str__(self):
        ends = f", closed after {min(self.closed):.1f} to {max(self.closed):.1f} s" if self.closed else ""
        answers = f", answered {dict(sorted(self.statuses.items()))}" if self.statuses else ""
        return f"{self.connected} connected{ends}{answers}{f', {self.open} still open' if self.open else ''}"


class Member:
    """One connection."""

    __slots__ = ("socket", "opened", "connected", "read", "due")

    def __init__(self, to, receive_bytes):
        self.socket, self.opened, self.connected, self.read = socket.socket(), time.monotonic(), False, b""
        self.socket.setblocking(False)
        # Gone without a trace when this end closes: no port stays taken.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect_ex(to)


class Members:
    """The connections of one process."""

    def __init__(self, to, habit, count, pace):
        self.to, self.habit, self.count, self.pace = to, habit, count, pace
        self.epoll, self.all, self.drips, self.fate = select.epoll(), {}, collections.deque(), Fate()

    def hold(self, seconds, stopped):
        """Until all are closed by the server, so many seconds are over, or it is told to stop."""
        began, opened = time.monotonic(), 0
        while (opened < self.count or self.all) and time.monotonic() < began + seconds and not stopped.is_set():
            allowed = min(self.count, int((time.monotonic() - began) * self.pace) + 1, opened + AT_ONCE)
            while opened < allowed:
                self.open()
                opened += 1
            self.look(0.01 if opened < self.count or self.habit.drip else 0.1)
            self.let_drip()
        self.fate.open = len(self.all)
        for member in self.all.values():
            member.socket.close()
        return self.fate

    def open(self):
        member = Member(self.to, None if self.habit.reads else 4096)
        self.all[member.socket.fileno()] = member
        self.epoll.register(member.socket, select.EPOLLOUT | select.EPOLLRDHUP)

    def look(self, seconds):
        for descriptor, event in self.epoll.poll(seconds):
            member = self.all.get(descriptor)
            if member is None:
                continue
            if event & select.EPOLLOUT and not member.connected and not event & (select.EPOLLHUP | select.EPOLLERR):
                self.begin(member)
            elif event & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                self.receive(member)

    def begin(self, member):
        member.connected, member.opened = True, time.monotonic()
        self.fate.connected += 1
        self.epoll.modify(member.socket, (select.EPOLLIN if self.habit.reads else 0) | select.EPOLLRDHUP)
        first = self.habit.first.replace(b"NUMBER", b"%d" % self.fate.connected)
        if self.send(member, first) and self.habit.drip:
            member.due = member.opened + self.habit.every
            self.drips.append(member)

    def receive(self, member):
        try:
            piece = member.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if len(member.read) < 12:
            member.read += piece[:12]
        if not piece:
            self.lose(member)

    def let_drip(self):
        """The next bytes of those whose turn it is; all wait equally long, so that the first in the row is the next."""
        now = time.monotonic()
        while self.drips and self.drips[0].due <= now:
            member = self.drips.popleft()
            if member.socket.fileno() >= 0 and self.send(member, self.habit.drip):
                member.due += self.habit.every
                self.drips.append(member)

    def send(self, member, data):
        """Whether the other end is still there."""
        try:
            member.socket.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.receive(member)
            return False
        return True

    def lose(self, member):
        self.all.pop(member.socket.fileno(), None)
        if member.connected:
            self.fate.closed.append(time.monotonic() - member.opened)
        if member.read:
            self.fate.statuses[member.read[9:12].decode(errors="replace")] += 1
        member.socket.close()


class Crowd:
    """Members in as many processes as their number needs."""

    def __init__(self, url, habit, count, seconds, pace=2000.0):
        self.stopped, self.parts = multiprocessing.Event(), []
        pieces = -(-count // OF_ONE)
        for number in range(pieces):
            share = count // pieces + (number < count % pieces)
            receiver, sender = multiprocessing.Pipe(duplex=False)
            arguments = (address(url), habit, share, pace / pieces, seconds, self.stopped, sender)
            process = multiprocessing.Process(target=hold, args=arguments, daemon=True)
            process.start()
            sender.close()
            self.parts.append((process, receiver))

    def is_over(self):
        return not any(process.is_alive() and not receiver.poll(0) for process, receiver in self.parts)

    def stop(self):
        """Ends what is left of it; the fate of all."""
        self.stopped.set()
        fate = Fate()
        for process, receiver in self.parts:
            if not receiver.poll(30.0):
                raise RuntimeError("a part of the crowd does not end")
            fate.add(receiver.recv())
            process.join(10.0)
        return fate


def hold(to, habit, count, pace, seconds, stopped, sender):
    sender.send(Members(to, habit, count, pace).hold(seconds, stopped))
