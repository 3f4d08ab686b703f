"""Starts, asks, stops and kills a gradientd, with the standard library alone. The scripts under tests/ share it."""

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.parse

# Of the line of the log that says where it listens.
READY = re.compile(rb'"ready[^\n]*"address":"([^"]+)"')


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, request, status, body):
        super().__init__(f"{request} was answered with {status}: {body.decode(errors='replace')[:2000]}")
        self.status = status
        self.problem = parsed(body)


def parsed(body):
    """The object in an answer; an empty one where there is none."""
    try:
        return json.loads(body)
    except ValueError:
        return {}


class Client:
    """One kept-alive connection. A broken connection is an exception (OSError or HTTPException), never a silent retry:
    the caller must know what was acknowledged."""

    def __init__(self, url, timeout=60.0, token=None):
        self.url = url
        self.carried = {} if token is None else {"Authorization": f"Bearer {token}"}
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()

    def raw(self, method, path, body=None, headers=None, chunked=False):
        """The bytes of a successful answer."""
        try:
            self.connection.request(method, path, body=body, headers={**self.carried, **(headers or {})}, encode_chunked=chunked)
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

    def send(self, method, path, body=None, headers=()):
        """JSON there and back; None where the answer is empty."""
        content = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        answer = self.raw(method, path, content, {**kind, **dict(headers)})
        return json.loads(answer) if answer else None

    def post(self, path, body, key=None):
        """With an Idempotency-Key, where one is given."""
        return self.send("POST", path, body, {} if key is None else {"Idempotency-Key": key})

    def outcome(self, method, path, body=None, headers=()):
        """The status and the object that a request is answered with, refused or not."""
        try:
            return 200, self.send(method, path, body, headers)
        except Refused as refused:
            return refused.status, refused.problem

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

    def find(self, path):
        """What is there, or None where nothing is."""
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def losses(self, job, after=0):
        return self.get(f"/v1/jobs/{job}/loss?after={after}&limit=10000")["data"]

    def wait_for(self, job, seconds, poll=0.05):
        """The job once it has succeeded; an exception where it ends otherwise or takes longer."""
        return self.wait_at(f"/v1/jobs/{job}", seconds, poll)

    def wait_at(self, path, seconds, poll=0.05):
        """The same of a job or a batch prediction."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.get(path)
            if state["status"] == "succeeded":
                return state
            if state["status"] in ("failed", "cancelled"):
                raise RuntimeError(f"{path} ended as {state['status']}: {state['error']}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path} is still {state['status']} after {seconds} s: {state['progress']}")
            time.sleep(poll)


class Server:
    """A gradientd of our own, on a free port of the loopback."""

    def __init__(self, binary, data_dir, options=(), prefix=(), own_session=True):
        self.own_session = own_session
        self.binary, self.data_dir, self.options = os.path.abspath(binary), data_dir, list(options)
        # A program with its options that starts it, such as strace.
        self.prefix = list(prefix)
        self.log = tempfile.NamedTemporaryFile(prefix="gradientd-", suffix=".log")
        self.process = None
        self.url = None

    def start(self, seconds=30.0):
        """Starts it and waits until it is ready; returns the seconds that this took."""
        command = [*self.prefix, self.binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.data_dir]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRADIENTD_")}
        self.url, self.logged = None, os.path.getsize(self.log.name)
        began = time.monotonic()
        self.process = subprocess.Popen(command + self.options, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=environment, start_new_session=self.own_session,
                                        process_group=None if self.own_session else 0)
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() - began > seconds:
                self.kill()
                raise RuntimeError(f"{' '.join(command + self.options)} is not ready\n{self.log_tail()}")
            time.sleep(0.01)
        return time.monotonic() - began

    def is_ready(self):
        self.url = self.url or self.address()
        if self.url is None:
            return False
        client = Client(self.url, timeout=5.0)
        try:
            client.raw("GET", "/readyz")
            return True
        except (OSError, http.client.HTTPException, Refused):
            return False
        finally:
            client.close()

    def address(self):
        """The address that this start has logged: a port that is chosen for it here might be another's by then."""
        with open(self.log.name, "rb") as log:
            log.seek(self.logged)
            found = READY.search(log.read())
        return found and f"http://{found[1].decode()}"

    def kill(self):
        """SIGKILL, also for what it was started by: it gets no chance to tidy up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, seconds=10.0):
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        os.killpg(self.process.pid, signal.SIGTERM)
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


def known_options(binary, *options):
    """Those of these options, as `--name=value`, that the program knows: an older one lacks some."""
    told = subprocess.run([os.path.abspath(binary), "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return [option for option in options if f"{option.split('=')[0]} " in told]
