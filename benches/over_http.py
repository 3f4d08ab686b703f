"""Jobs over HTTP, end to end: from the request that creates a job to the event that its version is published."""

import array
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "torture"))

from daemon import Client, Server  # noqa: E402

# Beyond so many parameters a model's body would be over the limit of the server; it then draws its own.
MOST_GIVEN = 2_000_000
LOSSES = {"quadratic": "quadratic", "mse": "mean_squared_error", "softmax_ce": "cross_entropy"}
LAST = {"quadratic": "sigmoid", "mse": "identity", "softmax_ce": "softmax"}


def run(arena, binary, workload, epochs, rounds, shuffle, options=()):
    """Seconds of jobs of one workload: medians over the rounds."""
    shape = arena.common.WORKLOADS[workload]
    with tempfile.TemporaryDirectory(prefix="gradientd-bench-") as data_dir:
        server = Server(binary, data_dir, options)
        server.start()
        try:
            client = Client(server.url, timeout=600)
            upload(client, arena, workload)
            body = model(arena.folder, workload, shape)
            client.post("/v1/models", body)
            jobs = [train(client, job(workload, shape, epochs, shuffle)) for _ in range(rounds)]
        finally:
            server.stop()
    medians = {key: statistics.median(job[key] for job in jobs) for key in jobs[0]}
    return {"workload": workload, "epochs": epochs, "rounds": rounds, "given": "parameters" in body, **medians}


def upload(client, arena, workload):
    """As CSV, which is what the server takes; no part of what is timed."""
    command = [arena.binary, "csv", workload, "--data", str(arena.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writing:
        client.upload(workload.lower(), iter(lambda: writing.stdout.read(1 << 20), b""))


def model(folder, workload, shape):
    sizes = shape["sizes"]
    layers = [{"units": units, "activation": shape["act"]} for units in sizes[1:]]
    layers[-1]["activation"] = LAST[shape["loss"]]
    body = {"name": workload.lower(), "inputs": sizes[0], "layers": layers, "loss": LOSSES[shape["loss"]]}
    numbers = array.array("f")
    numbers.frombytes((folder / f"{workload}.parameters.f32").read_bytes())
    if len(numbers) <= MOST_GIVEN:
        # Nine digits name a float32.
        left = iter([float(f"{number:.9g}") for number in numbers])
        body["parameters"] = [
            {"weights": [[next(left) for _ in range(inputs)] for _ in range(units)], "biases": [next(left) for _ in range(units)]}
            for inputs, units in zip(sizes, sizes[1:])
        ]
    return body


def job(workload, shape, epochs, shuffle):
    rate = {"learning_rate": shape["lr"]}
    optimizer = {
        "sgd": {"type": "gradient_descent", **rate},
        "momentum": {"type": "gradient_descent", "momentum": 0.9, **rate},
        "adam": {"type": "adam", **rate},
    }[shape["opt"]]
    return {
        "model": workload.lower(), "from": {"initial": True}, "optimizer": optimizer, "epochs": epochs, "shuffle": shuffle,
        "data": {"dataset": workload.lower(), "target_kind": "numeric", "targets": [f"y{column}" for column in range(shape["sizes"][-1])]},
        "batch_size": shape["batch"], "metrics": ["loss"], "seed": 1,
    }


def train(client, spec):
    """Creates a job and follows its events until it has succeeded."""
    began = time.perf_counter()
    created = client.post("/v1/jobs", spec)
    answered = time.perf_counter()
    connection = client.connection
    connection.request("GET", f"/v1/jobs/{created['id']}/events", headers={"Accept": "text/event-stream"})
    stream = connection.getresponse()
    started = published = None
    while line := prompt_line(connection.sock, stream):
        if b'"status":"running"' in line:
            started = started or time.perf_counter()
        if b'"status":"succeeded"' in line:
            published = time.perf_counter()
        if b'"status":"failed"' in line or b'"status":"cancelled"' in line:
            raise RuntimeError(line.decode())
    if published is None:
        raise RuntimeError(f"job {created['id']} did not succeed")
    rows, page = [], client.losses(created["id"])
    while page:
        rows += page
        page = client.losses(created["id"], page[-1]["epoch"])
    trained = sum(row["seconds"] for row in rows)
    report = client.get(f"/v1/jobs/{created['id']}/report")
    total = published - began
    return {
        "total_seconds": total, "answer_seconds": answered - began, "queue_seconds": max(0.0, started - answered),
        "training_seconds": trained, "beyond_training_seconds": total - trained, "loss": report["train"]["metrics"]["loss"],
    }


def prompt_line(sock, stream):
    """The next line of a stream. What has come is acknowledged at once: the kernel would wait 40 ms, and a server that keeps
    small pieces together would wait with it."""
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return stream.readline()
