#!/usr/bin/env python3
"""Trains Nielsen's networks on MNIST through the HTTP API, as plainly as the book does.

    python3 tests/mnist/run.py FOLDER --binary target/release/gradientd
    python3 tests/mnist/run.py FOLDER --recipe chapter3 --epochs 60
    python3 tests/mnist/run.py FOLDER --server http://127.0.0.1:8080

FOLDER holds the four IDX files of MNIST (train-images-idx3-ubyte.gz, …). M. Nielsen, Neural Networks and Deep Learning
(2015), float32, mini-batches of 10, plain gradient descent:

- chapter1: 784-30-10, sigmoid layers, quadratic loss, weights and biases from N(0, 1), learning rate 3.0, 30 epochs. The book
  reports 95.42 %; exits 1 under 94 %.
- chapter3: 784-100-10, sigmoid layers, cross entropy, learning rate 0.1, l2 of 5.0/n, 60 epochs. The book reports 98.04 %;
  exits 1 under 97.5 %.

Pixels go out as integers and are scaled to 0..1 by the model's own preprocessing.
"""

import argparse
import gzip
import json
import pathlib
import statistics
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "torture"))

from daemon import Client, Server  # noqa: E402

PIXELS = 784
# Nielsen's two networks, and the share of test digits that each must have right. Chapter 3 has λ = 5.0 over the n rows of the
# training set, and draws weights from N(0, 1/K).
RECIPES = {
    "chapter1": {
        "wanted": 0.94,
        "model": {"loss": "quadratic", "initializer": "standard_normal"},
        "hidden": 30,
        "job": {"optimizer": {"type": "gradient_descent", "learning_rate": 3.0}},
    },
    "chapter3": {
        "wanted": 0.975,
        "model": {"loss": "cross_entropy", "initializer": "lecun_normal"},
        "hidden": 100,
        "job": {
            "optimizer": {"type": "gradient_descent", "learning_rate": 0.1},
            "regularization": {"l2": 5.0 / 60_000},
        },
    },
}
ROWS_PER_PIECE = 1000
ROWS_PER_PREDICTION = 250
CELLS = [str(value).encode() for value in range(256)]


def read_idx(path, dimensions):
    """The bytes of an IDX file of unsigned bytes, and its sizes."""
    content = gzip.open(path).read()
    magic, *sizes = struct.unpack_from(f">{1 + dimensions}I", content)
    data = memoryview(content)[4 * (1 + dimensions) :]
    expected = 1
    for size in sizes:
        expected *= size
    if magic != 0x0800 + dimensions or len(data) != expected:
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes with {dimensions} dimensions")
    return data, sizes


def read_part(folder, part):
    """Rows of 784 pixels, and labels."""
    images, (count, height, width) = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels, (labelled,) = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    if height * width != PIXELS or count != labelled:
        raise SystemExit(f"{part}: {count} images of {height}×{width} and {labelled} labels do not fit together")
    return [images[row * PIXELS : (row + 1) * PIXELS] for row in range(count)], labels


def csv_pieces(rows, labels):
    yield b",".join(b"p%d" % pixel for pixel in range(PIXELS)) + b",digit\n"
    lines = []
    for row, label in zip(rows, labels):
        lines.append(b",".join([CELLS[pixel] for pixel in row]) + b"," + CELLS[label] + b"\n")
        if len(lines) == ROWS_PER_PIECE:
            yield b"".join(lines)
            lines = []
    if lines:
        yield b"".join(lines)


def upload(client, name, part):
    began = time.monotonic()
    dataset = client.upload(name, csv_pieces(*part))
    print(f"uploaded {name}: {dataset['rows']} rows in {time.monotonic() - began:.1f} s", flush=True)


def create(client, name, recipe, seed):
    layer = {"activation": "sigmoid"}
    return client.post("/v1/models", {
        "name": name, "inputs": PIXELS, "layers": [{"units": recipe["hidden"], **layer}, {"units": 10, **layer}],
        "dtype": "float32", "preprocess": "minmax", "seed": seed, **recipe["model"],
    })


def start_job(client, name, recipe, epochs, seed):
    return client.post("/v1/jobs", {
        "model": name, "data": {"dataset": "mnist-train", "target": "digit", "target_kind": "categorical"},
        "validation": {"dataset": "mnist-test"}, "epochs": epochs, "batch_size": 10, "seed": seed, **recipe["job"],
    })


def follow(client, job, limit):
    """Prints a line per epoch; the seconds of each, validation included, as the server says them."""
    deadline = time.monotonic() + limit
    seconds, last = [], 0
    while True:
        state = client.get(f"/v1/jobs/{job}")
        for row in client.losses(job, last):
            last = row["epoch"]
            seconds.append(row["seconds"])
            accuracy = 100 * row["validation"]["accuracy"]
            print(f"epoch {last:>2}  loss {row['train']['loss']:.5f}  test accuracy {accuracy:5.2f} %  "
                  f"{row['seconds']:.2f} s", flush=True)
        if state["status"] in ("failed", "cancelled"):
            raise SystemExit(f"the job ended as {state['status']}: {state['error']}")
        if state["status"] == "succeeded":
            return seconds
        if time.monotonic() > deadline:
            raise SystemExit(f"the job is still {state['status']} after {limit} s")
        time.sleep(0.2)


def test_accuracy(client, name, rows, labels):
    correct = 0
    for start in range(0, len(rows), ROWS_PER_PREDICTION):
        piece = rows[start : start + ROWS_PER_PREDICTION]
        outputs = json.loads(client.predict_raw(name, [list(row) for row in piece]))["outputs"]
        if len(outputs) != len(piece):
            raise SystemExit(f"{len(piece)} rows were answered with {len(outputs)} predictions")
        for output, label in zip(outputs, labels[start:]):
            correct += output.index(max(output)) == label
    return correct / len(rows)


def run(client, arguments):
    train, test = read_part(arguments.folder, "train"), read_part(arguments.folder, "t10k")
    name = f"mnist-{arguments.seed}"
    upload(client, "mnist-train", train)
    upload(client, "mnist-test", test)
    recipe = RECIPES[arguments.recipe]
    create(client, name, recipe, arguments.seed)
    began = time.monotonic()
    job = start_job(client, name, recipe, arguments.epochs, arguments.seed)["id"]
    seconds = follow(client, job, arguments.limit)
    wall = time.monotonic() - began
    accuracy = test_accuracy(client, name, *test)
    print(f"seconds per epoch: {statistics.median(seconds):.3f} (median of {len(seconds)}), {wall / len(seconds):.3f} by our own clock")
    print(f"test accuracy: {100 * accuracy:.2f} %")
    return 0 if accuracy >= recipe["wanted"] else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--binary", default="target/release/gradientd", help="start this server and stop it again (default)")
    where.add_argument("--server", help="use a running server, such as http://127.0.0.1:8080")
    parser.add_argument("--recipe", choices=RECIPES, default="chapter1")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the initial parameters and the shuffle")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that the training may take")
    arguments = parser.parse_args()
    if arguments.server:
        return run(Client(arguments.server, timeout=300.0), arguments)
    with tempfile.TemporaryDirectory(prefix="gradientd-mnist-") as data_dir:
        server = Server(arguments.binary, data_dir)
        server.start()
        try:
            return run(Client(server.url, timeout=300.0), arguments)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
