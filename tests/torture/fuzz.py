#!/usr/bin/env python3
"""Runs each reader of bytes from outside under cargo-fuzz, for so long, and tells what it came to.

    python3 tests/torture/fuzz.py --seconds 600
    python3 tests/torture/fuzz.py --seconds 60 --only csv artifacts

It needs cargo-fuzz and a nightly toolchain, which compile the program with AddressSanitizer; the targets are in `tests/fuzz`, and
`tests/it/hostile.rs` is the short form that needs neither. What is found is kept in `tests/fuzz/corpus`, what failed in
`tests/fuzz/artifacts`. `--binary` is taken and not used. Exits 1 if a target crashed, held too much memory or took too long, or if
one could not be run.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUZZ = ROOT / "tests" / "fuzz"
# Each with the longest input, in bytes.
TARGETS = {"csv": 16384, "ndjson": 16384, "parquet": 16384, "bodies": 4096, "artifacts": 16384}
RSS_MIB = 1024
# Of one allocation: none of these inputs is worth more, but for a page of Parquet, which may say that it unpacks to 64 MiB.
ALLOCATION_MIB = 16
PAGE_MIB = 256
# Of one input.
SECONDS = 10
INSTALL = """cargo-fuzz and a nightly toolchain are needed:
    rustup toolchain install nightly
    cargo install cargo-fuzz --locked"""


def is_installed():
    commands = (["cargo", "fuzz", "--version"], ["cargo", "+nightly", "--version"])
    return shutil.which("cargo") is not None and all(
        subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)


def fuzz(target, longest, seconds):
    """Runs a target: whether it held, and a line on what it came to."""
    corpus = FUZZ / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_MIB}",
               f"-malloc_limit_mb={PAGE_MIB if target == 'parquet' else ALLOCATION_MIB}",
               f"-max_len={longest}", f"-timeout={SECONDS}", "-print_final_stats=1", "-verbosity=1"]
    command = ["cargo", "+nightly", "fuzz", "run", "--fuzz-dir", str(FUZZ), target, "--", *options]
    environment = {**os.environ, "GRADIENTD_FUZZ_SEEDS": str(corpus)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors="replace", check=False)
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", ran.stdout)
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", ran.stdout)
    peak = re.search(r"stat::peak_rss_mb:\s*(\d+)", ran.stdout)
    if ran.returncode != 0:
        print("\n".join(ran.stdout.splitlines()[-40:]), flush=True)
    if not executions or not coverage:
        return False, f"{target}: MISSED, it did not run"
    edges, _, inputs = coverage[-1]
    held = "held" if ran.returncode == 0 else "MISSED"
    return ran.returncode == 0, (f"{target}: {held}, {int(executions[1]):,} executions in {seconds} s, {int(edges):,} edges, "
                                 f"{int(inputs):,} inputs, at most {peak[1] if peak else '?'} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--seconds", type=int, default=600, help="of each target")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    if not is_installed():
        print(INSTALL, flush=True)
        return 1
    failed = 0
    for target in arguments.only:
        held, line = fuzz(target, TARGETS[target], arguments.seconds)
        failed += not held
        print(line, flush=True)
    print(f"fuzzing: {len(arguments.only) - failed} of {len(arguments.only)} targets held for {arguments.seconds} s each")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
