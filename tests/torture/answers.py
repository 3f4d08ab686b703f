"""Everything that a server answers about what it stores, to be compared with what it answered before."""

import json

from daemon import Refused
from scripted import XOR


class Answers:
    """Answers by path: bytes, or the number of a refusal. A path names the one thing that it is about, so that others can be told."""

    def __init__(self, client):
        self.answers = {}
        self.client = client
        for name in self.names("/v1/models", "name"):
            self.model(name)
        for name in self.names("/v1/datasets", "name"):
            self.read(("dataset", name), f"/v1/datasets/{name}", "", "/rows?limit=1000", "/summary", "/revisions")
        for job in self.names("/v1/jobs", "id"):
            self.job(job)

    def names(self, path, field):
        """The names in a page; none where it is refused."""
        page = self.read((path, ""), path + "?limit=100", "")
        return [item[field] for item in json.loads(page)["data"]] if isinstance(page, bytes) else []

    def model(self, name):
        thing = ("model", name)
        path = f"/v1/models/{name}"
        self.read(thing, path, "")
        self.predict(thing, f"{path}/predict")
        for number in self.of_page(self.read(thing, f"{path}/versions?limit=100", ""), "version"):
            version = ("model", name, number)
            self.read(version, f"{path}/versions/{number}", "", "/parameters", "/selftest")
            self.predict(version, f"{path}/versions/{number}/predict")
        for made in self.of_page(self.read(thing, f"{path}/predictions?limit=100", ""), "id"):
            self.read(("batch prediction", made), f"{path}/predictions/{made}", "", "/result")

    def job(self, job):
        thing = ("job", job)
        path = f"/v1/jobs/{job}"
        self.read(thing, path, "", "/loss?limit=10000", "/events?limit=1000", "/report", "/gradients")
        for epoch in self.of_page(self.read(thing, f"{path}/checkpoints", ""), "epoch"):
            self.predict(thing, f"{path}/checkpoints/{epoch}/predict")

    def of_page(self, page, field):
        return [item[field] for item in json.loads(page)["data"]] if isinstance(page, bytes) else []

    def read(self, thing, path, *ends):
        for end in ends:
            answer = self.asked("GET", path + end)
            self.answers[thing, path + end] = answer
        return answer if len(ends) == 1 else None

    def predict(self, thing, path):
        rows = XOR["inputs"]
        self.answers[thing, path] = self.asked("POST", path, json.dumps({"inputs": rows}))

    def asked(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            return self.client.raw(method, path, body, headers)
        except Refused as refused:
            return refused.status

    @classmethod
    def again(cls, known, client):
        """What is answered now where `known` was answered, path by path."""
        again = cls.__new__(cls)
        again.client, again.answers = client, {}
        for thing, path in known.answers:
            is_prediction = path.endswith("/predict")
            body = json.dumps({"inputs": XOR["inputs"]}) if is_prediction else None
            again.answers[thing, path] = again.asked("POST" if is_prediction else "GET", path, body)
        return again


class Compared:
    """How answers differ from those that were known: `wrong` ones must never be, `refused` and `left_out` ones may. What is `absent`
    is said not to be there, which is wrong too, unless the name that it was found by is damaged."""

    def __init__(self, known, found):
        self.wrong, self.refused, self.left_out, self.absent = [], [], [], []
        for (thing, path), answer in known.answers.items():
            now = found.answers[thing, path]
            if now == answer:
                continue
            if isinstance(now, int):
                # That the request is at fault is a wrong answer.
                (self.refused if now >= 500 else self.absent if now == 404 else self.wrong).append((thing, path, now))
            elif isinstance(answer, bytes) and is_part(now, answer):
                self.left_out.append((thing, path, "items are left out"))
            else:
                self.wrong.append((thing, path, first_difference(answer, now)))

    @property
    def things(self):
        """What single things have an answer that is refused; a model by itself answers as its newest version."""
        found = {thing for thing, _, _ in self.refused if not thing[0].startswith("/")}
        return {thing for thing in found if not any(other[: len(thing)] == thing for other in found - {thing})}


def is_part(found, known):
    """Whether a page has lost some of its items, or figures of them that are null then, and is else what it was."""
    try:
        found, known = json.loads(found), json.loads(known)
        return "data" in known and all(any(is_less(item, other) for other in known["data"]) for item in found["data"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def is_less(found, known):
    """Whether an item of a page is as it was, but for figures that are null."""
    return found.keys() == known.keys() and all(value == known[field] or (field == "metrics" and value is None) for field, value in found.items())


def first_difference(known, found):
    if not isinstance(known, bytes):
        return f"was refused with {known}, is answered"
    place = next((place for place, (one, other) in enumerate(zip(known, found)) if one != other), min(len(known), len(found)))
    around = slice(max(0, place - 30), place + 30)
    return f"{known[around]!r} became {found[around]!r}"
