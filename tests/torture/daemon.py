"""Starts, asks, stops and kills a gradientd, with the standard library alone. The scripts under tests/ share it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, request, status, body):
        super().__init__(f"{request} was answered with {status}: {body.decode(errors='replace')[:2000]}")
        self.status = status


class Client:
    """One kept-alive connection. A broken connection is an exception (OSError or HTTPException), never a silent retry:
    the caller must know what was acknowledged."""

    def __init__(self, url, timeout=60.0):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def close(self):
        self.connection.close()

    def raw(self, method, path, body=None, headers=None, chunked=False):
        """The bytes of a successful answer."""
        try:
            self.connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        if response.status >= 300:
            raise Refused(f"{method} {path}", response.status, content)
        return content

    def get(self, path):
        return json.loads(self.raw("GET", path))

    def send(self, method, path, body=None):
        """JSON there and back; None where the answer is empty."""
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self.raw(method, path, content, headers)
        return json.loads(answer) if answer else None

    def post(self, path, body):
        return self.send("POST", path, body)

    def upload(self, name, pieces):
        """Streams a CSV; `pieces` is bytes, or yields bytes and is sent chunked."""
        chunked = not isinstance(pieces, bytes)
        headers = {"Content-Type": "text/csv"}
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        return json.loads(self.raw("POST", f"/v1/datasets?name={name}", pieces, headers, chunked))

    def predict_raw(self, model, rows):
        """The bytes of a prediction."""
        body = json.dumps({"inputs": rows})
        return self.raw("POST", f"/v1/models/{model}/predict", body, {"Content-Type": "application/json"})

    def losses(self, job, after=0):
        return self.get(f"/v1/jobs/{job}/loss?after={after}&limit=10000")["data"]

    def wait_for(self, job, seconds, poll=0.05):
        """The job once it has succeeded; an exception where it ends otherwise or takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.get(f"/v1/jobs/{job}")
            if state["status"] == "succeeded":
                return state
            if state["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"job {job} ended as {state['status']}: {state['error']}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"job {job} is still {state['status']} after {seconds} s")
            time.sleep(poll)


class Server:
    """A gradientd of our own, on a free port of the loopback."""

    def __init__(self, binary, data_dir, options=()):
        self.binary, self.data_dir, self.options = os.path.abspath(binary), data_dir, list(options)
        self.log = tempfile.NamedTemporaryFile(prefix="gradientd-", suffix=".log")
        self.process = None
        self.url = None

    def start(self, seconds=30.0):
        """Starts it and waits until it is ready; returns the seconds that this took."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [self.binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", self.data_dir]
        began = time.monotonic()
        self.process = subprocess.Popen(command + self.options, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() - began > seconds:
                self.kill()
                raise RuntimeError(f"{' '.join(command + self.options)} is not ready\n{self.log_tail()}")
            time.sleep(0.01)
        return time.monotonic() - began

    def is_ready(self):
        client = Client(self.url, timeout=5.0)
        try:
            client.raw("GET", "/readyz")
            return True
        except (OSError, http.client.HTTPException, Refused):
            return False
        finally:
            client.close()

    def kill(self):
        """SIGKILL: it gets no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=10.0):
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        status = self.wait_for_end(seconds)
        if status is None:
            self.kill()
            raise RuntimeError(f"the server did not stop within {seconds} s of SIGTERM\n{self.log_tail()}")
        return status

    def wait_for_end(self, seconds):
        """The exit status, or None where it still runs after that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self):
        with open(self.log.name, "rb") as log:
            return log.read()[-2000:].decode(errors="replace")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
