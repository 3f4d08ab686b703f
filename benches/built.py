"""Builds the benches' program and tells where it is. The scripts that start it share it."""

import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def built():
    """The paths of the bench `workload` and of `gradientd`, which cargo builds with it, by name."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", "--bench", "workload"]
    messages = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    made = [json.loads(line) for line in messages.splitlines() if line.startswith("{")]
    return {one["target"]["name"]: one["executable"] for one in made if one.get("executable")}
