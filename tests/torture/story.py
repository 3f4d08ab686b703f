"""A story: the same requests in the same order, what the server shows after each, and whether a server found later shows it.

each_write.py and power_loss.py play it and end the server somewhere in it. `Facts` are what was shown after each step. A server that
was ended after `acknowledged` steps must show what was shown after these, or what it shows after the step that was in flight,
of all that the step touches the one or the other. A job and a batch prediction go on by themselves, so that their ends may have come
before somebody was told.
"""

import itertools
import json
import os
import time

from daemon import Client, Refused
from promise import Miss, require, stripped

PATIENCE = 180.0
# Of a play whose client was too late, as happens on a busy machine.
PLAYS = 4
QUIET = 1.5
COPY_PATIENCE = 30.0
# The pages, and the bytes of each with its header.
COPIED, FRAME = 1000, 4096 + 24
# For each time that the job runs: it is to be paused before its end.
EPOCHS = 800
TABLE = b"x,y\n" + b"".join(b"%d,%s\n" % (n * n % 97, b"ab"[n % 3 % 2 :][:1]) for n in range(300))
# Some three quarters of the pages that the log of SQLite has when they are copied into the database.
LARGE = b"x,y\n" + b"".join(b"%d,%d\n" % (n * 2_654_435_761 % 2**32, n * n * 40_503 % 2**31) for n in range(250_000))
LAYERS = [{"units": 60, "activation": "tanh"}, {"units": 2, "activation": "softmax"}]
# What differs between two plays of the same story.
OF_ONE_PLAY = {"id", "job", "created_at", "started_at", "finished_at", "estimated_finish_at", "samples_per_second", "rows_per_second",
               "seconds", "attempt", "instance"}
LABEL = "metadata[label]=story"


class TooLate(Miss):
    """The job had ended before it was paused: that says nothing of the server, and wants another play."""


def played(play):
    """What a play gives that was not too late for its pauses."""
    for _ in range(PLAYS - 1):
        try:
            return play()
        except TooLate:
            pass
    return play()


class Story:
    """One play. `told` is called after each step with how many are done; `restart`, given, is called in the middle, and `data_dir`
    is where the log is looked at then."""

    def __init__(self, client, pauses, told=lambda done: None, restart=None, data_dir=None):
        self.client, self.pauses, self.told, self.restart, self.data_dir = client, pauses, told, restart, data_dir
        self.job = self.prediction = None
        self.facts = []

    def steps(self):
        """Name, what is done, and the paths that show it, of each step."""
        line, table, trained = "/v1/models/line", "/v1/datasets/table", "/v1/models/trained"
        yield "create line", self.create("line"), [line, f"{line}/versions/1", f"{line}/versions/1/parameters"]
        yield "upload table", self.upload("table"), [table, f"{table}/rows?limit=1000"]
        yield "append", self.append, [table, f"{table}/rows?limit=1000"]
        yield "create trained", self.create("trained"), [trained, f"{trained}/versions/1"]
        yield "set an alias", self.set_alias("line", 1), [line]
        yield "submit", self.submit, []
        for _ in range(self.pauses):
            yield "pause", self.pause, []
            yield "resume", self.resume, []
        yield "succeeded", self.wait, [trained, f"{trained}/versions/2", f"{trained}/versions/2/parameters"]
        if self.restart is not None:
            yield "restart", self.start_anew, []
            yield "upload large", self.upload("large", LARGE), ["/v1/datasets/large"]
            yield "fill the log", self.fill_log, []
        yield "publish", self.publish, [trained, f"{trained}/versions/3"]
        yield "move an alias", self.set_alias("trained", 3), [trained]
        yield "predict", self.predict, []
        yield "predicted", self.wait_for_prediction, []
        yield "upload spare", self.upload("spare"), ["/v1/datasets/spare"]
        yield "delete line", self.delete("/v1/models/line"), [line, f"{line}/versions/1", f"{line}/versions/1/parameters"]
        yield "delete spare", self.delete("/v1/datasets/spare"), ["/v1/datasets/spare"]
        yield "drop the alias", self.delete(f"{trained}/aliases/best"), [trained]

    def play(self):
        """Plays to the end, or until the server is gone."""
        for number, (name, step, paths) in enumerate(self.steps(), 1):
            fact = {"step": name, **(step() or {})}
            self.told(number)
            fact["views"] = {path: self.client.find(path) for path in paths}
            self.facts.append(fact)

    def create(self, name):
        return lambda: self.client.post("/v1/models", {"name": name, "inputs": 1, "layers": LAYERS, "seed": 3}) and None

    def upload(self, name, table=TABLE):
        return lambda: self.client.upload(name, table) and None

    def append(self):
        self.client.raw("POST", "/v1/datasets/table/rows", TABLE[:40] + b"\n", {"Content-Type": "text/csv"})

    def set_alias(self, model, version):
        return lambda: self.client.send("PUT", f"/v1/models/{model}/aliases/best", {"version": version}) and None

    def delete(self, path):
        return lambda: self.client.send("DELETE", path)

    def submit(self):
        spec = {"model": "trained", "data": {"dataset": "table", "target": "y"}, "epochs": EPOCHS * (1 + self.pauses), "batch_size": 2, "seed": 4,
                "optimizer": "adam", "metadata": {"label": "story"}}
        self.job = self.client.post("/v1/jobs", spec)["id"]

    def pause(self):
        deadline, before = time.monotonic() + PATIENCE, self.client.get(f"/v1/jobs/{self.job}")["progress"]["epoch"]
        while (now := self.client.get(f"/v1/jobs/{self.job}"))["progress"]["epoch"] <= before:
            self.require_not_ended(now)
            require(time.monotonic() < deadline and now["status"] in ("queued", "running"), f"job {self.job} is {now['status']}")
            time.sleep(0.005)
        status, paused = self.client.outcome("POST", f"/v1/jobs/{self.job}/pause")
        self.require_not_ended(paused if status == 200 else self.client.get(f"/v1/jobs/{self.job}"))
        require(status == 200 and paused["status"] == "paused", f"a pause was answered with {status}: {paused}")
        kept = self.client.get(f"/v1/jobs/{self.job}/checkpoints")["data"][0]
        return {"epoch": paused["progress"]["epoch"], "checkpoint": kept, "paused": True}

    def require_not_ended(self, job):
        if job["status"] == "succeeded":
            raise TooLate(f"job {self.job} had succeeded before it was paused")

    def resume(self):
        self.client.send("POST", f"/v1/jobs/{self.job}/resume")

    def wait(self):
        self.client.wait_for(self.job, PATIENCE, poll=0.01)
        return {"history": stripped(self.client.losses(self.job)), "job": self.client.get(f"/v1/jobs/{self.job}")}

    def start_anew(self):
        self.client.close()
        self.client = Client(self.restart())

    def fill_log(self):
        """Writes until the log is copied as a whole, so that whoever writes next begins it anew, over what it had."""
        database = os.path.join(self.data_dir, "gradientd.db")
        self.create("filler")()
        self.client.upload("filler", TABLE)
        while os.path.getsize(f"{database}-wal") < (COPIED - 60) * FRAME:
            self.client.raw("POST", "/v1/datasets/filler/rows", TABLE, {"Content-Type": "text/csv"})
        # One commit each, and none after the one that is too many.
        for number in itertools.count():
            if os.path.getsize(f"{database}-wal") >= COPIED * FRAME:
                break
            self.client.send("PUT", f"/v1/models/filler/aliases/filled{number}", {"version": 1})
        deadline = time.monotonic() + COPY_PATIENCE
        while time.monotonic() < deadline and not is_copied(database):
            time.sleep(0.1)

    def publish(self):
        epoch = self.client.get(f"/v1/jobs/{self.job}/checkpoints")["data"][0]["epoch"]
        self.client.send("POST", f"/v1/jobs/{self.job}/checkpoints/{epoch}/publish")

    def predict(self):
        made = self.client.post("/v1/models/trained/predictions", {"dataset": "table", "version": 2, "metadata": {"label": "story"}})
        self.prediction = f"/v1/models/trained/predictions/{made['id']}"

    def wait_for_prediction(self):
        self.client.wait_at(self.prediction, PATIENCE, poll=0.01)
        return {"result": self.client.raw("GET", f"{self.prediction}/result").decode()}


def is_copied(database):
    """Whether the log was copied into the database after it was last written to, and that is over."""
    written = os.path.getmtime(database)
    return written > os.path.getmtime(f"{database}-wal") and time.time() - written >= QUIET


class Found:
    """A server that was started on what a play has left, compared with the facts of a whole play."""

    def __init__(self, client, facts, acknowledged, of_another_play):
        self.client, self.facts, self.acknowledged = client, facts, acknowledged
        # In another play of the story names and times are others.
        self.alike = masked if of_another_play else lambda found: found
        self.names = [fact["step"] for fact in facts]
        self.done = self.acknowledged >= self.at("succeeded")

    def at(self, step):
        """How many steps are done once this one is."""
        return self.names.index(step) + 1

    def check(self, finish):
        """Requires every promise; with `finish` the job and the prediction are waited for, too. The name of the step in flight."""
        job = self.labelled("/v1/jobs", self.at("submit"))
        ended = job is not None and job["status"] == "succeeded"
        if job is not None:
            self.check_job(job)
        in_flight = self.acknowledged if self.acknowledged < len(self.names) else None
        if in_flight is not None:
            self.check_whole(in_flight)
        self.check_views(ended)
        if self.acknowledged >= self.at("predict") - 1:
            self.check_prediction(finish)
        if finish and job is not None:
            self.finish(job)
        return "the end" if in_flight is None else self.names[in_flight]

    def labelled(self, path, made):
        """The one thing of the story there, which must be there once `made` steps are done, and not two steps before."""
        found = self.client.get(f"{path}?{LABEL}")["data"]
        require(len(found) <= 1, f"{len(found)} things of {path} are there")
        require(found or self.acknowledged < made, f"what was made at {path} is lost")
        require(not found or self.acknowledged >= made - 1, f"{path} has what nobody asked for")
        return found[0] if found else None

    def before(self, path, done):
        """What was shown there after so many steps."""
        views = [fact["views"][path] for fact in self.facts[:done] if path in fact["views"]]
        return views[-1] if views else None

    def check_whole(self, number):
        """The step in flight is done or not, in all that it touches."""
        if self.names[number] == "succeeded":
            return
        views = self.facts[number]["views"]
        found = {path: self.alike(self.client.find(path)) for path in views}
        is_done = all(found[path] == self.alike(shown) for path, shown in views.items())
        is_not = all(found[path] == self.alike(self.before(path, number)) for path in views)
        require(is_done or is_not, f"the step “{self.names[number]}” is half there: {found}")

    def check_views(self, ended):
        """What no step in flight touches is what it was."""
        in_flight = self.facts[self.acknowledged]["views"] if self.acknowledged < len(self.facts) else {}
        running = self.at("submit") <= self.acknowledged + 1 and not self.done
        trained = self.facts[self.at("succeeded") - 1]["views"] if running else {}
        for path in sorted({path for fact in self.facts for path in fact["views"]}):
            if path in in_flight and path not in trained:
                continue
            # The end of the job may be one of now, with times of now.
            alike = masked if path in trained else self.alike
            found = alike(self.client.find(path))
            allowed = [alike(trained[path])] if path in trained else []
            if not (ended and path in trained):
                allowed.append(alike(self.before(path, self.acknowledged)))
            require(found in allowed, f"{path} shows {found}, it was {allowed}")

    def check_job(self, job):
        """The job is where it may be, with the history and the checkpoint that it had."""
        path = f"/v1/jobs/{job['id']}"
        last = self.facts[: self.acknowledged][-1] if self.acknowledged else {}
        history, final = stripped(self.client.losses(job["id"])), self.facts[self.at("succeeded") - 1]["history"]
        require(history == final[: len(history)], f"the loss history of {len(history)} epochs is not the beginning of that of the job")
        kept = self.client.get(f"{path}/checkpoints")["data"]
        if self.done:
            expected = self.facts[self.at("succeeded") - 1]["job"]
            require(self.alike(job) == self.alike(expected), f"the job that had succeeded is {job}")
            return
        require(job["status"] in ("queued", "running", "paused", "succeeded"), f"the job is {job['status']}: {job['error']}")
        if job["status"] == "succeeded":
            require(job["version"] == 2 and self.client.find("/v1/models/trained/versions/2"), "the job has succeeded without its version")
        pauses = [fact for fact in self.facts[: self.acknowledged] if "paused" in fact]
        if pauses and self.alike is not masked:
            floor = pauses[-1]
            require(len(history) >= floor["epoch"], f"of {floor['epoch']} epochs that were there {len(history)} are left")
            require(job["status"] == "succeeded" or kept and kept[0]["epoch"] >= floor["epoch"], f"the checkpoint of a pause is lost: {kept}")
            if last is floor and job["status"] == "paused":
                require(kept[0] == floor["checkpoint"], f"the checkpoint of a pause is another: {kept[0]}")

    def check_prediction(self, finish):
        found = self.labelled("/v1/models/trained/predictions", self.at("predict"))
        if found is None:
            return
        path = f"/v1/models/trained/predictions/{found['id']}"
        require(found["status"] == "succeeded" or self.acknowledged < self.at("predicted"), f"the batch prediction is {found['status']}")
        if finish:
            self.client.wait_at(path, PATIENCE)
        if finish or found["status"] == "succeeded":
            expected = self.facts[self.at("predicted") - 1]["result"]
            require(self.client.raw("GET", f"{path}/result").decode() == expected, "the result of the batch prediction is another")

    def finish(self, job):
        """The job goes on to the bits that it would have had."""
        if self.client.get(f"/v1/jobs/{job['id']}")["status"] == "paused":
            self.client.send("POST", f"/v1/jobs/{job['id']}/resume")
        self.client.wait_for(job["id"], PATIENCE)
        views = self.facts[self.at("succeeded") - 1]
        require(stripped(self.client.losses(job["id"])) == views["history"], "the job has come to another loss history")
        path = "/v1/models/trained/versions/2/parameters"
        require(self.client.find(path) == views["views"][path], "the job has come to other parameters")


def masked(found):
    """Without what differs between two plays."""
    if isinstance(found, dict):
        return {field: masked(value) for field, value in found.items() if field not in OF_ONE_PLAY}
    if isinstance(found, list):
        return [masked(value) for value in found]
    return found


def write_facts(path, facts):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(facts, file)


def read_facts(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
