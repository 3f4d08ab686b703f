#!/usr/bin/env python3
"""Runs what holds `unsafe`, and what threads share, under Miri, AddressSanitizer, ThreadSanitizer and loom.

    python3 tests/torture/sanitizers.py
    python3 tests/torture/sanitizers.py --only miri asan

Miri runs the portable half of the kernels, instruction by instruction, with small sizes; AddressSanitizer the same tests as they are
compiled for this machine, vectors among them; ThreadSanitizer the team of threads, the control of jobs and the registry of models;
loom the team in every order of its loads and stores (`tests/loom`). All but loom need a nightly toolchain with its sources.
`--binary` is taken and not used. Exits 1 if one found something or could not be run, and says which.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"
INSTALL = "rustup toolchain install nightly && rustup component add --toolchain nightly miri rust-src"
# The standard library is compiled with the sanitizer as well, so that what it does is seen.
TESTS = ["cargo", "+nightly", "test", "--locked", "-Zbuild-std", "--target", TARGET, "--lib", "--"]
CHECKS = {
    "miri": (["cargo", "+nightly", "miri", "test", "--locked", "--lib", "nn::kernel"],
             {"MIRIFLAGS": "-Zmiri-disable-isolation"}),
    "asan": ([*TESTS, "nn::kernel", "nn::proofs"], {"RUSTFLAGS": "-Zsanitizer=address"}),
    "tsan": ([*TESTS, "nn::kernel::team", "jobs::control", "serve::registry", "http::admission", "http::connections"],
             {"RUSTFLAGS": "-Zsanitizer=thread"}),
    "loom": (["cargo", "run", "--release", "--locked", "--manifest-path", "tests/loom/Cargo.toml"], {}),
}


def check(command, environment):
    """Runs one: whether it held, and the last line that says so."""
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", check=False)
    lines = ran.stdout.splitlines()
    # A filter that fits nothing is no proof.
    told = [line for line in lines if re.search(r"test result: ok\. [1-9]|: held in", line)]
    if ran.returncode == 0 and told:
        return True, told[-1].strip()
    print("\n".join(lines[-60:]), flush=True)
    return False, "found something, or could not be run"


def is_installed(name):
    if name == "loom":
        return True
    listed = subprocess.run(["rustup", "component", "list", "--toolchain", "nightly", "--installed"], capture_output=True, text=True,
                            check=False)
    return ("miri" if name == "miri" else "rust-src") in listed.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    arguments = parser.parse_args()
    failed = []
    for name in arguments.only:
        held, line = check(*CHECKS[name]) if is_installed(name) else (False, f"could not be run: {INSTALL}")
        if not held:
            failed.append(name)
        print(f"{name}: {'held' if held else 'MISSED'}, {line}", flush=True)
    print(f"sanitizers: {', '.join(failed) or 'none'} missed of {', '.join(arguments.only)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
