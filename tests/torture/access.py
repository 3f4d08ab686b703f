#!/usr/bin/env python3
"""Asks a gradientd as those do who may not, and looks at what it tells them and its log.

    python3 tests/torture/access.py --binary target/release/gradientd --tries 4000

Starts that must be refused: with 2, in one line that says what to do and has no token. Every path of the contract by every method, in
raw bytes: without the token, with others, in other places; by hosts and from pages that are not the server's own. How long a refusal
takes, of a token that is right but for its end and of one that is wrong from the start, in random order (Welch's t, under 4.5). Names,
paths and headers made to forge or flood the log: one line of JSON each, no field above 1 KiB. What is malformed, and that no answer to
it has a path of the disk, SQL, an address or a trace. Exits 1 on any miss.
"""

import argparse
import contextlib
import json
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import TABLE, job, model  # noqa: E402

TOKEN = "Zx8fQe1mW7tYk3uRb6vNc0pLs5dHg2aJ9oTiKlMqE4w="
WRONG = "qx8fQe1mW7tYk3uRb6vNc0pLs5dHg2aJ9oTiKlMqE4w="
ALMOST = f"{TOKEN[:-2]}x="
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"]
PROBES = ["/healthz", "/readyz"]
MOST_T = 4.5
FIELD = 1024
# A field in JSON: six characters for one at most.
LINE = 4 * 6 * FIELD
HOSTILE = ["\r\nHTTP/1.1 200 OK", '{"level":"ERROR"}\n', "\x1b[2J\x1b[31m", "\x00", "\u2028", "<script>alert(1)</script>", "${jndi:x}", '"} 1\n', "%s%n",
           "a" * 7000, "é" * 1500, "'; DROP TABLE models; --", "../../../../etc/passwd"]
# What no answer may have: folders and files of ours, statements, addresses, traces, crates.
LEAKS = [r"/src/", r"\.rs\b", r"gradientd\.db", r"gradientd-access", r"/tmp/", r"/root", r"\b(SELECT|INSERT|UPDATE|DELETE) .*(FROM|INTO|SET)\b", r"0x[0-9a-f]{6}",
         r"panicked", r"stack backtrace", r"RUST_BACKTRACE", r"thread '", r"\b(sqlx|tokio|hyper|axum|serde)\b", r"sqlite", r"\bunwrap\b", r"\bat line \d+ of"]


class Raw:
    """A connection on which requests are bytes."""

    def __init__(self, server, seconds=20.0):
        host, port = server.url.removeprefix("http://").rsplit(":", 1)
        self.authority = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def ask(self, method, target, headers=(), body=b"", host=True):
        """The status, the headers and the body of an answer; None and nothing where the connection is closed instead."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"Host: {self.authority}"] if host is True else [f"Host: {one}" for one in host]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body)
        try:
            return self.answer(method)
        except ConnectionResetError:
            return None, {}, b""

    def answer(self, method):
        first = self.reader.readline()
        if not first:
            return None, {}, b""
        status, headers = int(first.split()[1]), {}
        while (line := self.reader.readline().rstrip(b"\r\n")):
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode("utf-8", "replace")
        has_body = method != "HEAD" and status not in (204, 304)
        return status, headers, self.body(headers) if has_body else b""

    def body(self, headers):
        if headers.get("transfer-encoding") != "chunked":
            return self.reader.read(int(headers.get("content-length", 0)))
        content = b""
        while (size := int(self.reader.readline(), 16)):
            content += self.reader.read(size)
            self.reader.readline()
        self.reader.readline()
        return content


def once(server, *request, **more):
    with Raw(server) as raw:
        return raw.ask(*request, **more)


def is_problem(answer, slug):
    _, headers, body = answer
    return headers.get("content-type") == "application/problem+json" and json.loads(body)["type"] == f"/problems/{slug}"


class Servers:
    """A folder with a token, and servers in it that are gone at the end."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.count = binary, folder, 0
        self.token = self.written("token", f"{TOKEN}\n".encode())

    def written(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o600)
        return path

    @contextlib.contextmanager
    def running(self, *options):
        self.count += 1
        server = Server(self.binary, os.path.join(self.folder, f"data-{self.count}"), options)
        try:
            server.start()
            yield server
            require(server.stop() == 0, "the server ended with an error")
        finally:
            if server.process is not None:
                server.kill()

    def guarded(self, *options):
        return self.running(f"--token-file={self.token}", *options)

    def refused(self, command, options, environment=()):
        """What a start says that is refused."""
        words = [self.binary, command, f"--data-dir={self.folder}/refused", *options]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GRADIENTD_")}
        ended = subprocess.run(words, capture_output=True, text=True, env={**clean, **dict(environment)}, check=False, timeout=20)
        what = f"{command} {' '.join(options)} {dict(environment)}"
        require(ended.returncode == 2, f"{what} ended with {ended.returncode}: {ended.stderr[-300:]}")
        lines = [line for line in ended.stderr.splitlines() if not line.startswith('{"timestamp"')]
        require(len(lines) == 1, f"{what} says {len(lines)} lines: {ended.stderr[-600:]}")
        require(TOKEN not in ended.stderr + ended.stdout, f"{what} tells the token")
        return lines[0]


def starts(servers):
    """T51: where other machines would reach it, a server starts with a token or on its operator's word alone."""
    makes = "head -c 32 /dev/urandom | base64 > token"
    for command in ("serve", "demo"):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.7:0"):
            said = servers.refused(command, [f"--listen={address}"])
            for part in (address, makes, "--token-file", "--insecure-no-auth"):
                require(part in said, f"{part} is not in: {said}")
    servers.refused("serve", [], {"GRADIENTD_LISTEN": "0.0.0.0:0"})
    tokens = {b"": "got 0", b"\n": "got 0", b"fifteen-letters": "got 15", b"a" * 4097: "got more", TOKEN.encode() + b"\n\n": "is none",
              TOKEN.encode() + b" x": "is none", b"\xff" * 32: "is none", f"{TOKEN}\n{TOKEN}\n".encode(): "is none"}
    for number, (content, why) in enumerate(tokens.items()):
        file = servers.written(f"bad-{number}", content)
        for address in ("127.0.0.1:0", "0.0.0.0:0"):
            said = servers.refused("serve", [f"--listen={address}", f"--token-file={file}"])
            require(why in said and makes in said and "16 to 4096 visible ASCII" in said, said)
    require("No such file" in servers.refused("serve", ["--listen=127.0.0.1:0"], {"GRADIENTD_TOKEN_FILE": f"{servers.folder}/none"}), "a token that is absent")
    servers.refused("serve", ["--listen=127.0.0.1:0", f"--token-file={servers.folder}"])
    both = servers.refused("serve", ["--listen=127.0.0.1:0", f"--token-file={servers.token}"], {"GRADIENTD_INSECURE_NO_AUTH": "true"})
    require("exclude each other" in both, both)
    return f"{len(tokens) * 2 + 10} starts refused with 2, each in one line"


def paths(contract):
    return sorted({re.sub(r"\{.*?\}", "nothing", path) for path in contract["paths"]} | {"/", "/nowhere", "/v1/models/%0d%0a"})


def contract_of(server, **options):
    with contextlib.closing(Client(server.url, **options)) as client:
        return client.get("/openapi.json")


def tokens(servers):
    """T52: nothing but the token itself, in its header, opens anything but the probes."""
    wrong = [[], [("Authorization", f"Bearer {ALMOST}")], [("Authorization", f"Bearer {TOKEN}x")], [("Authorization", f"Bearer {TOKEN[:-1]}")],
             [("Authorization", f"Basic {TOKEN}")], [("Authorization", TOKEN)], [("Authorization", "Bearer ")], [("Cookie", f"token={TOKEN}")],
             [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {WRONG}")], [("X-Api-Key", TOKEN)]]
    asked = 0
    with servers.guarded() as server:
        for path in paths(contract_of(server, token=TOKEN)):
            for method in METHODS:
                for headers in wrong:
                    for target in (path, f"{path}?token={TOKEN}"):
                        answer = once(server, method, target, headers)
                        asked += 1
                        if path in PROBES and method in ("GET", "HEAD"):
                            require(answer[0] == 200, f"{method} {path}: {answer[0]}")
                            continue
                        # A request for a tunnel has no path, and hyper refuses it.
                        require(answer[0] == 401 or method == "CONNECT" and answer[0] in (400, None), f"{method} {target} {headers}: {answer}")
                        if answer[0] == 401:
                            require(answer[1].get("www-authenticate", "").startswith("Bearer"), f"{method} {path}: {answer[1]}")
                            require(TOKEN.encode() not in answer[2], f"{method} {path} tells the token")
        for scheme in ("Bearer", "bearer", "bEARER"):
            require(once(server, "GET", "/v1/models", [("Authorization", f"{scheme} {TOKEN}")])[0] == 200, f"{scheme} is refused")
        long = once(server, "GET", "/v1/models", [("Authorization", f"Bearer {'a' * (1 << 20)}")])
        require(long[0] in (None, 400, 431), f"a token of 1 MB: {long[0]}")
        # The check comes before the body: one that never comes does not hold the answer up.
        began = time.monotonic()
        waiting = once(server, "POST", "/v1/models", [("Content-Type", "application/json"), ("Content-Length", "1000000")])
        require(waiting[0] == 401 and time.monotonic() - began < 2.0, f"it waits for the body: {waiting[0]}")
        require(os.path.getsize(server.log.name) > 0, "there is no log")
        with open(server.log.name, "rb") as log:
            require(TOKEN.encode() not in log.read(), "the token is in the log")
    return f"{asked} requests without the token, none let in; 1 MB of token: {long[0] or 'closed'}; no token in the log"


def timing(servers, tries):
    """Whether the time of a refusal tells how much of a token is right."""
    rng, taken = random.Random(1), {ALMOST: [], WRONG: []}
    with servers.guarded() as server, Raw(server) as raw:
        requests = {token: f"GET /v1/models HTTP/1.1\r\nHost: {raw.authority}\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for token in taken}
        for number in range(tries + 200):
            token = rng.choice([ALMOST, WRONG])
            began = time.perf_counter_ns()
            raw.socket.sendall(requests[token])
            answer = raw.answer("GET")
            took = time.perf_counter_ns() - began
            require(answer[0] == 401, f"{answer[0]}")
            if number >= 200:
                taken[token].append(took)
    # What the machine did in between is not the server's: the slowest twentieth is left out, at the same bound for both.
    bound = statistics.quantiles(taken[ALMOST] + taken[WRONG], n=20)[-1]
    almost, wrong = ([took for took in taken[token] if took <= bound] for token in (ALMOST, WRONG))
    error = math.sqrt(statistics.variance(almost) / len(almost) + statistics.variance(wrong) / len(wrong))
    difference = statistics.mean(almost) - statistics.mean(wrong)
    t = difference / error
    require(abs(t) < MOST_T, f"t = {t:.2f}: {difference:.0f} ns of {statistics.mean(wrong):.0f}")
    return f"{tries} tries, t = {t:.2f} ({difference:+.0f} ns ± {error:.0f} of {statistics.mean(wrong) / 1000:.0f} µs)"


def pages(servers):
    """T53: hosts and origins, by all methods."""
    asked = 0
    with servers.running("--allowed-hosts=shop.example", "--cors-origin=https://pages.example") as server:
        port = server.url.rsplit(":", 1)[1]
        hosts = [["evil.example"], [f"evil.example:{port}"], [f"localhost.evil.example:{port}"], ["localhost", "evil.example"], [], [""], ["localhost@evil.example"],
                 ["192.0.2.7"], [f"127.0.0.1.evil.example:{port}"]]
        origins = ["https://evil.example", "null", "", "http://localhost", "file://", f"http://127.0.0.1:{port}.evil.example", "https://pages.example.evil"]
        for path in paths(contract_of(server)):
            for method in METHODS[:8] + METHODS[9:]:
                for host in hosts:
                    status, headers, body = once(server, method, path, host=host)
                    asked += 1
                    # Two hosts, and none, may be refused by the parser.
                    require(status == 421 or len(host) != 1 and status == 400, f"{method} {path} of {host}: {status}")
                    require(b"evil" not in body or headers["content-type"] == "application/problem+json", f"{method} {path} of {host}")
                for origin in origins:
                    request = [("Origin", origin), ("Access-Control-Request-Method", "DELETE"), ("Content-Type", "text/plain")]
                    status, headers, _ = once(server, method, path, request)
                    asked += 1
                    require(status == 403, f"{method} {path} from {origin!r}: {status}")
                    require("access-control-allow-origin" not in headers, f"{method} {path} lets {origin!r} read")
                    require(headers["x-content-type-options"] == "nosniff", f"{method} {path}: {headers}")
                for more in ([("Origin", f"http://127.0.0.1:{port}")], [("Origin", "https://pages.example")], []):
                    require(once(server, method, path, more)[0] not in (401, 403, 421), f"{method} {path} {more} is refused")
        absolute = once(server, "GET", f"http://evil.example:{port}/v1/models")
        require(absolute[0] == 421, f"a target with another host: {absolute[0]}")
        require(once(server, "GET", "http://shop.example/v1/models")[0] == 200, "a target with an allowed host")
        sent = once(server, "POST", "/v1/models", [("Content-Type", "text/plain")], json.dumps(model("made")).encode())
        require(sent[0] == 415, f"JSON as text/plain: {sent[0]}")
        require(once(server, "GET", "/v1/models/made")[0] == 404, "it was made")
    with servers.running() as server:
        plain = once(server, "OPTIONS", "/v1/models", [("Origin", server.url), ("Access-Control-Request-Method", "POST")])
        require(not any(name.startswith("access-control") for name in plain[1]), f"it names origins: {plain[1]}")
    return f"{asked} requests of other hosts and pages, none let in, none allowed to read"


def log_lines(server):
    with open(server.log.name, "rb") as log:
        return log.read().split(b"\n")[:-1]


def logs(servers):
    """T54: whatever is sent, a request is one line of JSON."""
    answered = 0
    with servers.running() as server:
        before = len(log_lines(server))
        for text in HOSTILE:
            quoted = "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))[:7800]
            # As it stands, what is no header is refused by the parser, unlogged.
            visible = "".join(c for c in text if c not in "\r\n\x00")[:7000]
            body = json.dumps({**model("a"), "name": text}).encode()
            kind = [("Content-Type", "application/json")]
            for request in (("GET", f"/v1/models/{quoted}"), ("DELETE", f"/v1/jobs/{quoted}"), ("POST", f"/v1/datasets?name={quoted}", [("Content-Type", "text/csv")], b"a\n1\n"),
                            ("GET", "/v1/models", [("X-Request-Id", visible), ("User-Agent", visible)]), ("POST", "/v1/models", kind, body),
                            ("POST", "/v1/jobs", kind, json.dumps(job(text)).encode()), ("BREW", f"/{quoted}")):
                status = once(server, *request)[0]
                require(status is None or status < 500, f"{request[:2]}: {status}")
                answered += status not in (None, 400, 414, 431)
        flood = once(server, "GET", f"/v1/models/{'a' * (1 << 20)}")[0]
        lines = log_lines(server)[before:]
        told = 0
        for line in lines:
            event = json.loads(line)
            require(len(line) <= LINE, f"a line of {len(line)} bytes")
            require(not re.search(rb"[\x00-\x1f\x7f]", line), f"a raw control character in {line[:200]}")
            for name, value in event["fields"].items():
                require(len(str(value).encode()) <= FIELD, f"{name} has {len(str(value))} characters")
            told += event["target"] == "gradientd::request"
        require(told >= answered, f"{told} lines of {answered} requests")
        require(all(json.loads(line)["level"] == "INFO" for line in lines), "something is logged as a fault")
    return f"{answered} hostile requests, {len(lines)} lines of JSON, the longest of {max(map(len, lines))} bytes; 1 MB of path: {flood or 'closed'}"


def malformed():
    """Requests of which each is wrong in its own way."""
    kind, csv = [("Content-Type", "application/json")], [("Content-Type", "text/csv")]
    bodies = [b"", b"{", b"[]", b"null", b'"a"', b"1e999", b'{"a":', b"\xff\xfe", b'{"name":1}', b'{"name":"a","inputs":-1}', b'{"inputs":[[NaN]]}', b"[" * 200,
              b'{"a":"\\ud800"}', b'{"inputs":[[1,2],[3]]}', json.dumps({"name": "' OR 1=1; --", "inputs": 2, "layers": []}).encode(),
              json.dumps(model("a", seed=-1)).encode(), json.dumps(job("none")).encode(), json.dumps({"model": "served", "data": {"dataset": "../a"}}).encode()]
    ways = ["/v1/models", "/v1/jobs", "/v1/models/served/predict", "/v1/models/none/predict", "/v1/models/served/gradients", "/v1/models/served/gradient-check",
            "/v1/models/served/versions/1/evaluate", "/v1/models/served/predictions", "/v1/jobs/nothing/verify", "/v1/models/served/versions/9/predict"]
    for way in ways:
        for body in bodies:
            yield "POST", way, kind, body
        yield "POST", way, [], b"{}"
        yield "POST", f"{way}?a=b", kind, b"{}"
    tables = [b"", b"a", b"a,a\n1,2\n", b"a,b\n1\n", b'"a\n', b"\xff\xfe\x00", b"a\n" + b"9" * 70_000, b"a\n1e999\n", b"PAR1\x00\x00PAR1", b"\x00" * 100]
    for name in ("t", "", "a/b", "..%2f..%2fa", "%00", "'", "a" * 300):
        for table in tables:
            yield "POST", f"/v1/datasets?name={name}", csv, table
            yield "POST", "/v1/datasets/table/rows", csv, table
            yield "POST", f"/v1/datasets?name={name}", [("Content-Type", "application/vnd.apache.parquet")], table
    for piece in ("nothing", "%27%3b--", "..%2f..%2fetc%2fpasswd", "%00", "-1", "18446744073709551616", "%f0%9f%92%a9", "%ff"):
        for path in ("/v1/models/{}", "/v1/jobs/{}", "/v1/datasets/{}", "/v1/models/served/versions/{}", "/v1/models/served/versions/{}/parameters",
                     "/v1/jobs/{}/loss", "/v1/jobs/{}/events", "/v1/jobs/{}/report", "/v1/datasets/{}/summary", "/problems/{}", "/docs/{}", "/{}"):
            for method in ("GET", "DELETE", "PUT", "BREW"):
                yield method, path.format(piece), [], b""
        for query in ("limit", "after", "order", "every", "status"):
            for way in ("/v1/models", "/v1/jobs", "/v1/datasets", "/v1/datasets/table/rows"):
                yield "GET", f"{way}?{query}={piece}", [], b""
    for name in ("Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Accept", "Content-Type", "Range", "Expect", "Content-Encoding"):
        for value in ("", "\x7f", "é", "'; --", "a" * 3000, "*", '"'):
            yield "POST", "/v1/models", [*kind, (name, value)], json.dumps(model("z", layers=[])).encode()


def errors(servers):
    """T50: what is wrong is said without a word of how the server is made."""
    seen, kinds = 0, {}
    with servers.running() as server:
        with contextlib.closing(Client(server.url)) as client:
            client.upload("table", TABLE)
            client.post("/v1/models", model("served"))
        for method, target, headers, body in malformed():
            what = f"{method} {target[:80]} {headers} {body[:60]}"
            status, told, content = once(server, method, target, headers, body)
            require(status is None or status < 500 or status in (503, 507), f"{what}: {status} {content[:300]}")
            if status is None or status < 400:
                continue
            seen += 1
            if told.get("content-type") != "application/problem+json":
                require(status in (400, 414, 431) and not content, f"{what}: {status} without a problem")
                continue
            problem = json.loads(content)
            kinds[problem["type"]] = kinds.get(problem["type"], 0) + 1
            require(problem["instance"] == told["x-request-id"] and problem["status"] == status, f"{what}: {problem}")
            said = json.dumps({name: problem[name] for name in problem if name != "type"})
            # What the client has sent is its own.
            given = (target + body[:4000].decode("utf-8", "replace") + str(headers)).lower()
            for leak in LEAKS:
                found = re.search(leak, said)
                require(not found or found[0].lower() in given, f"{what}: {found and found[0]} in {said[:400]}")
        require(json.loads(once(server, "GET", "/readyz")[2])["status"] == "ready", "it is not ready any more")
    require(len(kinds) >= 8, f"only {sorted(kinds)}")
    return f"{seen} refusals of {len(kinds)} types, none tells of the inside"


def run(binary, tries):
    with tempfile.TemporaryDirectory(prefix="gradientd-access-") as folder:
        servers = Servers(binary, folder)
        return summary("access", [
            is_kept("T51 starts", lambda: starts(servers)),
            is_kept("T52 tokens", lambda: tokens(servers)),
            is_kept("T52 timing", lambda: timing(servers, tries)),
            is_kept("T53 hosts and pages", lambda: pages(servers)),
            is_kept("T54 the log", lambda: logs(servers)),
            is_kept("T50 errors", lambda: errors(servers)),
        ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--tries", type=int, default=4000, help="of the timing; 100000 show more")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), max(1000, min(arguments.tries, 1_000_000)))


if __name__ == "__main__":
    sys.exit(main())
