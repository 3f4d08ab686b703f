#!/usr/bin/env python3
"""Halts a gradientd for a while, and ends it under load, and looks that nothing is lost or done twice.

    python3 tests/torture/stops.py --binary target/release/gradientd --halt-seconds 3 --rounds 3

SIGSTOP for --halt-seconds while a job trains, then SIGCONT: requests that were sent meanwhile are answered, the job goes on or is taken
up, in one attempt at a time, and ends with the bits of an undisturbed run; the same where the wall clock has moved on for longer than
any lease, as 60 s show.
SIGTERM under load (predictions, uploads and heads that are half sent, answers that are not read, a stream of events, two jobs, 100 idle
connections): /readyz is 503 at once, or nobody answers
there any more; predictions that were begun are answered; the jobs have a checkpoint and go on from it; the process ends with 0 within
8 s. A second SIGTERM ends it within 1 s. Exits 1 on any miss.
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True

from daemon import Client  # noqa: E402
from long_job import LongJob, epoch, events, once  # noqa: E402
from prepared import Prepared, complaints  # noqa: E402
from promise import GONE, is_kept, require, summary  # noqa: E402
from scripted import XOR, status_of  # noqa: E402

JOB_SECONDS = 4.0
END_LIMIT, SECOND_LIMIT = 8.0, 1.0
IDLE, UPLOADS, PREDICTORS = 100, 4, 4
# Of each that no server can wait for.
SLOW = 4
HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: loc"
MUCH = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40


def halted_round(prepared, seconds):
    long = prepared.made
    with prepared.copy() as data_dir, prepared.server(data_dir) as server:
        server.start()
        client = Client(server.url, timeout=seconds + 30.0)
        job = long.start(client, "halted")
        before = once(client, job, lambda state: epoch(state) > long.epochs // 10)
        os.kill(server.process.pid, signal.SIGSTOP)
        asked = threading.Thread(target=client.predict_raw, args=("served", XOR["inputs"]), daemon=True)
        asked.start()
        time.sleep(seconds)
        os.kill(server.process.pid, signal.SIGCONT)
        asked.join(10.0)
        require(not asked.is_alive(), "a request that was sent during the halt is not answered")
        ended = long.check(client, job)
        runs = sum(event["type"] == "status" and event["data"]["status"] == "running" for event in events(client, job))
        require(runs == ended["attempt"], f"{ended['attempt']} attempts and {runs} times running")
        prepared.served.check(client)
        client.close()
        require(server.stop() == 0, "the server ended with an error")
    return f"halted at epoch {epoch(before)} of {long.epochs} for {seconds:.0f} s, {ended['attempt']} attempt(s), same bits"


class Load:
    """Everything that may be under way when a server is told to end."""

    def __init__(self, server, prepared, job=None):
        parts = urllib.parse.urlsplit(server.url)
        self.address = (parts.hostname, parts.port)
        self.idle = [self.connected(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(IDLE)]
        for connection in self.idle:
            require(b"200 OK" in connection.recv(4096), "an idle connection was not answered")
        head = "POST /v1/datasets?name=half-{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n"
        self.uploads = [self.connected((head.format(number) + "x,y\n1,2\n").encode()) for number in range(UPLOADS)]
        stream = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
        self.slow = [self.connected(sent) for sent in (HALF_A_HEAD, MUCH, *([stream] if job else [])) for _ in range(SLOW)]
        self.predictors = [Predictor(server.url, prepared.served) for _ in range(PREDICTORS)]
        for predictor in self.predictors:
            predictor.start()

    def connected(self, sent):
        connection = socket.create_connection(self.address, timeout=10.0)
        connection.sendall(sent)
        return connection

    def close(self):
        for connection in self.idle + self.uploads + self.slow:
            connection.close()


class Predictor(threading.Thread):
    """Predicts until its connection is gone. An answer is whole and right, or it does not begin."""

    def __init__(self, url, served):
        super().__init__(daemon=True)
        self.client, self.served, self.answered, self.faults = Client(url, timeout=20.0), served, 0, []

    def run(self):
        while True:
            try:
                answer = self.client.predict_raw(self.served.NAME, XOR["inputs"])
            except ConnectionRefusedError:
                return
            except GONE as gone:
                # An idle connection may be closed under a request; one that has been begun to be answered may not.
                if "IncompleteRead" in repr(gone):
                    self.faults.append(repr(gone))
                return
            except RuntimeError as fault:
                self.faults.append(repr(fault))
                return
            if answer != self.served.prediction:
                self.faults.append("other bytes")
            self.answered += 1


def ended_round(prepared):
    long = prepared.made
    with prepared.copy() as data_dir:
        with prepared.server(data_dir, options=["--job-slots=2"]) as server:
            server.start()
            client = Client(server.url)
            jobs = [long.start(client, f"running-{number}") for number in range(2)]
            reached = [epoch(once(client, job, lambda state: epoch(state) > 0)) for job in jobs]
            load = Load(server, prepared, jobs[0])
            time.sleep(0.3)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            unready = until_unready(server, began)
            status = server.wait_for_end(END_LIMIT + 2.0)
            took = time.monotonic() - began
            for predictor in load.predictors:
                predictor.join(5.0)
            load.close()
            require(status == 0, f"it ended with {status}{complaints(server)}")
            require(took <= END_LIMIT, f"it took {took:.1f} s to end")
            faults = [fault for predictor in load.predictors for fault in predictor.faults]
            require(not faults, f"predictions: {faults[:2]}")
        with prepared.server(data_dir, options=["--job-slots=2"]) as server:
            server.start()
            client = Client(server.url)
            for job, seen in zip(jobs, reached):
                kept = client.get(f"/v1/jobs/{job}/checkpoints")["data"]
                require(kept and kept[0]["epoch"] >= seen, f"job {job} had done {seen} epochs and keeps {[one['epoch'] for one in kept]}")
                long.check(client, job)
            for number in range(UPLOADS):
                require(client.find(f"/v1/datasets/half-{number}") is None, "half an upload is a dataset")
            client.close()
            server.stop()
    answered = sum(predictor.answered for predictor in load.predictors)
    return f"/readyz {unready}, ended with 0 in {took:.2f} s, {answered} predictions answered, two jobs go on to the same bits"


def until_unready(server, began):
    """How /readyz says that the server ends, in words."""
    client = Client(server.url, timeout=2.0)
    try:
        while (status := status_of(client, "/readyz")) == 200:
            require(time.monotonic() - began < 0.5, "/readyz is still 200 after 0.5 s")
        return f"{status or 'is gone'} after {(time.monotonic() - began) * 1000:.0f} ms"
    finally:
        client.close()


def second_round(prepared):
    """A request that does not end holds the end up, until the second signal."""
    with prepared.copy() as data_dir, prepared.server(data_dir) as server:
        server.start()
        load = Load(server, prepared)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        require(server.process.poll() is None, "nothing held the end up")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = server.wait_for_end(SECOND_LIMIT + 2.0)
        took = time.monotonic() - began
        load.close()
        require(status is not None and took <= SECOND_LIMIT, f"it took {took:.1f} s to end")
    return f"ended with {status} in {took * 1000:.0f} ms"


def run(binary, rounds, halt_seconds):
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gradientd-stops-") as folder:
        prepared = Prepared(binary, folder, lambda client: LongJob(client, JOB_SECONDS))
        print(f"undisturbed: {prepared.made.epochs} epochs in {prepared.made.seconds:.1f} s", flush=True)
        outcomes.append(is_kept("SIGSTOP and SIGCONT", lambda: halted_round(prepared, halt_seconds)))
        for number in range(rounds):
            outcomes.append(is_kept(f"SIGTERM under load, {number + 1}", lambda: ended_round(prepared)))
            outcomes.append(is_kept(f"a second SIGTERM, {number + 1}", lambda: second_round(prepared)))
    return summary("stops", outcomes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--halt-seconds", type=float, default=3.0, help="60 shows more")
    parser.add_argument("--rounds", type=int, default=1, help="of SIGTERM")
    arguments = parser.parse_args()
    return run(os.path.abspath(arguments.binary), min(arguments.rounds, 100), min(arguments.halt_seconds, 300.0))


if __name__ == "__main__":
    sys.exit(main())
