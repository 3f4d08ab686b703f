#!/usr/bin/env python3
"""Has reads of the database fail while a gradientd loads its models, and looks that only what was being read is affected.

    python3 tests/torture/failing_reads.py --binary target/release/gradientd --most 20 --seed 1

Each round has the Nth pread64 of every thread fail with EIO, or find nothing as if the file were shorter, on a start with --models
models and on the requests that follow, which also load older versions on demand. The start may be refused (exit status 2). Otherwise
every answer must be as always, byte for byte, or a 5xx, or where a list leaves things out a part of the list, and the server must not
end by itself. A read that fails disturbs no more than the thing that was read, and once reads succeed everything is answered as always.
SQLite takes a short read for a page that is not there yet, and keeps it in memory as such: that may disturb more, for longer, but no
answer may be wrong. After a restart everything is as before. Which thread makes which read varies: where the Nth never came, or was not
of the database, the round is counted apart.
--most bounds the rounds of each kind; 0 is every N. Needs strace. Exits 1 on any miss.
"""

import argparse
import collections
import os
import random
import sys
import tempfile

sys.dont_write_bytecode = True

import injection  # noqa: E402
from answers import Answers, Compared  # noqa: E402
from daemon import Client  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from scripted import job, model  # noqa: E402

HOW = {"EIO": "error=EIO", "a short read": "retval=0"}


def several(count):
    """Models with two versions each, of which only the latest is loaded at the start."""
    def made(client):
        for number in range(count):
            client.post("/v1/models", model(f"m{number}"))
            client.wait_for(client.post("/v1/jobs", job(f"m{number}"))["id"], 30.0)
    return made


class Reads:
    def __init__(self, prepared):
        self.prepared = prepared
        self.counts = collections.Counter()
        with prepared.copy() as data_dir:
            trace = data_dir + ".trace"
            with prepared.server(data_dir, injection.traced(injection.READS, trace)) as server:
                server.start()
                client = Client(server.url)
                self.known = Answers(client)
                client.close()
                self.last = injection.most_calls(trace)

    def round(self, number, how):
        with self.prepared.copy() as data_dir:
            trace = data_dir + ".trace"
            prefix = injection.injected_until_lifted(injection.READS, f"{HOW[how]}:when={number}", trace)
            with self.prepared.server(data_dir, prefix) as server:
                try:
                    server.start()
                    said = self.answers(server, trace, how == "EIO")
                except RuntimeError:
                    # The program itself is read, too.
                    is_ours = injection.of_files(trace) <= {os.path.join(data_dir, name) for name in os.listdir(data_dir)}
                    require(server.process.returncode == 2 or not is_ours,
                            f"the start ended with {server.process.returncode}{complaints(server)}")
                    said = "start refused" if is_ours else "not of the database"
                if not injection.moments(trace):
                    said = "never came"
            self.counts[said.split(",", maxsplit=1)[0]] += 1
            with self.prepared.server(data_dir) as server:
                server.start()
                self.as_before(server)
        return said

    def came(self):
        came = sum(self.counts[what] for what in ("refused", "nothing refused", "start refused"))
        require(4 * came >= self.counts.total(), f"{came} of {self.counts.total()}: too few to say anything")
        return f"{came} of {self.counts.total()}"

    def answers(self, server, trace, passes):
        client = Client(server.url)
        try:
            compared = Compared(self.known, Answers.again(self.known, client))
        except GONE as gone:
            require(server.wait_for_end(1.0) is None, f"the server ended by itself with {server.process.returncode}{complaints(server)}")
            require(False, f"a request was not answered: {gone!r}")
        client.close()
        wrong = compared.wrong + compared.absent
        require(not wrong, f"wrong answers: {wrong[:2]}{complaints(server)}")
        injection.lift(server.process)
        if passes:
            # Each thread that reads has its Nth read.
            failed = len(injection.moments(trace))
            require(len(compared.things) <= failed, f"{failed} reads failed and {len(compared.things)} things are disturbed: {compared.things}")
            self.as_before(server)
        disturbed = len(compared.refused) + len(compared.left_out)
        return f"{'refused' if disturbed else 'nothing refused'}, {disturbed} of {len(self.known.answers)} answers, and none wrong"

    def as_before(self, server):
        client = Client(server.url)
        compared = Compared(self.known, Answers.again(self.known, client))
        client.close()
        differ = compared.wrong + compared.absent + compared.refused + compared.left_out
        require(not differ, f"{len(differ)} answers are not as before, though reads succeed: {differ[:2]}{complaints(server)}")
        require(server.stop() == 0, "the server ended with an error")


def run(binary, most, models, seed):
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-reads-") as folder:
        reads = Reads(Prepared(binary, folder, several(models)))
        print(f"{models} models, {len(reads.known.answers)} answers, {reads.last} reads in the busiest thread", flush=True)
        for how in HOW:
            for number in injection.sample(rng, range(1, reads.last + 1), most or reads.last):
                outcomes.append(is_kept(f"read {number}: {how}", lambda: reads.round(number, how)))
    outcomes.append(is_kept("rounds whose read came", lambda: reads.came()))
    figures = ", ".join(f"{what}: {count}" for what, count in sorted(reads.counts.items()))
    return summary(f"failing reads ({figures})", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--most", type=int, default=10, help="rounds of each kind; 0 for every read")
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1, help="of which reads fail")
    arguments = parser.parse_args()
    injection.need_strace()
    return run(os.path.abspath(arguments.binary), arguments.most, arguments.models, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
