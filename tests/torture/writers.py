"""The writers of kill.py: each makes, changes and deletes things of its own, and knows what was acknowledged of each.

A writer's things are known by the paths that show them, with the bytes that the server answered. While a request is in flight,
its paths may show what they did before or all that it asked for: whole or not at all. What was answered must stay.
"""

import hashlib
import json
import random
import threading

from daemon import Client, Refused
from promise import GONE, Miss, require, stripped

SOON = 60.0
SHORT = 2048
XOR = {"inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]}
LONG = {"inputs": [[n % 7, n % 5] for n in range(640)], "targets": [[n % 2] for n in range(640)]}


class Writer:
    """One who writes; a kind of it says what."""

    # What things of the same content came to, by whichever writer: digests, histories, results.
    outcomes = {}
    outcomes_lock = threading.Lock()

    def __init__(self, number, seed):
        self.name, self.rng = f"{type(self).__name__.lower()}{number}", random.Random(f"{seed} {type(self).__name__} {number}")
        self.known, self.recent, self.older = {}, set(), set()
        # What was answered, of paths that have not been looked at since.
        self.promised = {}
        self.in_flight, self.fault = None, None
        self.acknowledged = self.made = self.retried = 0

    def new_name(self):
        self.made += 1
        return f"{self.name}-{self.made}"

    def write_until_killed(self, url):
        """Writes until the server is gone, or something is not as it was promised."""
        client = Client(url)
        try:
            while True:
                self.write(client)
        except GONE:
            pass
        except (Miss, Refused, RuntimeError, KeyError) as fault:
            self.fault = f"{self.name}: {type(fault).__name__}: {fault}"
        finally:
            client.close()

    def ask(self, client, request, after):
        """Sends what `request` sends; `after` says of each path whether what it shows is what was asked for."""
        self.in_flight = request, after
        answer = request(client)
        self.in_flight = None
        self.acknowledged += 1
        self.promised.update(after)
        return answer

    def learn(self, client, path):
        """Takes what the server shows for acknowledged."""
        self.keep(path, shown(client, path))

    def keep(self, path, content):
        self.known[path] = brief(content)
        self.recent.add(path)
        self.promised.pop(path, None)

    def forget(self, beginning):
        """From here on nothing is promised of these paths."""
        self.known = {path: content for path, content in self.known.items() if not path.startswith(beginning)}
        self.recent &= self.known.keys()
        self.older &= self.known.keys()

    def recover(self, client):
        """Looks what became of the request in flight, and sends it again with its key: it must come to one thing."""
        for path, holds in list(self.promised.items()):
            content = shown(client, path)
            require(holds(parsed(content)), f"{self.name}: what was answered is lost: {path} shows {content}")
            self.keep(path, content)
        if self.in_flight is None:
            return
        request, after = self.in_flight
        found = {path: shown(client, path) for path in after}
        stayed = all(brief(content) == self.known.get(path) for path, content in found.items())
        happened = all(holds(parsed(found[path])) for path, holds in after.items())
        require(stayed or happened, f"{self.name}: a request in flight is half there: {found}")
        try:
            request(client)
        except Refused as refused:
            # One that has no key and had been carried out: deleted twice.
            require(happened and refused.status == 404, f"{self.name}: sent again: {refused}")
        for path, holds in after.items():
            content = shown(client, path)
            require(holds(parsed(content)), f"{self.name}: sent again, {path} shows {content}")
            require(not happened or content == found[path], f"{self.name}: sent again, {path} has changed to {content}")
            self.keep(path, content)
        self.in_flight, self.retried = None, self.retried + 1

    def check(self, client, sample):
        """Compares what was written lately, and some of the rest, with what the server shows; how many things that were."""
        rest = self.known.keys() - self.recent - self.older
        paths = self.recent | self.older | set(self.rng.sample(sorted(rest), min(sample, len(rest))))
        for path in sorted(paths):
            content = shown(client, path)
            require(brief(content) == self.known[path], f"{self.name}: {path} was {self.known[path]}, is {content}")
        self.recent, self.older = set(), self.recent
        return len(paths)

    def compare(self, what, outcome):
        """The same work comes to the same, whoever does it and however often it was killed."""
        with self.outcomes_lock:
            first = self.outcomes.setdefault(what, outcome)
        require(first == outcome, f"{self.name}: {what} came to {outcome}, before to {first}")


class Models(Writer):
    """Makes and deletes models, sets and drops aliases."""

    def __init__(self, number, seed):
        super().__init__(number, seed)
        self.names = []

    def write(self, client):
        kinds = [self.create] * 3 + ([self.set_alias, self.delete] if self.names else [])
        (self.delete if len(self.names) > 20 else self.rng.choice(kinds))(client)

    def create(self, client):
        name = self.new_name()
        spec = {"name": name, "inputs": 2, "dtype": "float64", "seed": self.rng.randrange(5), "layers": [
            {"units": self.rng.choice([3, 40]), "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]}
        path = f"/v1/models/{name}"
        self.names.append(name)
        self.ask(client, lambda client: client.post("/v1/models", spec, key=name), {
            path: lambda found: found and found["latest_version"] == 1 and found["layers"][0]["units"] == spec["layers"][0]["units"],
            f"{path}/versions/1": lambda found: found and found["model"] == name,
        })
        self.learn(client, path)
        self.learn(client, f"{path}/versions/1")
        self.compare(f"parameters of {spec['seed'], spec['layers']}", client.get(f"{path}/versions/1")["parameter_digest"])

    def set_alias(self, client):
        path, alias = f"/v1/models/{self.rng.choice(self.names)}", self.rng.choice(["stable", "next"])
        before = client.get(path)
        expected = dict(before["aliases"])
        if alias in expected:
            del expected[alias]
            request = lambda client: client.send("DELETE", f"{path}/aliases/{alias}")  # noqa: E731
        else:
            expected[alias] = 1
            request = lambda client: client.send("PUT", f"{path}/aliases/{alias}", {"version": 1})  # noqa: E731
        self.ask(client, request, {path: lambda found: found == {**before, "aliases": expected}})
        self.learn(client, path)

    def delete(self, client):
        path = f"/v1/models/{self.names.pop(self.rng.randrange(len(self.names)))}"
        gone = {path: lambda found: found is None, f"{path}/versions/1": lambda found: found is None}
        self.ask(client, lambda client: client.send("DELETE", path), gone)
        for each in gone:
            self.learn(client, each)


class Datasets(Writer):
    """Uploads, appends to and deletes tables of some rows."""

    rows, most = (1, 400), 12

    def __init__(self, number, seed):
        super().__init__(number, seed)
        # Of each dataset the bodies that it is of.
        self.contents = {}

    def write(self, client):
        kinds = [self.upload] + ([self.append, self.append, self.delete] if self.contents else [])
        (self.delete if len(self.contents) > self.most else self.rng.choice(kinds))(client)

    def body(self):
        """One of few, so that the same content comes again under other names."""
        seed = self.rng.randrange(3)
        rng = random.Random(seed)
        rows = [(rng.randrange(10**6) / 8, rng.choice("abcd"), rng.randrange(100)) for _ in range(rng.randint(*self.rows))]
        return seed, len(rows), ("x,y,z\n" + "".join(f"{x},{y},{z}\n" for x, y, z in rows)).encode()

    def upload(self, client):
        name = self.new_name()
        self.fill(client, name, f"/v1/datasets?name={name}", 1)

    def append(self, client):
        name = self.rng.choice(sorted(self.contents))
        self.made += 1
        self.fill(client, name, f"/v1/datasets/{name}/rows", 1 + len(self.contents[name]))

    def fill(self, client, name, target, revision):
        seed, rows, body = self.body()
        self.contents.setdefault(name, []).append((seed, rows))
        total, path = sum(rows for _, rows in self.contents[name]), f"/v1/datasets/{name}"
        headers = {"Content-Type": "text/csv", "Idempotency-Key": f"{self.name}-{self.made}"}
        last = f"{path}/rows?limit=5&after={max(total - 5, 0)}"
        self.ask(client, lambda client: client.raw("POST", target, body, headers), {
            path: lambda found: found and (found["rows"], found["revision"]) == (total, revision),
            last: lambda found: found is not None,
        })
        self.learn(client, path)
        self.learn(client, last)
        self.compare(f"dataset of {type(self).__name__} {self.contents[name]}", client.get(path)["digest"])

    def delete(self, client):
        name = self.rng.choice(sorted(self.contents))
        del self.contents[name]
        path = f"/v1/datasets/{name}"
        self.forget(f"{path}/")
        self.ask(client, lambda client: client.send("DELETE", path), {path: lambda found: found is None})
        self.learn(client, path)


class LargeDatasets(Datasets):
    """The same of tables of some MB, which are stored in several transactions."""

    rows, most = (150_000, 300_000), 1


class Jobs(Writer):
    """Trains in short jobs, and publishes what their checkpoints are."""

    def __init__(self, number, seed):
        super().__init__(number, seed)
        self.model, self.unfinished = None, None

    def write(self, client):
        if self.model is None or self.made % 20 == 0:
            self.model = self.new_name()
            make_model(self, client, self.model)
        if self.unfinished is None:
            self.submit(client)
        self.finish(client)

    def submit(self, client):
        label, seed = self.new_name(), self.rng.randrange(4)
        spec = {"model": self.model, "data": XOR, "epochs": 40, "batch_size": 2, "seed": seed, "from": {"version": 1},
                "optimizer": "adam", "metadata": {"label": label}}
        self.unfinished = label, seed
        path = f"/v1/jobs?metadata[label]={label}"
        self.ask(client, lambda client: client.post("/v1/jobs", spec, key=label), {path: is_one})

    def finish(self, client):
        label, seed = self.unfinished
        found = client.get(f"/v1/jobs?metadata[label]={label}")["data"]
        require(len(found) == 1, f"{self.name}: {len(found)} jobs are labelled {label}")
        job = client.wait_for(found[0]["id"], SOON, poll=0.01)
        self.came_to(client, job, f"job of 40 epochs, seed {seed}")
        self.unfinished = None

    def came_to(self, client, job, what):
        version = f"/v1/models/{job['model']}/versions/{job['version']}"
        for path in (f"/v1/jobs/{job['id']}", version, f"/v1/jobs/{job['id']}/loss?limit=10000"):
            self.learn(client, path)
        history = stripped(client.losses(job["id"]))
        require([row["epoch"] for row in history] == list(range(1, len(history) + 1)), f"{what}: epochs are missing or double")
        self.compare(what, (digest(json.dumps(history).encode()), client.get(version)["parameter_digest"]))

    def recover(self, client):
        super().recover(client)
        if self.unfinished is not None:
            self.finish(client)


class Moves(Jobs):
    """Pauses, resumes and cancels longer jobs."""

    GOING = {"queued", "running", "succeeded"}
    AFTER = {"pause": {"paused"}, "resume": GOING, "cancel": {"cancelled"}}

    def __init__(self, number, seed):
        super().__init__(number, seed)
        self.job, self.allowed, self.asked = None, self.GOING, None

    def write(self, client):
        if self.model is None:
            self.model = self.new_name()
            make_model(self, client, self.model)
        if self.job is None:
            self.submit(client)
        else:
            self.move(client)

    def submit(self, client):
        label = self.unfinished or self.new_name()
        self.unfinished = label
        spec = {"model": self.model, "data": LONG, "epochs": 400, "batch_size": 8, "from": {"version": 1},
                "metadata": {"label": label}}
        path = f"/v1/jobs?metadata[label]={label}"
        found = self.ask(client, lambda client: client.post("/v1/jobs", spec, key=label), {path: is_one})
        self.job, self.allowed, self.unfinished = found["id"], self.GOING, None

    def move(self, client):
        status = self.look(client)
        if self.job is None:
            return
        move = "resume" if status == "paused" else self.rng.choice(["pause", "pause", "pause", "cancel"])
        self.asked = move
        try:
            status = client.send("POST", f"/v1/jobs/{self.job}/{move}")["status"]
            require(status in self.AFTER[move], f"{self.name}: a {move} was answered with {status}")
            self.allowed = self.AFTER[move]
            self.acknowledged += 1
        except Refused as refused:
            require(refused.status == 409, f"{self.name}: {refused}")
        self.asked = None

    def look(self, client):
        """The status of the job, which must be one that may be; where it has ended, it stays so."""
        job = client.get(f"/v1/jobs/{self.job}")
        allowed = self.allowed | self.AFTER.get(self.asked, set())
        require(job["status"] in allowed, f"{self.name}: job {self.job} is {job['status']}, not one of {sorted(allowed)}: {job['error']}")
        self.allowed, self.asked = (allowed if job["status"] in self.GOING else {job["status"]}), None
        if job["status"] == "succeeded":
            self.came_to(client, job, "job of 400 epochs")
        elif job["status"] == "cancelled":
            for path in (f"/v1/jobs/{self.job}", f"/v1/jobs/{self.job}/checkpoints", f"/v1/jobs/{self.job}/loss?limit=10000"):
                self.learn(client, path)
        else:
            return job["status"]
        self.job = None
        return None

    def recover(self, client):
        Writer.recover(self, client)
        if self.unfinished is not None:
            self.submit(client)
        if self.job is not None:
            self.look(client)


class Predictions(Writer):
    """Predicts the rows of a table in batches, and deletes what came of it."""

    ROWS = 3000

    def __init__(self, number, seed):
        super().__init__(number, seed)
        self.ready, self.unfinished, self.kept = False, None, []

    def write(self, client):
        if not self.ready:
            self.prepare(client)
        if len(self.kept) > 5:
            path, listed_as = self.kept.pop(0)
            self.forget(f"{path}/")
            gone = dict.fromkeys((path, listed_as), lambda found: found is None)
            self.ask(client, lambda client: client.send("DELETE", path), gone)
            for each in gone:
                self.learn(client, each)
        if self.unfinished is None:
            self.submit(client)
        self.finish(client)

    def prepare(self, client):
        rng, key = random.Random(1), f"{self.name}-key"
        body = "x,w,y\n" + "".join(f"{rng.randrange(1000) / 8},{rng.choice('abc')},{rng.choice('uv')}\n" for _ in range(self.ROWS))
        headers = {"Content-Type": "text/csv", "Idempotency-Key": key}
        client.raw("POST", f"/v1/datasets?name={self.name}", body.encode(), headers)
        client.post("/v1/models", {"name": self.name, "dataset": self.name, "target": "y"}, key=f"{key}-model")
        job = client.post("/v1/jobs", {"model": self.name, "epochs": 2}, key=f"{key}-job")
        client.wait_for(job["id"], SOON)
        self.ready = True

    def submit(self, client):
        label = self.new_name()
        self.unfinished = label
        spec = {"dataset": self.name, "version": 2, "keep": ["w"], "metadata": {"label": label}}
        target = f"/v1/models/{self.name}/predictions"
        self.ask(client, lambda client: client.post(target, spec, key=label),
                 {f"{target}?metadata[label]={label}": is_one})

    def finish(self, client):
        listed_as = f"/v1/models/{self.name}/predictions?metadata[label]={self.unfinished}"
        found = client.get(listed_as)["data"]
        require(len(found) == 1, f"{self.name}: {len(found)} batch predictions are labelled {self.unfinished}")
        path = f"/v1/models/{self.name}/predictions/{found[0]['id']}"
        client.wait_at(path, SOON, poll=0.01)
        self.learn(client, path)
        self.learn(client, f"{path}/result")
        self.compare("result of a batch prediction", digest(client.raw("GET", f"{path}/result")))
        self.kept.append((path, listed_as))
        self.unfinished = None

    def recover(self, client):
        super().recover(client)
        if self.unfinished is not None:
            self.finish(client)


def make_model(writer, client, name):
    spec = {"name": name, "inputs": 2, "layers": [{"units": 6, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}]}
    writer.ask(client, lambda client: client.post("/v1/models", spec, key=name),
               {f"/v1/models/{name}/versions/1": lambda found: found is not None})


def is_one(found):
    return found is not None and len(found) == 1


def shown(client, path):
    """The bytes that are shown there, or None where nothing is; of pages only what does not change once more comes after them."""
    try:
        if "?metadata" in path:
            return listed([each["id"] for each in client.get(path)["data"]])
        if "/rows?" in path:
            return listed(client.get(path)["data"])
        return client.raw("GET", path)
    except Refused as refused:
        # Rows that a table does not have yet are asked for in vain.
        if refused.status == 404 or (refused.status == 422 and "/rows?" in path):
            return None
        raise


def listed(things):
    return json.dumps(things).encode() if things else None


def parsed(content):
    return None if content is None else json.loads(content)


def brief(content):
    return content if content is None or len(content) <= SHORT else digest(content)


def digest(content):
    return hashlib.sha256(content).hexdigest()


# Sixteen of them.
MIXED = 5 * [Models] + 3 * [Datasets] + 2 * [LargeDatasets] + 3 * [Jobs] + 2 * [Moves] + [Predictions]
