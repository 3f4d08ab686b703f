#!/usr/bin/env python3
"""Sends a gradientd bodies that are small to send and large to read, and numbers that are none (T28, T29, T30).

    python3 tests/torture/bombs.py --binary target/release/gradientd

Compressed bodies of 10 GB in 10 MB; JSON that is deep, that has millions of empty arrays, keys or escapes, double keys, garbage behind
it, or is not UTF-8, each to every route that takes rows; numbers that are not finite, not numbers, or have 4,000 digits. Each is
answered with a status and a problem of its row, never with a 5xx; the first bad cell is named by its pointer; no answer has a number
that is not finite or a null in its place. The server's memory grows by at most six times the body (and 2 MiB). After each, a client
that was there before is predicted the same bytes, and /healthz says ok. Prints a line per check and exits 1 on any miss.
"""

import argparse
import json
import sys
import time
import zlib

sys.dont_write_bytecode = True

from bystander import scene  # noqa: E402
from figures import MIB  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import JSON, model  # noqa: E402
from wire import Wire, asked, request  # noqa: E402

NARROW = "/v1/models/narrow/predict"
JOBS, MODELS = "/v1/jobs", "/v1/models"
# Of a body's bytes, and what a request takes that has none.
RATIO, SLACK = 6, 2 * MIB
# What a route says of a body that is larger than it takes.
TOO_LARGE = (413, "body-too-large")
NO_JSON = (400, "invalid-json")
WRONG_SHAPE = (422, "invalid-body")
BREAKS_RULES = (422, "invalid-spec")
ROWS_LIMIT = 32 * MIB


def bomb(scene, path, body, answers, seconds=60.0, **more):
    """Sends it; it is one of these pairs of status and slug, and the memory keeps within bounds."""
    def ask():
        with Wire(scene.url, seconds) as wire:
            wire.send(request("POST", path, body, **more))
            return wire.answer()
    began = time.monotonic()
    answer, figures = scene.weighed(ask, RATIO * len(body) + SLACK)
    took = time.monotonic() - began
    require(answer is not None, "it was not answered")
    require((answer.status, answer.slug) in answers, f"answered with {answer}, not {answers}: {answer.body[:300]}")
    scene.check()
    return f"{answer} after {took * 1000:.0f} ms; {len(body):,} bytes, {figures}"


def compressed():
    """Where it goes, path, body, coding and media type: 10 GB of spaces in 10 MB, as members of a gzip file, and other codings."""
    def squeezed(wbits):
        packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
        return packer.compress(b" " * (100 * MIB)) + packer.flush()
    gzip = squeezed(31) * 100
    deflate = squeezed(15)
    small = squeezed(31)
    for coding, body in [("gzip", gzip[:8 * MIB]), ("deflate", deflate), ("br", b"\x8b\x00\x80 \x03"), ("x-gzip", small), ("GZIP", small),
                         ("gzip, gzip", small), ("identity, gzip", small), ("zstd", b"\x28\xb5\x2f\xfd\x00"), ("nonsense", b"{}")]:
        yield "predict", NARROW, body, coding, "application/json"
    yield "a model", MODELS, gzip, "gzip", "application/json"
    yield "a job", JOBS, gzip, "gzip", "application/json"
    yield "an upload", "/v1/datasets?name=packed", gzip, "gzip", "text/csv"


def repeated(text, limit):
    """As many of these as have room."""
    return b",".join([text] * (limit // (len(text) + 1) - 100))


ROUTES = [
    ("predict", NARROW, b'{"inputs":', b"}", 8 * MIB),
    ("a job", JOBS, b'{"model":"narrow","data":{"targets":[[1]],"inputs":', b"}}", ROWS_LIMIT),
    ("a model", MODELS, b'{"name":"m","inputs":2,"layers":[{"units":1,"activation":"tanh"}],"parameters":', b"}", ROWS_LIMIT),
]
REFUSED = {NO_JSON, WRONG_SHAPE, BREAKS_RULES, (422, "too-large")}


def shapes(where, path, before, after, limit):
    """Label, path, body and what it may be answered with."""
    def of(label, value):
        body = before + value + after
        return f"{label}, to {where}", path, body, {TOO_LARGE} if len(body) > limit else REFUSED
    for depth in (17, 200, 1_000_000):
        yield of(f"{depth:,} arrays deep", b"[" * depth + b"]" * depth)
        yield of(f"{depth:,} objects deep", b'{"a":' * depth + b"1" + b"}" * depth)
    yield of("1,000,000 arrays, open", b"[" * 1_000_000)
    yield of("10 million empty arrays", b"[" + b",".join([b"[]"] * 10_000_000) + b"]")
    yield of("empty arrays up to the limit", b"[" + repeated(b"[]", limit) + b"]")
    yield of("empty objects up to the limit", b"[" + repeated(b"{}", limit) + b"]")
    yield of("nulls up to the limit", b"[" + repeated(b"null", limit) + b"]")
    yield of("a string up to the limit", b'"' + b"a" * (limit - 1000) + b'"')
    yield of("escapes up to the limit", b'"' + b"\\u0041" * ((limit - 1000) // 6) + b'"')
    yield of("spaces up to the limit", b" " * (limit - 1000))
    yield of("rows of one up to the limit", b"[" + repeated(b"[1]", limit) + b"]")
    yield of("one row up to the limit", b"[[" + repeated(b"1", limit) + b"]]")


def many_keys():
    keys = b",".join(b'"k%d":0' % number for number in range(1_000_000))
    yield "1 million keys, to a model", MODELS, b"{" + keys + b"}", REFUSED
    yield "1 million keys, to a job", JOBS, b"{" + keys + b"}", REFUSED
    yield "1 million keys, to predict", NARROW, b"{" + keys + b"}", {TOO_LARGE}
    yield "1 million keys of metadata", MODELS, json.dumps(model("m")).encode()[:-1] + b',"metadata":{' + keys + b"}}", REFUSED
    yield "500,000 columns of one instance", NARROW, b'{"instances":[{' + keys[:6 * MIB].rpartition(b",")[0] + b"}]}", REFUSED
    one = b",".join([b'{"x":0,"y":1}'] * 500_000)
    yield "500,000 instances", NARROW, b'{"instances":[' + one + b"]}", REFUSED


def texts():
    good = b'{"inputs":[[0,1]]}'
    yield "double keys", NARROW, b'{"inputs":[[0,1]],"inputs":[[0,2]]}', {NO_JSON, WRONG_SHAPE}
    twice = json.dumps(model("m")).encode()[:-1] + b',"metadata":{"a":"1","a":"2"}}'
    yield "double keys of metadata", MODELS, twice, {NO_JSON, WRONG_SHAPE, BREAKS_RULES}
    for label, body in [("garbage behind it", good + b"x"), ("a second value", good + good), ("NUL behind it", good + b"\0"),
                        ("nothing", b""), ("spaces", b" " * 1000), ("half of it", good[:9]), ("UTF-16", good.decode().encode("utf-16")),
                        ("UTF-16 without its mark", good.decode().encode("utf-16-le")), ("UTF-32", good.decode().encode("utf-32")),
                        ("the mark of UTF-8", b"\xef\xbb\xbf" + good), ("a comment", b"/* */" + good),
                        ("quotes of one stroke", b"{'inputs':[[0,1]]}"),
                        ("a comma too many", b'{"inputs":[[0,1],]}'), ("NUL in it", b'{"inputs":\0[[0,1]]}')]:
        yield label, NARROW, body, {NO_JSON}
    for label, name in [("a lone surrogate", b"\\ud800"), ("two the wrong way", b"\\udc00\\ud800"), ("no UTF-8", b"\xff\xfe"),
                        ("an overlong slash", b"\xc0\xaf"), ("a surrogate in UTF-8", b"\xed\xa0\x80"), ("a raw NUL", b"\0"),
                        ("a raw line feed", b"\n")]:
        yield f"{label} in a name", MODELS, b'{"name":"' + name + b'","inputs":2,"layers":[]}', {NO_JSON}
    yield "NUL in a name", MODELS, b'{"name":"a\\u0000b","inputs":2,"layers":[{"units":1,"activation":"tanh"}]}', {BREAKS_RULES}
    for value in (b"[]", b"1", b"null", b'"inputs"', b"true"):
        yield f"{value.decode()} alone", NARROW, value, {WRONG_SHAPE}


# What stands in a cell, and whether it is a number, none, or no JSON.
FINE, BAD, BROKEN = "fine", "refused", "broken"
CELLS = [
    ("NaN", BROKEN), ("Infinity", BROKEN), ("-Infinity", BROKEN), ("nan", BROKEN), ("inf", BROKEN), ("01", BROKEN), ("+1", BROKEN),
    (".5", BROKEN), ("1.", BROKEN), ("0x10", BROKEN), ("1_000", BROKEN), ("1,5", BAD), ("1e400", BAD), ("-1e400", BAD), ("1e39", BAD),
    ("-1e39", BAD), ("3.4028236e38", BAD), ("3.4028235e38", FINE), ("-0", FINE), ("-0.0", FINE), ("1e-46", FINE), ("1e-400", FINE),
    ("5e-324", FINE),
    ("9" * 4000, BAD), ("0." + "3" * 4000, FINE), ("1" + "0" * 30, FINE), ("18446744073709551616", FINE), ("1e-" + "9" * 4000, FINE),
    ("1e" + "9" * 4000, BAD), ('"1.0"', BAD), ("true", BAD), ("null", BAD), ("[1]", BAD), ("{}", BAD), ('""', BAD),
]


def cell(scene, text, kind):
    """A cell of the second of two rows, in a prediction and in the rows of a job."""
    said = []
    for path, before, after, pointer in [
        (NARROW, '{"inputs":[[0,1],[0,', "]]}", "/inputs/1"),
        (f"{JOBS}?dry_run=true", '{"model":"narrow","epochs":1,"data":{"targets":[[0],[1]],"inputs":[[0,1],[0,', "]]}}", "/data/inputs/1"),
    ]:
        answer = asked(scene.url, request("POST", path, (before + text + after).encode()))
        require(answer is not None, "it was not answered")
        if kind == FINE:
            require(answer.status == 200, f"{path}: {answer}: {answer.body[:300]}")
            require(finite(json.loads(answer.body).get("outputs", [])), f"the answer is {answer.body[:300]}")
        elif kind == BROKEN:
            require((answer.status, answer.slug) == NO_JSON, f"{path}: {answer}: {answer.body[:300]}")
        else:
            require(answer.status in (400, 422), f"{path}: {answer}: {answer.body[:300]}")
            named = (answer.pointer or "").startswith(pointer) or answer.slug == "invalid-json"
            require(named, f"{path}: the pointer is {answer.pointer}: {answer.body[:300]}")
        said.append(f"{answer} {answer.pointer or ''}".strip())
    scene.check()
    return " and ".join(said)


def finite(found):
    """Whether there are numbers alone."""
    if isinstance(found, list):
        return all(finite(one) for one in found)
    return isinstance(found, (int, float)) and found - found == 0


def shown(text):
    return text if len(text) < 24 else f"{text[:6]}… of {len(text):,}"


class Checks:
    """Runs those whose label has the words, and keeps the outcomes. What one bomb leaves to the allocator hides the next: a group of them,
    which begins with the small ones, has a server of its own."""

    def __init__(self, binary, only):
        self.binary, self.only, self.outcomes = binary, only, []

    def all(self, labelled):
        """Pairs of a label and what is done in a scene."""
        with scene(self.binary) as made:
            made.client.post(MODELS, model("narrow", dtype="float32"))
            made.client.predict_raw("narrow", [[0, 1]])
            self.outcomes += [is_kept(label, lambda: act(made)) for label, act in labelled if self.only in label]


def bombs(cases):
    for label, path, body, answers in cases:
        yield label, lambda made, path=path, body=body, answers=answers: bomb(made, path, body, answers)


def is_taken(scene):
    scene.client.raw("POST", NARROW, b'{"inputs":[[0,1]]}', {**JSON, "Content-Encoding": "identity"})
    return "is taken"


def run(binary, only):
    checks = Checks(binary, only)
    checks.all([(f"{coding}, to {where}", lambda made, path=path, body=body, coding=coding, kind=kind: bomb(
        made, path, body, {(415, "unsupported-media-type")}, headers=[("Content-Encoding", coding)], kind=kind))
        for where, path, body, coding, kind in compressed()])
    checks.all([("identity", is_taken), *bombs(texts())])
    checks.all([(f"the cell {shown(text)}", lambda made, text=text, kind=kind: cell(made, text, kind)) for text, kind in CELLS])
    for route in ROUTES:
        checks.all(bombs(shapes(*route)))
    for one in bombs(many_keys()):
        checks.all([one])
    return summary("bombs", checks.outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--only", default="", metavar="WORDS", help="checks whose label has these words")
    arguments = parser.parse_args()
    return run(arguments.binary, arguments.only)


if __name__ == "__main__":
    sys.exit(main())
