#!/usr/bin/env python3
"""Flips single bits of what a gradientd has stored and looks that none is served.

    python3 tests/torture/flipped_bits.py --binary target/release/gradientd --flips 60 --seed 1

Each flip is made in a copy of the data directory of a stopped server: a quarter in stored bytes (artifacts, checkpoints, rows of
tables and of jobs, predictions), a quarter in text of rows, and half anywhere in the file of the database.
`gradientd verify` must say so, with exit status 1 or 2, and change no byte. A server started on the copy must answer every request as
before, byte for byte, or refuse it (5xx); a list may leave out what is damaged. A flip in one value must not disturb more than the
one thing that it belongs to. What has a flip in the name that it is found by may be said to be absent, which is counted apart, as
after a flip in the file, where names are, too; whatever else is flipped, that would be a wrong answer.
A server may refuse to start where the file itself was hit, or the tables that say how the rest is read.
Bits of free pages and unused bytes of a page hold nothing: flips that change no row, read through SQLite, and that
SQLite's own check does not see either, are counted apart, and must change no answer.
Then, one by one: the newest version, a checkpoint and a dataset are damaged, and what is promised for each is looked for.
Where the program has no `verify`, only what is served is looked at. Exits 1 on any miss.
"""

import argparse
import collections
import hashlib
import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import damage  # noqa: E402
from answers import Answers, Compared  # noqa: E402
from daemon import Client  # noqa: E402
from long_job import LongJob, epoch, events, once  # noqa: E402
from prepared import Prepared, complaints, knows  # noqa: E402
from promise import is_kept, require, summary  # noqa: E402
from scripted import ON_TABLE, TABLE, XOR, job, model  # noqa: E402

JOB_SECONDS = 3.0


class Contents:
    """Something of every kind that is stored, all of it at rest."""

    def __init__(self, client):
        for name in ("one", "other"):
            client.post("/v1/models", model(name))
            for more in ({}, {"epochs": 40}):
                client.wait_for(client.post("/v1/jobs", job(name, metadata={"team": "a"}, **more))["id"], 30.0)
        client.send("PUT", "/v1/models/other/aliases/stable", {"version": 2})
        client.raw("POST", "/v1/datasets/table/rows", TABLE, {"Content-Type": "text/csv"})
        made = client.post("/v1/models/served/predictions", {"dataset": "table"})
        client.wait_at(f"/v1/models/served/predictions/{made['id']}", 30.0)
        self.long = LongJob(client, JOB_SECONDS)
        self.paused = self.long.start(client, "paused")
        # Two pauses make two checkpoints, of which the newer gives way to the older.
        for part in (10, 5):
            once(client, self.paused, lambda state: epoch(state) >= self.long.epochs // part)
            client.send("POST", f"/v1/jobs/{self.paused}/pause")
            once(client, self.paused, lambda state: state["status"] == "paused")
            if part == 10:
                client.send("POST", f"/v1/jobs/{self.paused}/resume")
        self.epochs = [kept["epoch"] for kept in client.get(f"/v1/jobs/{self.paused}/checkpoints")["data"]]


class Flips:
    """What became of the flips."""

    def __init__(self, prepared, known):
        self.prepared, self.known = prepared, known
        self.verifies = knows(prepared.binary, "verify")
        self.content = damage.content(prepared.data_dir)
        with damage.opened(prepared.data_dir) as connection:
            self.values = damage.values(connection)
        self.counts = collections.Counter()

    def round(self, kind, rng):
        with self.prepared.copy() as data_dir:
            if kind == "file":
                flipped = damage.flip_in_file(damage.path_of(data_dir), rng)
            else:
                with damage.opened(data_dir) as connection:
                    value = rng.choice(self.values[kind])
                    kind = "name" if damage.is_name(connection, value) else kind
                    flipped = damage.flip_value(connection, rng, value)
            changed = damage.content(data_dir) != self.content
            self.counts[f"{kind}: {'flips' if changed else 'flips that change nothing stored'}"] += 1
            faults = []
            if self.verifies:
                self.verify(kind, data_dir, changed, faults)
            self.serve(kind, data_dir, changed, faults)
            require(not faults, f"{flipped}: {'; '.join(faults)}")
        return flipped

    def verify(self, kind, data_dir, changed, faults):
        before = digests(data_dir)
        status, said = verified(self.prepared.binary, data_dir)
        if digests(data_dir) != before:
            faults.append("verify changed a file")
        if changed and status in (1, 2):
            self.counts[f"{kind}: detected"] += 1
        elif changed:
            faults.append(f"verify ended with {status}: {said[:300]}")
        elif status not in (0, 1, 2):
            faults.append(f"verify of what holds the same ended with {status}: {said[:300]}")

    def serve(self, kind, data_dir, changed, faults):
        with self.prepared.server(data_dir) as server:
            try:
                server.start()
            except RuntimeError:
                self.counts[f"{kind}: start refused"] += 1
                if server.process.returncode != 2:
                    faults.append(f"the start ended with {server.process.returncode}")
                if not changed:
                    faults.append(f"the start is refused though nothing stored has changed{complaints(server)}")
                if kind == "blob":
                    faults.append(f"the start is refused{complaints(server)}")
                return
            client = Client(server.url)
            compared = Compared(self.known, Answers.again(self.known, client))
            client.close()
            if server.stop() != 0:
                faults.append("the server ended with an error")
        self.counts[f"{kind}: answers refused"] += bool(compared.refused)
        self.counts[f"{kind}: left out of lists"] += bool(compared.left_out)
        self.counts[f"{kind}: said to be absent"] += bool(compared.absent)
        wrong = compared.wrong + (compared.absent if kind in ("blob", "text") else [])
        if wrong:
            self.counts[f"{kind}: served"] += 1
            faults.append(f"{len(wrong)} wrong answers: {wrong[:2]}")
        if not changed and (compared.refused or compared.left_out or compared.absent):
            faults.append(f"nothing stored has changed, and refused were {(compared.refused + compared.absent)[:2]}")
        if kind == "blob" and len(compared.things) > 1:
            faults.append(f"more than one thing is disturbed: {compared.things}")


def digests(data_dir):
    """Of the files that hold the database: an index of the log in shared memory comes and goes with who reads."""
    found = {}
    for name in sorted(os.listdir(data_dir)):
        if not name.endswith("-shm") and os.path.getsize(os.path.join(data_dir, name)) > 0:
            with open(os.path.join(data_dir, name), "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def verified(binary, data_dir):
    ended = subprocess.run([binary, "verify", "--data-dir", data_dir], capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, "; ".join((ended.stderr + ended.stdout).splitlines())


def damaged(data_dir, query, *parameters):
    """Flips a bit in the middle of the first piece that a query finds."""
    with damage.opened(data_dir) as connection:
        (row,) = connection.execute(query, parameters).fetchone()
        table = query.split(" FROM ")[1].split()[0]
        (content,) = connection.execute(f"SELECT bytes FROM {table} WHERE rowid = ?", (row,)).fetchone()
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 1
        connection.execute(f"UPDATE {table} SET bytes = ? WHERE rowid = ?", (bytes(flipped), row))
        connection.commit()


def newest_version(prepared, known):
    """A damaged version is refused as that, and its elders and other models answer."""
    with prepared.copy() as data_dir:
        damaged(data_dir, "SELECT rowid FROM content_pieces WHERE content = "
                                    "(SELECT content FROM versions WHERE model = 'one' AND version = 3)")
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            compared = Compared(known, Answers.again(known, client))
            require(not compared.wrong + compared.absent, f"wrong answers: {(compared.wrong + compared.absent)[:2]}")
            refused = {path for _, path, _ in compared.refused}
            expected = {"/v1/models/one/predict", "/v1/models/one/versions/3/predict", "/v1/models/one/versions/3/parameters",
                        "/v1/models/one/versions/3/selftest"}
            require(refused == expected, f"refused are {sorted(refused)}")
            problem = client.outcome("POST", "/v1/models/one/predict", {"inputs": XOR["inputs"]})
            require(problem[0] == 500 and problem[1]["type"].endswith("/damaged"), f"it is refused as {problem}")
            # What comes next is served again.
            ended = client.wait_for(client.post("/v1/jobs", job("one", **{"from": {"version": 2}}))["id"], 30.0)
            client.predict_raw("one", XOR["inputs"])
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return f"refused with 500 `damaged` at {len(expected)} paths, all others as before; version {ended['version']} is served again"


def newest_checkpoint(prepared, _):
    """A damaged checkpoint gives way to the one before, and the job ends with the same bits."""
    contents = prepared.made
    require(len(contents.epochs) > 1, f"the job keeps {len(contents.epochs)} checkpoints")
    with prepared.copy() as data_dir:
        damaged(data_dir, "SELECT rowid FROM content_pieces WHERE content = "
                                    "(SELECT content FROM checkpoints WHERE job_id = ? ORDER BY step DESC LIMIT 1)", contents.paused)
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            client.send("POST", f"/v1/jobs/{contents.paused}/resume")
            contents.long.check(client, contents.paused)
            warnings = [event for event in events(client, contents.paused) if "checkpoint_damaged" in str(event)]
            require(warnings, "no event tells of the damaged checkpoint")
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return f"`checkpoint_damaged`, then the same bits from an earlier one of the epochs {contents.epochs}"


def dataset(prepared, known):
    """A job on a damaged dataset fails as that; models and other datasets are as before."""
    with prepared.copy() as data_dir:
        damaged(data_dir, "SELECT rowid FROM dataset_tails WHERE dataset = 'table' ORDER BY revision DESC")
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            made = client.outcome("POST", "/v1/jobs", job("served", data=ON_TABLE))
            if made[0] == 200:
                state = once(client, made[1]["id"], lambda state: state["status"] in ("failed", "succeeded"))
                require(state["status"] == "failed" and "data" in state["error"]["code"], f"the job {state['status']}: {state['error']}")
                how = f"a job fails as `{state['error']['code']}`"
            else:
                require(made[0] == 500 and made[1]["type"].endswith("/damaged"), f"a job is answered with {made}")
                how = "a job is refused with 500 `damaged`"
            compared = Compared(known, Answers.again(known, client))
            wrong = [path for thing, path, _ in compared.wrong + compared.absent if not thing[0].startswith("/")]
            require(not wrong, f"wrong answers: {wrong}")
            require(compared.things <= {("dataset", "table")}, f"disturbed are {compared.things}")
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return how


def run(binary, flips, kinds, seed):
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-flips-") as folder:
        prepared = Prepared(binary, folder, Contents)
        with prepared.copy() as data_dir, prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            known = Answers(client)
            repeated = Compared(known, Answers.again(known, client))
            client.close()
            server.stop()
        differ = repeated.wrong + repeated.refused + repeated.absent
        require(not differ, f"an intact server answers differently: {differ[:1]}")
        tally = Flips(prepared, known)
        print(f"{len(known.answers)} answers; {len(tally.values['blob'])} values of bytes and {len(tally.values['text'])} of text in "
              f"{os.path.getsize(damage.path_of(prepared.data_dir)) / 1e6:.1f} MB", flush=True)
        if tally.verifies:
            outcomes.append(is_kept("an intact directory", lambda: intact(prepared)))
        else:
            print("this program has no `verify`: what is served is looked at, and not what is detected")
        for number in range(flips):
            kind = kinds[number % len(kinds)]
            outcomes.append(is_kept(f"flip {number + 1}, {kind}", lambda: tally.round(kind, rng)))
        for check in (newest_version, newest_checkpoint, dataset):
            outcomes.append(is_kept(f"damaged: {check.__name__}", lambda: check(prepared, known)))
    figures = ", ".join(f"{what}: {count}" for what, count in sorted(tally.counts.items()))
    return summary(f"flipped bits ({figures})", outcomes)


def intact(prepared):
    status, said = verified(prepared.binary, prepared.data_dir)
    require(status == 0, f"verify ended with {status}: {said}")
    return said.split('; ')[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--flips", type=int, default=60, help="at most 10,000; 1,000 take some minutes")
    parser.add_argument("--kinds", nargs="+", choices=("blob", "file", "text"), default=("blob", "file", "text", "file"), help="in turn")
    parser.add_argument("--seed", type=int, default=1, help="of which bits are flipped")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), min(arguments.flips, 10_000), arguments.kinds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
