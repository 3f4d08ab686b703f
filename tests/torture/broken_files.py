#!/usr/bin/env python3
"""Breaks the files of a data directory and looks that a gradientd refuses to start on them, at once, and leaves them alone.

    python3 tests/torture/broken_files.py --binary target/release/gradientd --seed 1

The file of the database is cut off, emptied, overwritten, or from a newer version: the start must end with exit status 2 and one line
that says why, within 2 s, and no byte of the file may have changed. A second process on a directory must end within 1 s.
The write-ahead log of a killed server is deleted, cut off at a random place, or has a bit flipped: the database must be whole as of an
earlier moment, or the start is refused and no file changes. Exits 1 on any miss.
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import damage  # noqa: E402
from daemon import Client  # noqa: E402
from flipped_bits import digests  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import XOR, job, model  # noqa: E402

END_LIMIT, SECOND_LIMIT = 2.0, 1.0
MODELS = 12


def cut(share):
    def breaks(path, _):
        os.truncate(path, int(os.path.getsize(path) * share))
    return breaks


def cut_to(size):
    def breaks(path, _):
        os.truncate(path, size)
    return breaks


def overwritten(path, rng):
    with open(path, "r+b") as file:
        file.write(rng.randbytes(os.path.getsize(path)))


def no_header(path, rng):
    with open(path, "r+b") as file:
        file.write(rng.randbytes(100))


def text(path, _):
    with open(path, "w", encoding="ascii") as file:
        file.write("this is no database\n" * 1000)


def newer(path, _):
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
                       "VALUES (9999, 'of a newer program', 1, x'00', 0)")
    connection.commit()
    connection.close()


def other_migration(path, _):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1")
    connection.commit()
    connection.close()


BROKEN = {
    "half of the database": cut(0.5), "a database without its last page": lambda path, _: os.truncate(path, os.path.getsize(path) - 4096),
    "a database cut within a page": lambda path, _: os.truncate(path, os.path.getsize(path) - 1000), "one page": cut_to(4096),
    "100 bytes": cut_to(100), "an empty file": cut_to(0), "random bytes": overwritten, "a random header": no_header, "a text": text,
    "a newer version": newer, "an altered migration": other_migration,
}


def broken_round(prepared, breaks, slack, rng):
    with prepared.copy() as data_dir:
        breaks(damage.path_of(data_dir), rng)
        before = digests(data_dir)
        status, seconds, said = ended(prepared.binary, data_dir, slack * END_LIMIT)
        require(status is not None, f"it still runs after {seconds} s")
        require(status == 2, f"it ended with {status}: {said[-300:]}")
        lines = said.strip().splitlines()
        require(len(lines) == 1, f"it says {len(lines)} lines: {said[-600:]}")
        require(digests(data_dir) == before, f"files have changed: {before} {digests(data_dir)}")
    return f"refused in {seconds:.2f} s: {lines[0].replace(data_dir, 'DIRECTORY')}"


def ended(binary, data_dir, limit):
    """How a start ends: the exit status, None where it does not end in time, the seconds it took, and what it says."""
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir]
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=limit)
        return process.returncode, time.monotonic() - began, said
    except subprocess.TimeoutExpired:
        process.kill()
        return None, limit, process.communicate()[1]


def second_round(prepared, slack):
    """A second process on the directory of one that runs."""
    with prepared.copy() as data_dir, prepared.server(data_dir) as server:
        server.start()
        status, seconds, said = ended(prepared.binary, data_dir, slack * SECOND_LIMIT)
        require(status == 2, f"after {seconds:.2f} s it has ended with {status}: {said[-300:]}")
        client = Client(server.url)
        prepared.served.check(client)
        client.close()
        require(server.stop() == 0, "the first ended with an error")
    return f"ended in {seconds * 1000:.0f} ms: {said.strip().replace(data_dir, 'DIRECTORY')}"


def deleted(path, _):
    os.remove(path)


def cut_off(path, rng):
    os.truncate(path, rng.randrange(os.path.getsize(path)))


def flipped(path, rng):
    damage.flip_in_file(path, rng)


LOG_BROKEN = {"the log is deleted": deleted, "the log is cut off": cut_off, "a bit of the log is flipped": flipped}


def log_round(prepared, breaks, rng):
    """Models made in an order, some with a job; what is there afterwards must be the first of them, each as a whole."""
    with prepared.copy() as data_dir:
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            made = {}
            for number in range(MODELS):
                name = f"m{number}"
                client.post("/v1/models", model(name, seed=number))
                if number % 3 == 0:
                    client.wait_for(client.post("/v1/jobs", job(name))["id"], 30.0, poll=0.01)
                made[name] = client.predict_raw(name, XOR["inputs"])
            client.close()
            server.kill()
        breaks(damage.path_of(data_dir) + "-wal", rng)
        before = digests(data_dir)
        with prepared.server(data_dir) as server:
            try:
                server.start()
            except RuntimeError:
                require(server.process.returncode == 2, f"the start ended with {server.process.returncode}{complaints(server)}")
                require(digests(data_dir) == before, "the start is refused, and files have changed")
                return "the start is refused"
            client = Client(server.url)
            names = {item["name"] for item in client.get("/v1/models?limit=100")["data"]} & set(made)
            require(names == {f"m{number}" for number in range(len(names))}, f"of {MODELS} models there are {sorted(names)}")
            last = f"m{len(names) - 1}"
            for name in names:
                found = client.predict_raw(name, XOR["inputs"])
                # The last one may be of the moment before its job ended.
                require(found == made[name] or (name == last and b'"version":1' in found), f"{name} predicts other bytes")
            prepared.served.check(client)
            client.post("/v1/models", model("after"))
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return f"whole as of an earlier moment: {len(names)} of {MODELS} models"


def run(binary, rounds, slack, seed):
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-broken-") as folder:
        prepared = Prepared(binary, folder)
        for what, breaks in BROKEN.items():
            outcomes.append(is_kept(what, lambda: broken_round(prepared, breaks, slack, rng)))
        outcomes.append(is_kept("a second process", lambda: second_round(prepared, slack)))
        for what, breaks in LOG_BROKEN.items():
            for _ in range(1 if breaks is deleted else rounds):
                outcomes.append(is_kept(what, lambda: log_round(prepared, breaks, rng)))
    return summary("broken files", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--rounds", type=int, default=4, help="with a log that is cut off, and with a bit of it flipped")
    parser.add_argument("--slack", type=float, default=1.0, help="times the bounds in seconds, for a busy machine")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), arguments.rounds, arguments.slack, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
