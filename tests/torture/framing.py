#!/usr/bin/env python3
"""Sends a gradientd requests whose frame lies, and looks that nobody is fooled and nobody else feels it (T27).

    python3 tests/torture/framing.py --binary target/release/gradientd

Raw sockets: lengths that are too large, too long, too short or no number, endless bodies, millions of chunks of one byte, a length and
chunks at once, chunk sizes that are none, floods of extensions and trailers, headers that are broken, too long or too many, other
protocols, and requests that are hidden in the body of another one. Each is answered with a status of its row or by the end of the
connection, never with a 5xx; ambiguous frames end the connection; a hidden request is never answered; the server's memory grows by
less than 8 MiB beyond what the route may hold of a body. After each, a client that was there before is predicted the same bytes on the
same connection, and /healthz says ok to a new one. Prints a line per check and exits 1 on any miss.
"""

import argparse
import itertools
import json
import sys
import time

sys.dont_write_bytecode = True

from bystander import scene  # noqa: E402
from figures import MIB  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import model  # noqa: E402
from wire import LAST_CHUNK, Wire, chunk, head, request  # noqa: E402

PREDICT = "/v1/models/served/predict"
BODY = json.dumps({"inputs": [[0, 1]]}).encode()
GROWTH = 8 * MIB
AT_ONCE = 1.0
# How long nothing more must come, until nothing more is waited for.
QUIET = 0.7
# What an endless body is cut off at, if nobody says no.
ENDLESS = 64 * MIB
# How an answer that does not come is written in the rows: the connection ends.
CLOSED = None


class Case:
    """A request, what it may be answered with, and what happens to its connection."""

    def __init__(self, label, sent, answers, closes=False, ends=False, most=GROWTH, seconds=20.0):
        self.label, self.sent, self.answers = label, sent, answers
        self.closes, self.ends, self.most, self.seconds = closes, ends, most, seconds

    def run(self, scene):
        (answer, took, sent), figures = scene.weighed(lambda: self.ask(scene), self.most)
        scene.check()
        return f"{answer or 'closed'} after {took * 1000:.0f} ms and {sent:,} bytes; {figures}"

    def ask(self, scene):
        began = time.monotonic()
        with Wire(scene.url, self.seconds) as wire:
            wire.send(self.sent() if callable(self.sent) else self.sent)
            if self.ends:
                wire.end()
            answer, took = wire.answer(), time.monotonic() - began
            status = answer.status if answer else CLOSED
            require(status is not CLOSED or took < self.seconds, f"neither an answer nor the end within {self.seconds:.0f} s")
            require(status in self.answers, f"answered with {answer or 'the end of the connection'}, not {self.answers}")
            if self.closes:
                require(wire.is_closed(2.0) or wire.read, "the connection stays open")
                require(wire.read[:12] in (b"", b"HTTP/1.1 400"), f"a second answer: {wire.read[:60]}")
            return answer, took, wire.sent


def posted(headers, body=b"", path=PREDICT, kind="application/json"):
    return head("POST", path, [("Content-Type", kind), *headers]) + body


def chunked(pieces, path=PREDICT, kind="application/json", more=()):
    yield posted([("Transfer-Encoding", "chunked"), *more], path=path, kind=kind)
    yield from pieces


def endless(path, first, kind="application/json"):
    """Chunks of 64 KiB, until somebody says no."""
    piece = chunk(b" " * 65536)
    return lambda: chunked(itertools.chain([chunk(first)], itertools.repeat(piece, ENDLESS // 65536)), path, kind)


def by_bytes(path, text, kind="application/json"):
    """A body in chunks of one byte."""
    def pieces():
        for at in range(0, len(text), 8192):
            yield b"".join(b"1\r\n%c\r\n" % byte for byte in text[at:at + 8192])
        yield LAST_CHUNK
    return lambda: chunked(pieces(), path, kind)


def sizes(megabytes):
    padded = BODY[:-1] + b" " * (megabytes * MIB) + b"}"
    table = b"x,y\n" + b"1,2\n" * (megabytes * MIB // 4)
    upload = "/v1/datasets?name="
    yield Case("2 GB declared, to predict", posted([("Content-Length", 2 << 30)]), {413}, seconds=AT_ONCE)
    yield Case("2 GB declared, to a model", posted([("Content-Length", 2 << 30)], path="/v1/models"), {413}, seconds=AT_ONCE)
    yield Case("5 GB declared, to an upload", posted([("Content-Length", 5 << 30)], path=upload + "huge", kind="text/csv"), {413},
               seconds=AT_ONCE)
    yield Case("2 GB declared, with Expect", posted([("Content-Length", 2 << 30), ("Expect", "100-continue")]), {413}, seconds=AT_ONCE)
    yield Case("2^63 declared", posted([("Content-Length", 1 << 63)]), {400, 413}, seconds=AT_ONCE)
    yield Case("2^64 declared", posted([("Content-Length", 1 << 64)]), {400, 413}, seconds=AT_ONCE)
    # The routes may hold 8 and 32 MiB of it, and as much again while what holds it grows.
    yield Case("endless chunks, to predict", endless(PREDICT, BODY[:-1]), {413}, most=2 * 8 * MIB + GROWTH)
    yield Case("endless chunks, to a model", endless("/v1/models", b"{"), {413}, most=2 * 32 * MIB + GROWTH)
    yield Case("endless chunks, to an alias", lambda: (
        piece.replace(b"POST", b"PUT", 1) for piece in endless("/v1/models/served/aliases/a", b"{")()), {413})
    yield Case("an endless line, to an upload", endless(upload + "endless", b"x,y\n", "text/csv"), {422})
    yield Case(f"{megabytes} MB by the byte, to predict", by_bytes(PREDICT, padded), {200}, most=2 * megabytes * MIB + GROWTH, seconds=120.0)
    yield Case(f"{megabytes} MB by the byte, to an upload", by_bytes(upload + "bytes", table, "text/csv"), {201}, seconds=120.0)


def lengths():
    yield Case("a length that is too long", posted([("Content-Length", len(BODY) + 10)], BODY), {400, CLOSED}, ends=True)
    yield Case("a length that is too short", posted([("Content-Length", len(BODY))], BODY + b"more of it\r\n\r\n"), {200}, closes=True)
    yield Case("a length that cuts the JSON", posted([("Content-Length", 5)], BODY + b"\r\n\r\n"), {400}, closes=True)
    told = len(BODY)
    for value in (f"+{told}", f"-{told}", f"{told}, {told}", f"{told}, 5", f"{told} {told}", hex(told), f"{told}.0", "1e1", "", "ten"):
        yield Case(f"Content-Length: {value}", posted([("Content-Length", value)], BODY), {400}, closes=True)
    yield Case("two lengths", posted([("Content-Length", told), ("Content-Length", 5)], BODY), {400}, closes=True)
    both = [("Content-Length", told), ("Transfer-Encoding", "chunked")]
    # Read by its chunks, and nothing after it is (RFC 9112, section 6.1).
    yield Case("a length and chunks", posted(both, chunk(BODY) + LAST_CHUNK), {200, 400}, closes=True)
    yield Case("chunks and a length", posted(both[::-1], chunk(BODY) + LAST_CHUNK), {200, 400}, closes=True)


def encodings():
    for value in ("chunked, chunked", "identity", "gzip", "chunked, gzip", "xchunked", "chunked;q=1", "", "chunked, identity"):
        yield Case(f"Transfer-Encoding: {value}", posted([("Transfer-Encoding", value)], chunk(BODY) + LAST_CHUNK), {400, 501}, closes=True)
    yield Case("Transfer-Encoding: gzip, chunked", posted([("Transfer-Encoding", "gzip, chunked")], chunk(BODY) + LAST_CHUNK),
               {400, 415, 501}, closes=True)
    yield Case("a space before the colon", posted([("Transfer-Encoding ", "chunked")], chunk(BODY) + LAST_CHUNK), {400}, closes=True)
    of_1_0 = posted([("Transfer-Encoding", "chunked")], chunk(BODY) + LAST_CHUNK).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    yield Case("chunks in HTTP/1.0", of_1_0, {400}, closes=True)


def chunks():
    def of(label, pieces, answers=(400,), closes=True, **more):
        return Case(label, lambda: chunked([pieces] if isinstance(pieces, bytes) else pieces), set(answers), closes, **more)
    for size in ("10000000000000000", "0x5", "-5", "+5", "", "g", "5 5", "5,5", "5_5"):
        yield of(f"a chunk of size {size!r}", size.encode() + b"\r\n" + BODY + b"\r\n" + LAST_CHUNK)
    yield of("a chunk of 2^64 - 1 bytes", b"FFFFFFFFFFFFFFFF\r\n" + BODY, {400, 413, CLOSED}, ends=True, closes=False)
    # As long-winded as it is: nothing of it is held.
    yield of("a size with 100,000 zeros", b"0" * 100_000 + chunk(BODY) + LAST_CHUNK, {200, 400}, closes=False)
    yield of("a chunk that runs on", chunk(BODY)[:-2] + b"XX" + LAST_CHUNK)
    yield of("a chunk that stops", b"FF\r\n" + BODY, {400, CLOSED}, ends=True, closes=False)
    yield of("no last chunk", chunk(BODY), {400, CLOSED}, ends=True, closes=False)
    yield of("an extension of 1 MB", b"5;" + b"a" * MIB + b"\r\n")
    extended = b"1;" + b"a=b;" * 250 + b"\r\n \r\n"
    yield of("1,000 chunks with 1 KiB of it", itertools.repeat(extended, 1000), {400, 413})
    trailer = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(1000))
    yield of("1 MB of trailers", chunk(BODY) + b"0\r\n" + trailer + b"\r\n", {200, 400, 431}, closes=False)


def headers():
    def got(headers, answers, label, closes=True):
        return Case(label, b"GET /v1/limits HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n", answers, closes)
    yield got(b"X-A: 1\r\n folded\r\n", {400}, "a folded header")
    yield got(b"X-A: 1\r\n\tContent-Length: 9\r\n", {400}, "a length that is folded")
    yield got(b"X-A: 1\x002\r\n", {400}, "NUL in a header")
    yield got(b"X-A: 1\r2\r\n", {400}, "CR in a header")
    yield got(b"X\x00A: 1\r\n", {400}, "NUL in a header's name")
    yield got(b"X A: 1\r\n", {400}, "a space in a header's name")
    yield got(b": 1\r\n", {400}, "a header without a name")
    yield got(b"X-A\r\n", {400}, "a header without a colon")
    yield got(b"X-A: \xff\xfe\r\n", {200, 400}, "bytes that are no text", closes=False)
    yield got(b"Host: other\r\n", {400, 421}, "two hosts", closes=False)
    yield Case("no host", b"GET /v1/limits HTTP/1.1\r\n\r\n", {400, 421})
    yield got(b"X-A: " + b"a" * 30_000 + b"\r\n", {200}, "a header of 30 kB", closes=False)
    yield got(b"X-A: " + b"a" * 34_000 + b"\r\n", {431}, "a header of 34 kB")
    yield got(b"X-A: " + b"a" * (4 * MIB) + b"\r\n", {431}, "a header of 4 MB")
    yield got(b"".join(b"X-%d: 1\r\n" % number for number in range(60)), {200}, "61 headers", closes=False)
    yield got(b"".join(b"X-%d: 1\r\n" % number for number in range(64)), {431}, "65 headers", closes=False)
    yield got(b"".join(b"X-%d: 1\r\n" % number for number in range(9_000)), {431}, "9,000 headers")


def lines():
    def line(text, answers, label, closes=True, ends=False):
        return Case(label, text + b"\r\nHost: localhost\r\n\r\n", answers, closes, ends)
    # What the query of /healthz says is not looked at.
    yield line(b"GET /healthz?" + b"a" * 8_000 + b" HTTP/1.1", {200}, "a path of 8,013 bytes", closes=False)
    yield line(b"GET /healthz?" + b"a" * 8_300 + b" HTTP/1.1", {414}, "a path of 8,313 bytes", closes=False)
    yield line(b"GET /" + b"a" * MIB + b" HTTP/1.1", {414, 431}, "a path of 1 MB")
    yield line(b"A" * 100_000 + b" / HTTP/1.1", {400, 414, 431}, "a method of 100 kB")
    yield line(b"GET /v1/limits HTTP/3.0", {400, 505}, "HTTP/3.0")
    yield line(b"GET /v1/limits", {400, CLOSED}, "HTTP/0.9")
    yield line(b"GET /a\x00b HTTP/1.1", {400}, "NUL in the path")
    yield line(b"GET /v1/lim its HTTP/1.1", {400}, "a space in the path")
    yield line(b"CONNECT example.com:443 HTTP/1.1", {400, 404, 405, 421}, "CONNECT", closes=False)
    yield line(b"TRACE /v1/limits HTTP/1.1", {405}, "TRACE", closes=False)
    yield Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", {400, 505, CLOSED}, closes=True)
    yield line(b"GET /healthz HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__", {200},
               "an upgrade to HTTP/2", closes=False)
    yield Case("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 509, {400, CLOSED}, closes=True)
    yield Case("1 MB of empty lines", b"\r\n" * (MIB // 2), {400, 431, CLOSED}, ends=True)
    yield Case("1 MB of NUL", b"\x00" * MIB, {400, 431, CLOSED}, closes=True)


def hidden_requests():
    """A label and what is sent, each with a request in it that must not be carried out."""
    hidden = b"DELETE /v1/models/victim HTTP/1.1\r\nHost: localhost\r\n\r\n"
    rest = LAST_CHUNK + hidden
    yield "CL.TE", posted([("Content-Length", len(rest)), ("Transfer-Encoding", "chunked")], rest)
    whole = chunk(hidden) + LAST_CHUNK
    yield "TE.CL", posted([("Content-Length", len(whole.partition(b"\r\n")[0]) + 2), ("Transfer-Encoding", "chunked")], whole)
    for label, lines in [("xchunked", ["xchunked"]), ("two of them", ["chunked", "identity"]), ("the other way", ["identity", "chunked"]),
                         ("a tab", ["\tchunked\t"]), ("a line feed", ["\n chunked"]), ("in quotes", ['"chunked"'])]:
        told = [("Content-Length", len(rest)), *(("Transfer-Encoding", line) for line in lines)]
        yield f"TE.TE, {label}", posted(told, rest)
    yield "two lengths", posted([("Content-Length", 2), ("Content-Length", 2 + len(hidden))], b"{}" + hidden)
    yield "a length in a folded line", posted([("X-A", "1\r\n Content-Length: 0")], hidden)
    yield "a length behind a line feed", posted([("X-A", "1\nContent-Length: 2")], b"{}" + hidden)
    yield "an extension with a line feed", posted([("Transfer-Encoding", "chunked")], b"2;\n{}\r\n" + hidden)
    yield "the body of a GET", head("GET", "/v1/limits", [("Content-Length", len(hidden))]) + hidden
    yield "the body of a HEAD", head("HEAD", "/healthz", [("Content-Length", len(hidden))]) + hidden
    for label, path, kind in [("404", "/nowhere", "application/json"), ("405", "/healthz", "application/json"),
                              ("415", PREDICT, "text/plain")]:
        yield f"the body of a {label}", request("POST", path, hidden, kind=kind)
    yield "beyond what a route takes", posted([("Content-Length", (8 << 20) + 100)], hidden)


def is_smuggled(scene, sent):
    """The hidden request is not carried out."""
    if scene.client.find("/v1/models/victim") is None:
        scene.client.post("/v1/models", model("victim"))
    answers = []
    # No end of it is said: a server may drop what it has begun for somebody who is gone.
    with Wire(scene.url, QUIET) as wire:
        wire.send(sent)
        while (answer := wire.answer()) is not None and len(answers) < 4:
            answers.append(answer)
    require(scene.client.find("/v1/models/victim"), f"the hidden request was carried out: {answers}")
    require(all(answer.status < 500 for answer in answers), f"answered with {answers}")
    require(all(answer.status == 400 for answer in answers[1:]), f"something hidden was answered: {answers}")
    scene.check()
    return f"answered with {answers}"


def run(binary, megabytes, only):
    with scene(binary) as made:
        outcomes = []
        for group in (sizes(megabytes), lengths(), encodings(), chunks(), headers(), lines()):
            outcomes += [is_kept(case.label, lambda: case.run(made)) for case in group if only in case.label]
        outcomes += [is_kept(f"hidden: {label}", lambda: is_smuggled(made, sent)) for label, sent in hidden_requests() if only in label]
    return summary("framing", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--megabytes", type=int, default=3, help="that come in chunks of one byte, at most 7")
    parser.add_argument("--only", default="", metavar="WORDS", help="checks whose label has these words")
    arguments = parser.parse_args()
    return run(arguments.binary, min(arguments.megabytes, 7), arguments.only)


if __name__ == "__main__":
    sys.exit(main())
