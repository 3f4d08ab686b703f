"""A short run of writes of every kind against a server, and what of it was acknowledged. Scripts of failing disks repeat it."""

import http.client
import json
import time

from daemon import Client, Refused
from promise import GONE, require

XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}
ROWS = "".join(f"{row / 300:.4f},{row % 7},{'ab'[row % 2]},{row % 2}\n" for row in range(300))
TABLE = f"x,y,word,target\n{ROWS}".encode()
ON_TABLE = {"dataset": "table", "features": ["x", "y"], "target": "target"}
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}


def model(name, **more):
    layers = [{"units": 9, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]
    return {"name": name, "inputs": 2, "layers": layers, "dtype": "float64", "seed": 5, **more}


def job(name, **more):
    return {"model": name, "data": XOR, "epochs": 30, "batch_size": 2, "seed": 3, **more}


class Served:
    """A model with two versions that no later write touches: its predictions are the same bytes for ever."""

    NAME = "served"

    def __init__(self, client):
        client.upload("table", TABLE)
        client.post("/v1/models", model(self.NAME))
        ended = client.wait_for(client.post("/v1/jobs", job(self.NAME, data=ON_TABLE))["id"], 30.0)
        self.paths = ["/v1/models/served", "/v1/models/served/versions", "/v1/models/served/versions/2/parameters",
                      f"/v1/jobs/{ended['id']}", f"/v1/jobs/{ended['id']}/loss", "/v1/datasets/table", "/v1/datasets/table/rows"]
        self.answers = {path: client.raw("GET", path) for path in self.paths}
        self.prediction = client.predict_raw(self.NAME, XOR["inputs"])

    def check(self, client):
        require(client.predict_raw(self.NAME, XOR["inputs"]) == self.prediction, "a model predicts other bytes")
        for path, answer in self.answers.items():
            require(client.raw("GET", path) == answer, f"{path} is not what it was")


class Outcome:
    """How a request ended: its status, or None where the connection broke."""

    def __init__(self, step, status, body=b"", reason="", began=None):
        self.step, self.status, self.body, self.reason, self.began = step, status, body, reason, began

    @property
    def is_acknowledged(self):
        return self.status is not None and self.status < 300

    def __repr__(self):
        return f"{self.step}: {self.status or self.reason}"


class Scripted:
    """One run, in a data directory with what is `Served`.

    `facts` are paths with what has to be there: the fields of an object, or None where it was deleted.
    """

    def __init__(self, url, seconds=30.0, retry=()):
        self.url, self.seconds, self.retry = url, seconds, retry
        self.facts, self.outcomes = {}, []

    def run(self):
        """All steps, whatever becomes of them."""
        for name in ("a", "b", "c"):
            self.write(f"create {name}", "POST", "/v1/models", model(name), self.is_there(f"/v1/models/{name}"))
        self.write("alias", "PUT", "/v1/models/a/aliases/stable", {"version": 1}, self.has("/v1/models/a", "aliases", {"stable": 1}))
        self.write("upload", "POST", "/v1/datasets?name=d", TABLE, self.is_there("/v1/datasets/d"), CSV)
        # While rows are being appended, either revision may be there.
        before = self.facts.pop("/v1/datasets/d", None)
        appended = self.write("append", "POST", "/v1/datasets/d/rows", TABLE, self.is_there("/v1/datasets/d"), CSV)
        if before and appended.status is not None and not appended.is_acknowledged and appended.status != 500:
            self.facts["/v1/datasets/d"] = before
        self.train("a")
        self.write("delete c", "DELETE", "/v1/models/c", None, self.is_gone("/v1/models/c"))
        self.predict(Served.NAME)
        self.write("delete alias", "DELETE", "/v1/models/a/aliases/stable", None, self.has("/v1/models/a", "aliases", {}))
        self.write("create e", "POST", "/v1/models", model("e"), self.is_there("/v1/models/e"))
        return self.outcomes

    def write(self, step, method, path, body, learn, headers=None):
        """One write; where it is answered with a status of `retry`, again until it is not."""
        for touched in learn.touches:
            self.facts.pop(touched, None)
        deadline = time.monotonic() + self.seconds
        while True:
            outcome = self.ask(step, method, path, body, headers)
            self.outcomes.append(outcome)
            if outcome.status not in self.retry or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        if outcome.is_acknowledged:
            learn(json.loads(outcome.body) if outcome.body else None)
        return outcome

    def ask(self, step, method, path, body=None, headers=None):
        client = Client(self.url, timeout=self.seconds)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        began = time.time()
        try:
            client.connection.request(method, path, body=content, headers=(headers or JSON) if content else {})
            response = client.connection.getresponse()
            return Outcome(step, response.status, response.read(), began=began)
        except (OSError, http.client.HTTPException) as gone:
            return Outcome(step, None, reason=type(gone).__name__, began=began)
        finally:
            client.close()

    def train(self, name):
        """A job until it has ended; that it has succeeded, once seen, is a fact with its version."""
        submitted = self.write("job", "POST", "/v1/jobs", job(name), Learn(lambda made: self.know(f"/v1/jobs/{made['id']}", {
            "id": made["id"], "spec": made["spec"]}), [f"/v1/models/{name}"]))
        if submitted.is_acknowledged:
            path = f"/v1/jobs/{json.loads(submitted.body)['id']}"
            ended = self.follow("job's end", path)
            if ended.get("status") == "succeeded":
                fields = ("status", "version", "metrics", "epochs", "finished_at")
                self.know(path, {field: ended[field] for field in fields if field in ended})
                self.know(f"/v1/models/{name}", {"latest_version": ended["version"]})
                self.know(f"/v1/models/{name}/versions/{ended['version']}", {"version": ended["version"]})

    def predict(self, name):
        """A batch prediction; one that failed for want of room is submitted again, where such answers are repeated."""
        path, deadline = f"/v1/models/{name}/predictions", time.monotonic() + self.seconds
        while True:
            made = self.write("batch prediction", "POST", path, {"dataset": "table"}, Learn(lambda made: None))
            if not made.is_acknowledged:
                return
            one = f"{path}/{json.loads(made.body)['id']}"
            ended = self.follow("batch prediction's end", one)
            if ended.get("status") == "succeeded":
                self.know(one, {"status": "succeeded"})
            if self.outcomes[-1].status != 507 or 507 not in self.retry or time.monotonic() > deadline:
                return

    def follow(self, step, path):
        """The object once it has ended, or what was last seen of it before the server was gone."""
        deadline, seen = time.monotonic() + self.seconds, {}
        while time.monotonic() < deadline:
            outcome = self.ask(step, "GET", path)
            if not outcome.is_acknowledged:
                self.outcomes.append(outcome)
                break
            seen = json.loads(outcome.body)
            if seen["status"] in ("succeeded", "failed", "cancelled"):
                break
            time.sleep(0.01)
        if seen.get("status") in ("failed", "cancelled"):
            status = 507 if (seen["error"] or {}).get("code") == "disk_full" else None
            self.outcomes.append(Outcome(step, status, reason=f"{seen['status']}: {seen['error']}"))
        return seen

    def know(self, path, fields):
        self.facts[path] = {**(self.facts.get(path) or {}), **fields}

    def is_there(self, path):
        return Learn(lambda made: self.facts.__setitem__(path, made), [path])

    def has(self, path, field, value):
        before = {name: found for name, found in (self.facts.get(path) or {}).items() if name != field}
        return Learn(lambda _: self.facts.__setitem__(path, {**before, field: value}), [path])

    def is_gone(self, path):
        return Learn(lambda _: self.facts.__setitem__(path, None), [path])

    def check(self, client):
        """Everything that was acknowledged is there, and nothing is broken."""
        for path, fields in self.facts.items():
            found = client.find(path)
            if fields is None:
                require(found is None, f"{path} was deleted and is back")
                continue
            require(found is not None, f"{path} was acknowledged and is gone")
            for field, value in fields.items():
                require(found[field] == value, f"{path}: {field} was {value}, is {found[field]}")
        # What was in the making is there as a whole or not at all.
        for found in client.get("/v1/models?limit=100")["data"]:
            client.raw("GET", f"/v1/models/{found['name']}/versions/latest/parameters")
            client.predict_raw(found["name"], [[0] * found["inputs"]])
        for found in client.get("/v1/datasets?limit=100")["data"]:
            client.raw("GET", f"/v1/datasets/{found['name']}/rows?limit=1000")
        for made in client.get("/v1/jobs?limit=100")["data"]:
            require(made["status"] != "succeeded" or made["version"], f"job {made['id']} has succeeded without a version")

    @property
    def acknowledged(self):
        return sum(outcome.is_acknowledged for outcome in self.outcomes)


class Learn:
    """What an acknowledgement says, and of which paths nothing is known until it comes."""

    def __init__(self, say, touches=()):
        self.say, self.touches = say, list(touches)

    def __call__(self, made):
        self.say(made)


def recovered(server, *checks):
    """Starts the server again and has everything checked; the seconds until it was ready."""
    took = server.start()
    client = Client(server.url)
    try:
        for check in checks:
            check(client)
    finally:
        client.close()
    return took


def status_of(client, path):
    """The status that a path is answered with, or None where nobody answers."""
    try:
        client.raw("GET", path)
        return 200
    except Refused as refused:
        return refused.status
    except GONE:
        return None
