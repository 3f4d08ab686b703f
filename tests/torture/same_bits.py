#!/usr/bin/env python3
"""Looks whether a job comes to the same bits however often its process is killed, and at any number of threads (T4, T37).

    python3 tests/torture/same_bits.py --binary target/release/gradientd --kills 20 --seed 1

A job (adam, dropout, shuffle, batch normalization, a tenth of the rows to validate on) is run undisturbed with 1, 2, 3 and 7
training threads. Then it is killed at random moments, on its way paused and resumed, with another number of threads after each
kill, until there were so many kills: there must be one SHA-256 of the version that it publishes (the whole artifact as safetensors),
one loss history (but for the seconds of its epochs) and one report. The history seen before a kill must be the beginning of it,
what is trained again after a kill must be less than what is trained between two checkpoints, and predictions of another model
must stay the same bytes. Then the same of other optimizers, schedules, penalties, clipping and of cross-validation, with
fewer kills; and a cancelled job must keep, as a checkpoint, what a job of as many epochs comes to.
Prints a line per case and exits 1 on any miss.
"""

import argparse
import hashlib
import itertools
import random
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from daemon import Client, Refused, Server, known_options  # noqa: E402
from promise import is_kept, require, stripped, summary  # noqa: E402

THREADS = (1, 2, 3, 7)
TAKE_UP_LIMIT = 10.0
# Between two checkpoints of a running job is a second or a hundred times what one costs; the rest is for a machine that is busy.
REPEATED_LIMIT = 3.0
FEATURES, ROWS = 16, 3001
MODEL = {
    "inputs": FEATURES, "loss": "cross_entropy", "preprocess": "standardize", "dtype": "float32", "seed": 11,
    "layers": [{"units": 96, "activation": "tanh", "normalization": "batch"}, {"units": 48, "activation": "relu"},
               {"units": 3, "activation": "softmax"}],
}
PLAIN = {**MODEL, "layers": [{"units": 48, "activation": "tanh"}, {"units": 3, "activation": "softmax"}]}
MAIN = (MODEL, {"optimizer": {"type": "adam", "learning_rate": 0.003}, "batch_size": 96,
                "regularization": {"dropout": 0.2, "l2": 1e-5}, "validation": {"fraction": 0.1}})
OTHERS = {
    "momentum, nesterov": (PLAIN, {"optimizer": {"type": "gradient_descent", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True}}),
    "rmsprop, clipping": (PLAIN, {"optimizer": "rmsprop", "regularization": {"clip_norm": 0.5, "clip_value": 0.1, "input_noise": 0.1}}),
    "adagrad, l1 and l2": (PLAIN, {"optimizer": "adagrad", "regularization": {"l1": 1e-5, "l2": 1e-4, "max_norm": 3}}),
    "adamw, cosine, warm-up": (MODEL, {"optimizer": "adamw", "schedule": "cosine", "warmup_epochs": 2.5, "validation": {"fraction": 0.2}}),
    "plateau, class weights": (PLAIN, {"schedule": "reduce_on_plateau", "class_weight": "balanced", "validation": {"fraction": 0.2}}),
    "lbfgs": (PLAIN, {"optimizer": "lbfgs", "batch_size": "full", "shuffle": False}),
    "cross-validation": (PLAIN, {"cross_validation": {"folds": 3}}),
}


class Case:
    """One kind of job, and what it comes to undisturbed."""

    def __init__(self, bench, model, how):
        self.bench, self.model, self.how = bench, model, {"batch_size": 48, "shuffle": True, **how}
        self.epochs, self.seconds, self.outcome, self.history = None, 0.0, None, []

    def calibrate(self, client, seconds):
        """Finds how many epochs take about so long here."""
        job = self.start(client, epochs=12)
        client.wait_for(job, 120.0)
        each = statistics.median(row["seconds"] for row in client.losses(job))
        self.epochs = max(8, min(20_000, round(seconds / each / self.how.get("cross_validation", {}).get("folds", 1))))

    def start(self, client, epochs=None):
        name = self.bench.new_name()
        client.post("/v1/models", {"name": name, **self.model})
        spec = {"model": name, "data": {"dataset": "rows", "target": "y"}, "epochs": epochs or self.epochs, "seed": 5, **self.how}
        return client.post("/v1/jobs", spec)["id"]

    def came_to(self, client, job):
        """All that a job comes to, but for names and times."""
        state = client.get(f"/v1/jobs/{job}")
        version = f"/v1/models/{state['model']}/versions/{state['version']}"
        artifact = client.raw("GET", f"{version}/parameters", headers={"Accept": "application/x-safetensors"})
        history = stripped(client.losses(job))
        require([row["epoch"] for row in history] == list(range(1, len(history) + 1)), "epochs are missing or double")
        report = {**client.get(f"/v1/jobs/{job}/report"), "job": None}
        return {"artifact": hashlib.sha256(artifact).hexdigest(), "history": history, "report": report,
                "parameters": client.get(version)["parameter_digest"]}

    def undisturbed(self, client):
        began = time.monotonic()
        job = self.start(client)
        client.wait_for(job, 300.0)
        self.seconds = time.monotonic() - began
        outcome = self.came_to(client, job)
        self.outcome = self.outcome or outcome
        self.history = self.outcome["history"]
        self.compare(outcome)

    def compare(self, outcome):
        for what, value in outcome.items():
            expected = self.outcome[what]
            if what == "history" and value != expected:
                where = next((row["epoch"] for row, other in zip(value, expected) if row != other), "the end")
                require(False, f"the loss history differs from epoch {where} on")
            require(value == expected, f"the {what} is {value}, undisturbed {expected}")

    def killed(self, threads, kills):
        """Kills such jobs so many times; what it was like."""
        done = paused = 0
        most = (0, 0.0)
        slowest = 0.0
        jobs = 0
        while done < kills or jobs == 0:
            client = Client(self.bench.url)
            job = self.start(client)
            jobs += 1
            while done < kills:
                time.sleep(self.bench.rng.uniform(0.02, min(2.2, 0.9 * self.seconds)))
                standing = self.bench.rng.random() < 0.3 and self.move(client, job, "pause")
                paused += standing
                seen, attempt, ended = self.look(client, job)
                if ended:
                    break
                client = self.bench.kill(client, next(threads))
                done += 1
                if standing:
                    require(client.get(f"/v1/jobs/{job}")["status"] == "paused", "a paused job is no longer paused after a kill")
                    self.move(client, job, "resume")
                slowest = max(slowest, take_up(client, job, attempt))
                if not standing:
                    most = max(most, self.repeated(client, job, seen), key=lambda found: found[1])
            client.wait_for(job, 300.0)
            self.compare(self.came_to(client, job))
            client.close()
        require(most[1] <= REPEATED_LIMIT, f"{most[0]} epochs of {most[1]:.2f} s were trained again after a kill")
        return (f"killed {done} times in {jobs} jobs and {paused} of them paused, taken up in {slowest:.2f} s, "
                f"at most {most[0]} epochs of {most[1]:.2f} s again")

    def move(self, client, job, move):
        """Whether the job could be paused or resumed; one that has ended cannot."""
        try:
            client.send("POST", f"/v1/jobs/{job}/{move}")
            return True
        except Refused as refused:
            require(refused.status == 409, str(refused))
            return False

    def look(self, client, job):
        """The epochs seen, the attempt, and whether the job has ended; what is seen must be what the undisturbed run had."""
        rows = client.losses(job)
        require(stripped(rows) == self.history[: len(rows)], "the loss history differs before the kill")
        require(self.bench.predicts() == self.bench.steady, "another model predicts other bytes")
        state = client.get(f"/v1/jobs/{job}")
        return rows, state["attempt"], state["status"] == "succeeded"

    def repeated(self, client, job, seen):
        """How many of the epochs that were seen are trained again, and how long they took before."""
        back = [event["data"]["epoch"] for event in events(client, job, "warning") if event["data"]["code"] == "process_ended"]
        again = [row["seconds"] for row in seen if row["epoch"] > back[-1]] if back else []
        return len(again), sum(again)


class Bench:
    """The server, its rows, and a model that is not trained meanwhile."""

    def __init__(self, binary, data_dir, seed):
        self.binary, self.data_dir, self.rng, self.count = binary, data_dir, random.Random(seed), 0
        # Here jobs are killed more often than those of a server that has a fault.
        self.options = known_options(binary, "--max-attempts=1000000")
        self.server = self.serve(1)
        with Client(self.url) as client:
            table = random.Random(3)
            rows = [",".join(f"{table.gauss(0, 1):.4f}" for _ in range(FEATURES)) + "," + table.choice("abc") for _ in range(ROWS)]
            client.upload("rows", "\n".join([",".join(f"x{column}" for column in range(FEATURES)) + ",y", *rows, ""]).encode())
            client.post("/v1/models", {"name": "steady", "inputs": 2, "layers": [{"units": 5, "activation": "tanh"}]})
        self.steady = self.predicts()

    @property
    def url(self):
        return self.server.url

    def serve(self, threads):
        server = Server(self.binary, self.data_dir, [f"--training-threads={threads}", *self.options])
        server.start()
        return server

    def kill(self, client, threads):
        """SIGKILL, and a start with so many threads."""
        self.server.kill()
        client.close()
        self.server = self.serve(threads)
        return Client(self.url)

    def restart(self, threads):
        self.server.stop()
        self.server = self.serve(threads)

    def new_name(self):
        self.count += 1
        return f"model{self.count}"

    def predicts(self):
        with Client(self.url) as client:
            return client.predict_raw("steady", [[0.5, -1.5]])


def take_up(client, job, attempt):
    """Seconds until a job found at start is running again: a new attempt at it, or its end."""
    began = time.monotonic()
    while True:
        state, waited = client.get(f"/v1/jobs/{job}"), time.monotonic() - began
        if state["status"] == "succeeded" or (state["status"] == "running" and state["attempt"] > attempt):
            return waited
        require(state["status"] in ("queued", "running"), f"job {job} is {state['status']} after the kill: {state['error']}")
        require(waited < TAKE_UP_LIMIT, f"job {job} was not taken up within {TAKE_UP_LIMIT} s")
        time.sleep(0.02)


def events(client, job, kind):
    found, after = [], 0
    while True:
        page = client.get(f"/v1/jobs/{job}/events?limit=100&after={after}")
        found += [event for event in page["data"] if event["type"] == kind]
        if not page["has_more"]:
            return found
        after = page["data"][-1]["id"]


def run_main(bench, case, seconds):
    """The job undisturbed, at each number of threads."""
    for number in THREADS:
        bench.restart(number)
        with Client(bench.url) as client:
            if case.epochs is None:
                case.calibrate(client, seconds)
            case.undisturbed(client)
    counts = ", ".join(map(str, THREADS))
    return f"{case.epochs} epochs in {case.seconds:.1f} s, with {counts} threads one SHA-256: {case.outcome['artifact']}"


def run_other(bench, case, threads, kills, seconds):
    with Client(bench.url) as client:
        case.calibrate(client, seconds)
        case.undisturbed(client)
    told = case.killed(threads, kills)
    return f"{case.epochs} epochs, {told}, {case.outcome['artifact'][:16]}"


def run_cancelled(bench, case):
    """What a cancelled job keeps is what a job of so many epochs publishes."""
    with Client(bench.url) as client:
        job = case.start(client)
        while client.get(f"/v1/jobs/{job}")["progress"]["epoch"] < 3:
            time.sleep(0.02)
        status = client.send("POST", f"/v1/jobs/{job}/cancel")["status"]
        require(status == "cancelled", f"a cancel was answered with {status}")
        epoch = len(client.losses(job))
        kept = client.get(f"/v1/jobs/{job}/checkpoints")["data"][0]
        require((kept["epoch"], kept["step"]) == (epoch, 0), f"cancelled after epoch {epoch}, it keeps epoch {kept['epoch']}, step {kept['step']}")
        client = bench.kill(client, 2)
        require(client.get(f"/v1/jobs/{job}/checkpoints")["data"][0] == kept, "the checkpoint is another after a kill")
        shorter = case.start(client, epochs=epoch)
        client.wait_for(shorter, 120.0)
        require(case.came_to(client, shorter)["parameters"] == kept["parameter_digest"], "it keeps other parameters")
        client.close()
    return f"after epoch {epoch}: keeps what a job of {epoch} epochs publishes"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--kills", type=int, default=20, help="of the main case, at most 1,000; of the others a fifth of it, at least 1")
    parser.add_argument("--seconds", type=float, default=5.0, help="that the main case takes undisturbed, about")
    parser.add_argument("--cases", type=int, default=len(OTHERS), help="other cases, the first so many from the one that the seed names")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    kills, others = min(arguments.kills, 1000), list(OTHERS.items())
    first = arguments.seed % len(others)
    others = (others[first:] + others[:first])[: arguments.cases]
    threads = itertools.cycle((3, 1, 7, 2))
    with tempfile.TemporaryDirectory(prefix="gradientd-bits-") as data_dir:
        bench = Bench(arguments.binary, data_dir, arguments.seed)
        try:
            case = Case(bench, *MAIN)
            outcomes = [is_kept("undisturbed", lambda: run_main(bench, case, arguments.seconds))]
            if outcomes[0]:
                outcomes.append(is_kept("killed", lambda: case.killed(threads, kills) + f", one SHA-256: {case.outcome['artifact']}"))
                outcomes.append(is_kept("cancelled", lambda: run_cancelled(bench, case)))
            for name, (model, how) in others:
                other = Case(bench, model, how)
                outcomes.append(is_kept(name, lambda: run_other(bench, other, threads, max(1, kills // 5), arguments.seconds / 2)))
        finally:
            bench.server.kill()
    return summary("the same bits", outcomes)


if __name__ == "__main__":
    sys.exit(main())
