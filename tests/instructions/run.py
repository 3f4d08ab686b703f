#!/usr/bin/env python3
"""Instructions of a training step, counted by callgrind, against the bounds beside this file.

    python3 tests/instructions/run.py           # fails where a step takes more than its bound allows, or much less
    python3 tests/instructions/run.py --write   # counts anew and writes bounds.json: after a step has become faster

A count is the same from run to run, which no time is. A workload is trained for some epochs and for twice as many; the
difference over its steps is what a step takes, without reading the data, the recording of the first epoch and the report. valgrind's processor has
AVX2 and no AVX-512, whatever the machine has, so that the bounds are those of the AVX2 code everywhere. They are of the
compiler in bounds.json too: another one may well need other instructions.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "benches"))

from built import built  # noqa: E402

BOUNDS = HERE / "bounds.json"
# A step may take so much more than the bound; where it takes so much less, the bound is to be written anew.
MORE, LESS = 0.03, 0.10
# Epochs: of W1 those of a job of a thousand, of which every fifth is recorded.
EPOCHS = {"W1": 50, "W2": 1, "W3": 1, "W4": 1}
# Of one process, at most.
SECONDS = 300


def counted(program, workload, epochs):
    """Instructions of a whole process, and the steps that it took."""
    with tempfile.NamedTemporaryFile(prefix="gradientd-callgrind-") as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", program, "count", workload, "--epochs", str(epochs)]
        done = subprocess.run(command, timeout=SECONDS, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-2000:]}")
        total = re.search(r"^(?:summary|totals): (\d+)", pathlib.Path(out.name).read_text(), re.MULTILINE)
    return int(total[1]), json.loads(done.stdout)["steps"]


def of_steps(program):
    """Instructions of a step of each workload."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {(workload, times): pool.submit(counted, program, workload, times * EPOCHS[workload]) for workload in reversed(EPOCHS) for times in (2, 1)}
    found = {}
    for workload in EPOCHS:
        (less, few), (more, many) = (runs[workload, times].result() for times in (1, 2))
        found[workload] = round((more - less) / (many - few))
    return found


def verdict(count, bound):
    """What is wrong with a count; None where nothing is."""
    if count > bound * (1 + MORE):
        return f"more than {MORE:.0%} above its bound"
    if count < bound * (1 - LESS):
        return f"more than {LESS:.0%} below its bound: run tests/instructions/run.py --write"
    return None


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the bounds")
    arguments = parser.parse_args()
    program = built()["workload"]
    counts = of_steps(program)
    if arguments.write:
        BOUNDS.write_text(json.dumps({"rustc": compiler(), "instructions_per_step": counts}, indent=2) + "\n")
        print(f"written: {counts}")
        return 0
    bounds = json.loads(BOUNDS.read_text())
    faults = 0
    for workload, count in counts.items():
        bound = bounds["instructions_per_step"][workload]
        fault = verdict(count, bound)
        faults += fault is not None
        print(f"{workload}: {count} instructions a step, bound {bound} ({count / bound - 1:+.1%}){': ' + fault if fault else ''}")
    if faults and compiler() != bounds["rustc"]:
        print(f"the bounds are of rustc {bounds['rustc']}, this is {compiler()}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
