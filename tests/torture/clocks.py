#!/usr/bin/env python3
"""Sets the wall clock of a gradientd a year back and a year on, and looks that nothing but displayed times differs.

    python3 tests/torture/clocks.py --binary target/release/gradientd

At a restart: jobs that were found are taken up once, keys of requests are still known, lists keep their order with what is new at the
front, and whatever was stored is answered as before. During a job with max_seconds: it goes on in its first attempt to its last epoch,
and has the bits of an undisturbed run; predictions, events and cancels work meanwhile.
The clock is libfaketime's, preloaded, with an offset that is read from a file again and again; monotonic clocks are left alone.
Exits 1 on any miss.
"""

import argparse
import glob
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client  # noqa: E402
from long_job import LongJob, epoch, events, once  # noqa: E402
from prepared import Prepared  # noqa: E402
from promise import fail, is_kept, require, summary  # noqa: E402
from scripted import XOR, job, model  # noqa: E402

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
JOB_SECONDS = 4.0
YEAR = 365 * 86_400
JUMPS = {"a year back": -YEAR, "a year on": YEAR}


class Clock:
    """The clock of one server: so many seconds off."""

    def __init__(self, folder, seconds=0):
        self.path = os.path.join(folder, "clock")
        self.set(seconds)

    def set(self, seconds):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}")
        os.replace(self.path + ".new", self.path)

    @property
    def prefix(self):
        (library, *_) = glob.glob(LIBRARIES) or fail("libfaketime is missing: install the package faketime")
        return ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self.path}", "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1"]


def year(text):
    return int(text[:4])


def off_by(client, name, seconds):
    """A new model; its time must show that the clock is really off."""
    made = client.post("/v1/models", model(name))
    expected = time.gmtime(time.time() + seconds)
    require(year(made["created_at"]) == expected.tm_year, f"the clock is not what it was set to: {made['created_at']}")


def names(client, path, field):
    return [item[field] for item in client.get(f"{path}?limit=100")["data"]]


def restarted_round(prepared, seconds):
    """A job is under way, one waits and one is paused when the server is killed; the clock has moved at the restart."""
    long = prepared.made
    with prepared.copy() as data_dir:
        clock = Clock(made_folder(data_dir + "-clock"))
        with prepared.server(data_dir, clock.prefix) as server:
            server.start()
            client = Client(server.url)
            running = long.start(client, "running")
            waiting = client.post("/v1/jobs", job("served", **{"from": {"version": 1}}))["id"]
            keyed = client.post("/v1/models", model("keyed"), key="key-of-a-model")
            of_job = client.post("/v1/jobs", job("keyed"), key="key-of-a-job")
            once(client, running, lambda state: epoch(state) > 0)
            known = {path: names(client, path, field) for path, field in LISTS}
            server.kill()
        clock.set(seconds)
        with prepared.server(data_dir, clock.prefix) as server:
            server.start()
            client = Client(server.url)
            off_by(client, "after", seconds)
            require(client.post("/v1/models", model("keyed"), key="key-of-a-model") == keyed, "a key of before is not known")
            require(client.post("/v1/jobs", job("keyed"), key="key-of-a-job")["id"] == of_job["id"], "a key of a job is not known")
            for path, field in LISTS:
                now = [name for name in names(client, path, field) if name != "after"]
                require(now == known[path], f"{path} was {known[path]}, is {now}")
            require(names(client, "/v1/models", "name")[0] == "after", "the newest model is not the first")
            ended = long.check(client, running)
            require(ended["attempt"] == 2, f"the job took {ended['attempt']} attempts")
            require(client.wait_for(waiting, 60.0)["attempt"] == 1, "the job that waited was not started once")
            client.wait_for(of_job["id"], 60.0)
            found = [event["id"] for event in events(client, running)]
            require(found == list(range(1, len(found) + 1)), "the events are not in their order")
            client.close()
            require(server.stop() == 0, "the server ended with an error")
        # And back again.
        clock.set(0)
        with prepared.server(data_dir, clock.prefix) as server:
            server.start()
            client = Client(server.url)
            require(client.post("/v1/models", model("keyed"), key="key-of-a-model") == keyed, "the key is not known on the way back")
            require(client.get(f"/v1/jobs/{running}") == ended, "the job is not what it was")
            prepared_check(prepared, client)
            client.close()
            server.stop()
    return "taken up once, to the same bits; keys known, lists in order, there and back"


LISTS = (("/v1/models", "name"), ("/v1/jobs", "id"), ("/v1/datasets", "name"))


def made_folder(path):
    os.makedirs(path)
    return path


def prepared_check(prepared, client):
    """The served model has one more version by now; of the rest nothing has changed."""
    served = prepared.served
    for path, answer in served.answers.items():
        if path not in ("/v1/models/served", "/v1/models/served/versions"):
            require(client.raw("GET", path) == answer, f"{path} is not what it was")


def during_round(prepared, seconds):
    """The clock jumps there and back while a job runs."""
    long = prepared.made
    with prepared.copy() as data_dir:
        clock = Clock(made_folder(data_dir + "-clock"))
        with prepared.server(data_dir, clock.prefix) as server:
            server.start()
            client = Client(server.url)
            started = long.start(client, "running", max_seconds=3600)
            once(client, started, lambda state: epoch(state) > long.epochs // 10)
            clock.set(seconds)
            off_by(client, "meanwhile", seconds)
            require(client.predict_raw("served", XOR["inputs"]) == prepared.served.prediction, "other bytes are predicted")
            once(client, started, lambda state: epoch(state) > long.epochs // 3)
            state = client.get(f"/v1/jobs/{started}")
            require(state["status"] == "running", f"after the jump the job is {state['status']}: {state['error']}")
            clock.set(0)
            off_by(client, "again", 0)
            ended = long.check(client, started)
            require((ended["attempt"], ended["ended_by"]) == (1, "epochs"), f"attempt {ended['attempt']}, ended by {ended['ended_by']}")
            spent = [row["seconds"] for row in client.losses(started)]
            require(all(0 <= second < 600 for second in spent), f"epochs took from {min(spent)} to {max(spent)} s")
            other = client.post("/v1/jobs", job("again", epochs=100_000))["id"]
            once(client, other, lambda state: state["status"] != "queued")
            clock.set(seconds)
            client.outcome("POST", f"/v1/jobs/{other}/cancel")
            once(client, other, lambda state: state["status"] in ("cancelled", "succeeded"), 5.0)
            prepared.served.check(client)
            client.close()
            require(server.stop() == 0, "the server ended with an error")
    return "one attempt, ended by its epochs, same bits"


def run(binary):
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-clocks-") as folder:
        prepared = Prepared(binary, folder, lambda client: LongJob(client, JOB_SECONDS))
        for what, seconds in JUMPS.items():
            outcomes.append(is_kept(f"{what} at a restart", lambda: restarted_round(prepared, seconds)))
            outcomes.append(is_kept(f"{what} during a job", lambda: during_round(prepared, seconds)))
    return summary("clocks", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary))


if __name__ == "__main__":
    sys.exit(main())
