"""Runs in the interpreter of the peers: writes their data, or lets one of their scripts train a unit whenever it is told.

    python benches/peer.py PEERS write FOLDER WORKLOAD...           # NAME.inputs.f32, NAME.targets.f32, NAME.parameters.f32
    python benches/peer.py PEERS SCRIPT THREADS [VARIANT] WORKLOAD  # PEERS/SCRIPT.py with these arguments

The script is the peers' own; only `common.measure` is another here, which waits for a line before each unit, so that peers
and product can take turns. What is said in JSON is for `competitors.py`.
"""

import json
import pathlib
import runpy
import sys
import time

sys.dont_write_bytecode = True


def tell(**line):
    print(json.dumps(line), flush=True)


def measure(unit, reps=None, min_s=0, warm_s=0, own_pids=(), inner=None):
    if inner is not None:
        sys.exit(0)  # numpy_peers.py has come to the code that takes one sample after the other: much slower than the first
    tell(ready=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        unit()
        tell(seconds=time.perf_counter() - began)
    return {}


def record(part, peer, workload, threads, measured, loss=None, version=None, **extra):
    tell(peer=peer, loss=loss, version=version)


def write(common, folder, names):
    """Weights are (units × inputs) in the files and (inputs, units) in common.py."""
    for name in names:
        inputs, targets, _ = common.make_data(name)
        inputs.astype("<f4").tofile(folder / f"{name}.inputs.f32")
        targets.astype("<f4").tofile(folder / f"{name}.targets.f32")
        with open(folder / f"{name}.parameters.f32", "wb") as file:
            for weights, biases in common.make_params(name):
                file.write(weights.T.astype("<f4").tobytes() + biases.astype("<f4").tobytes())


def main():
    peers, script, *arguments = sys.argv[1:]
    sys.path.insert(0, peers)
    import common
    if script == "write":
        return write(common, pathlib.Path(arguments[0]), arguments[1:])
    common.measure, common.record = measure, record
    path = f"{peers}/{script}.py"
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
