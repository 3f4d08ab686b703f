#!/usr/bin/env python3
"""Runs the simulation of jobs, with its clock, its full disks, losses of power and kills, from one seed after the other.

    python3 tests/torture/simulation.py --seeds 10000

It is a test of the crate (`src/store/simulation`), which runs a few seeds with all others; `--binary` is taken and not used. A seed
that fails is named, and SIMULATION_SEED=77 runs it alone. Exits 1 if one does.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--seeds", type=int, default=10_000)
    arguments = parser.parse_args()
    command = ["cargo", "test", "--release", "--locked", "--lib", "simulation", "--", "--nocapture"]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "SIMULATION_SEEDS": str(arguments.seeds)}, check=False)
    print(f"simulation of {arguments.seeds} seeds: {'held' if ran.returncode == 0 else 'MISSED'}", flush=True)
    return 1 if ran.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
