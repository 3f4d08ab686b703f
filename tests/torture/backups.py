#!/usr/bin/env python3
"""Backs a gradientd up while it trains and is written to, restores the copy elsewhere and compares.

    python3 tests/torture/backups.py --binary target/release/gradientd --rounds 10

Each round backs up while a job runs and models are created, with predictions going on. `gradientd verify` must find the copy whole;
restored to another directory it must have every model that was acknowledged before the backup began, those created meanwhile in their
order without a gap, the same jobs as they were, and everything at rest byte for byte; the job that was under way goes on there to the
bits of an undisturbed run.
A backup does not overwrite, and a restore neither, nor into a directory that a server uses. A backup with a bit flipped is refused.
Exits 1 on any miss.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import damage  # noqa: E402
import watcher  # noqa: E402
from daemon import Client  # noqa: E402
from long_job import LongJob, epoch, once  # noqa: E402
from prepared import Prepared, knows  # noqa: E402
from promise import fail, is_kept, require, summary  # noqa: E402
from scripted import model  # noqa: E402

JOB_SECONDS = 4.0


def command(binary, *arguments):
    """The exit status of a command and what it says."""
    ended = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=120, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).strip()


class Creator(threading.Thread):
    """Creates models in an order, and knows how many were acknowledged."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.client, self.stopped, self.count = Client(url), threading.Event(), 0

    def run(self):
        while not self.stopped.is_set():
            self.client.post("/v1/models", model(name_of(self.count), seed=self.count))
            self.count += 1
        self.client.close()


def name_of(number):
    return f"c{number:05}"


def backup_round(prepared, rng):
    long, binary = prepared.made, prepared.binary
    with prepared.copy() as data_dir:
        backup, restored = data_dir + ".backup", data_dir + "-restored"
        with prepared.server(data_dir) as server:
            server.start()
            client = Client(server.url)
            job = long.start(client, "running")
            once(client, job, lambda state: epoch(state) > 0)
            creator, watch = Creator(server.url), watcher.of_served(server, prepared.served)
            creator.start()
            watch.start()
            time.sleep(rng.uniform(0.0, 0.8) * long.seconds)
            before, jobs = creator.count, statuses(client)
            began = time.monotonic()
            status, said = command(binary, "backup", backup, "--data-dir", data_dir)
            took = time.monotonic() - began
            creator.stopped.set()
            creator.join()
            predictions = watch.stop()
            require(status == 0, f"the backup ended with {status}: {said}")
            require(command(binary, "backup", backup, "--data-dir", data_dir)[0] == 2, "a backup overwrites another")
            require(command(binary, "restore", backup, "--data-dir", data_dir)[0] == 2, "a restore takes the directory of a server")
            client.close()
            server.kill()
        status, said = command(binary, "verify", "--file", backup)
        require(status == 0, f"verify ended with {status}: {said}")
        status, said = command(binary, "restore", backup, "--data-dir", restored)
        require(status == 0, f"the restore ended with {status}: {said}")
        require(command(binary, "restore", backup, "--data-dir", restored)[0] == 2, "a restore overwrites a database")
        status, said = command(binary, "verify", "--data-dir", restored)
        require(status == 0, f"verify of what was restored ended with {status}: {said}")
        count = compared(prepared, restored, job, jobs, before, creator.count)
        refused(binary, backup, restored, rng)
    return (f"in {took:.2f} s beside {predictions} predictions (slowest {max(watch.seconds) * 1000:.0f} ms); {before} models before it, "
            f"{count} in it, {creator.count} after; the job went on to the same bits")


def statuses(client):
    """Of all jobs, by id."""
    return {job["id"]: job["status"] for job in client.get("/v1/jobs?limit=100")["data"]}


def compared(prepared, restored, job, jobs, before, after):
    """What a server on the restored directory answers. Gives the number of models that were created."""
    with prepared.server(restored) as server:
        server.start()
        client = Client(server.url)
        count = 0
        while (found := client.find(f"/v1/models/{name_of(count)}")) is not None:
            require(found["seed"] == count, f"model {name_of(count)} is another")
            client.raw("GET", f"/v1/models/{name_of(count)}/versions/1/parameters")
            count += 1
        require(before <= count <= after + 1, f"{before} models were there before the backup, {after} after, and {count} are in it")
        later = [number for number in range(count, after + 1) if client.find(f"/v1/models/{name_of(number)}") is not None]
        require(not later, f"model {count} is not in it and model {later[:1]} is")
        found = statuses(client)
        require(found.keys() == jobs.keys() and all(found[known] == jobs[known] for known in jobs if known != job),
                f"the jobs were {jobs} and are {found}")
        prepared.served.check(client)
        prepared.made.check(client, job)
        client.close()
        require(server.stop() == 0, "the server ended with an error")
    return count


def refused(binary, backup, restored, rng):
    """A backup in whose stored bytes a bit is flipped."""
    folder = restored + "-flipped"
    os.makedirs(folder)
    os.rename(backup, damage.path_of(folder))
    with damage.opened(folder) as connection:
        flipped = damage.flip_value(connection, rng, rng.choice(damage.values(connection)["blob"]))
    status, said = command(binary, "restore", damage.path_of(folder), "--data-dir", restored + "-other")
    require(status in (1, 2), f"a backup with {flipped} is restored: {status} {said}")
    require(not os.path.exists(damage.path_of(restored + "-other")), "a refused restore leaves a database")


def run(binary, rounds, seed):
    if not knows(binary, "backup"):
        fail("this program has no `backup`")
    rng, outcomes = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="gradientd-backups-") as folder:
        prepared = Prepared(binary, folder, lambda client: LongJob(client, JOB_SECONDS))
        for number in range(1, rounds + 1):
            outcomes.append(is_kept(f"backup {number}", lambda: backup_round(prepared, rng)))
    return summary("backups", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), min(arguments.rounds, 100), arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
