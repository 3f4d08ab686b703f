"""Talks to a gradientd byte by byte: requests that no client library would send, and what they are answered with."""

import json
import select
import socket
import time
import urllib.parse

# Far more than any answer that is looked at here.
MOST = 16 << 20
PIECE = 64 << 10


class Answer:
    """A status with its headers, their names in lower case, and its body."""

    def __init__(self, head, body=b""):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.body = body

    @property
    def problem(self):
        """What the body says of a fault; empty where it is no object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def slug(self):
        """The last part of the problem's type, or None."""
        return self.problem.get("type", "").rpartition("/")[2] or None

    @property
    def pointer(self):
        """Of the first violation."""
        return next((error["pointer"] for error in self.problem.get("errors", [])), None)

    def __repr__(self):
        return f"{self.status} {self.slug}" if self.slug else f"{self.status}"


class Wire:
    """One connection. What a peer that is gone does to it is an answer that does not come, not an exception."""

    def __init__(self, url, seconds=20.0, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(seconds)
        self.socket.connect(address(url))
        self.seconds, self.read, self.sent = seconds, b"", 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def vanish(self):
        """Closes with a reset, as a client that is killed with bytes unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def send(self, pieces):
        """Sends until all is sent, or something comes back, or the peer is gone; whether all is sent."""
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            view = memoryview(piece)
            while view:
                readable, writable, _ = select.select([self.socket], [self.socket], [], self.seconds)
                if readable or not writable:
                    return False
                try:
                    count = self.socket.send(view[:PIECE])
                except OSError:
                    return False
                view, self.sent = view[count:], self.sent + count
        return True

    def end(self):
        """Says that nothing more will be sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self, deadline):
        """Reads once; whether anything came."""
        try:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            piece = self.socket.recv(PIECE)
        except OSError:
            return False
        self.read += piece
        return bool(piece) and len(self.read) <= MOST

    def answer(self, seconds=None):
        """The next answer, or None where the connection ended, or nothing came for so long."""
        deadline = time.monotonic() + (seconds or self.seconds)
        while b"\r\n\r\n" not in self.read:
            if not self.more(deadline):
                return None
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        answer = Answer(head)
        if answer.status == 100:
            return self.answer(seconds)
        length = answer.headers.get("content-length")
        while length is None or len(self.read) < int(length):
            if not self.more(deadline):
                break
        size = len(self.read) if length is None else int(length)
        answer.body, self.read = self.read[:size], self.read[size:]
        return answer

    def is_closed(self, seconds):
        """Whether the peer ends the connection within so long, with nothing more said."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self.socket.recv(PIECE)
            except TimeoutError:
                return False
            except OSError:
                return True
            if not piece:
                return True
            self.read += piece
        return False


# l_onoff 1, l_linger 0.
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"


def address(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


def request(method, path, body=b"", headers=(), kind="application/json"):
    """A request as a well-behaved client sends it."""
    return head(method, path, [("Content-Type", kind), ("Content-Length", len(body)), *headers]) + body


def head(method, path, headers=()):
    """The head of one, with the headers as they are given."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode("latin-1")


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def asked(url, sent, seconds=20.0, ends=False):
    """What a connection of its own is answered with; `ends`: nothing more will be sent after that."""
    with Wire(url, seconds) as wire:
        wire.send(sent)
        if ends:
            wire.end()
        return wire.answer()
