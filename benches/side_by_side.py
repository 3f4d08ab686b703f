#!/usr/bin/env python3
"""The workloads W1–W5 on gradientd and on its peers, in turn.

    python3 benches/side_by_side.py --python VENV/bin/python                       # all of it: about an hour
    python3 benches/side_by_side.py --python VENV/bin/python W2 --only "jax scan" --rounds 7
    python3 benches/side_by_side.py --python VENV/bin/python W2 W3 --only-http

PEERS, a folder with common.py and the scripts of the peers, has the workloads, their data and first parameters; the
interpreter needs numpy, and what each peer is (jax, torch with ninja and g++ beside it, scikit-learn). GRADIENTD_PEERS_PYTHON
may name it instead.

For each workload and number of threads, every competitor is started and trains a unit (an epoch, of W1 a thousand) to get
warm. Then rounds go over all of them: each is visited for at least 0.2 s, the others are stopped meanwhile, and a visit's
time is the median of its units. What counts is the median of the visits. A peer runs its own script; only the loop around its
unit is ours (peer.py). The loss after the first unit must be gradientd's, or other work was done.

Jobs over HTTP have a server of their own, on the loopback, with a data directory that is dropped; uploading is not timed.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import over_http  # noqa: E402
from built import ROOT, built  # noqa: E402
from competitors import PEERS, Arena, Failed  # noqa: E402

# Peer ÷ gradientd, at least, and the share of the peak of multiply-adds.
GOALS = {"W1": (3.0, None), "W2": (3.0, 0.60), "W3": (1.6, 0.65), "W4": (1.15, 0.80), "W5": (1.1, 0.85)}
# Losses after a unit may differ by this share, as sums are rounded in other orders. Of W4 the loss is uncertain by 1 % where
# the first parameters are changed by 1e-7: what a step of Adam makes of a tiny gradient depends on its last bits.
LOSS_TOLERANCES = {"W1": 0.002, "W2": 0.002, "W3": 0.005, "W4": 0.03, "W5": 0.002}
# A peer whose unit takes so many times gradientd's, and so long, is not waited for: threads of torch that wait for each
# other while another program has a core.
SLOW_RATIO, SLOW_SECONDS = 15, 2.0
# Epochs of a job.
HTTP_EPOCHS = {"W1": 1000, "W2": 10, "W3": 10, "W4": 2, "W5": 2}


def duel(arena, workload, threads, arguments, deadline):
    """The median seconds of a unit and the loss after the first one, by competitor; and what some could not do."""
    failed, running, first = {}, [], None
    try:
        for name in [None, *arguments.only]:
            competitor = arena.peer(name, workload, threads, arguments.shuffle) if name else arena.product(workload, threads, arguments.shuffle)
            if competitor is None:
                continue
            running.append(competitor)
            try:
                warm = competitor.start()
                first = warm if first is None else first
                if warm > max(SLOW_SECONDS, SLOW_RATIO * first):
                    raise Failed(f"a unit takes {warm:.1f} s, over {SLOW_RATIO} times gradientd's: left out")
            except Failed as fault:
                failed[competitor.name] = str(fault)[:200]
                running.pop().kill()
        rounds = 0
        while rounds < arguments.rounds and (rounds == 0 or time.monotonic() < deadline):
            for competitor in running:
                competitor.visit()
            rounds += 1
        ended = [(competitor, competitor.end()) for competitor in running]
    finally:
        for competitor in running:
            competitor.kill()
    seconds = {
        competitor.name: {
            "seconds": statistics.median(competitor.visits), "visits": competitor.visits,
            # gradientd's is that of all the units that it has trained.
            "loss": last.get("loss") if last and competitor.name != "gradientd" else None,
        }
        for competitor, last in ended
    }
    return {"workload": workload, "threads": threads, "rounds": rounds, "competitors": seconds, "failed": failed}


def compare(arena, workload, arguments, deadline):
    """A workload at every number of threads, with its table."""
    shape = arena.common.WORKLOADS[workload]
    gflop = arena.common.flops(shape) / 1e9
    alone = arena.alone(workload, arguments.shuffle)
    peak = arena.peak(max(arguments.threads))
    duels = [duel(arena, workload, threads, arguments, deadline) for threads in arguments.threads]
    best = {}
    for one in duels:
        for name, found in one["competitors"].items():
            if name not in best or found["seconds"] < best[name][0]:
                best[name] = found["seconds"], one["threads"]
    own, own_threads = best.pop("gradientd")
    result = {
        "workload": workload, "gflop": gflop, "alone": alone, "peak_gflops": peak, "duels": duels, "seconds": own, "threads": own_threads,
        "peak_share": gflop / own / peak[own_threads], "recording": arena.recording(workload),
    }
    unit = "1,000 epochs" if shape["epochs"] > 1 else "an epoch"
    print(f"\n{workload}: seconds for {unit} ({gflop:.3g} GFLOP), median of {min(one['rounds'] for one in duels)} rounds")
    heads = "".join(f"{threads:>9} thr" for threads in arguments.threads)
    print(f"{'':14}{heads} {'GFLOP/s':>9} {'÷ gradientd':>12}   loss")
    for name in ["gradientd", *sorted(best, key=lambda name: best[name][0])]:
        each = [one["competitors"].get(name) for one in duels]
        cells = "".join(f"{found['seconds']:>13.5f}" if found else f"{'–':>13}" for found in each)
        fastest = own if name == "gradientd" else best[name][0]
        loss = alone["loss"] if name == "gradientd" else next((found["loss"] for found in each if found), None)
        print(f"{name:14}{cells} {gflop / fastest:>9.1f} {fastest / own:>12.2f}   {said(loss, alone['loss'], None if arguments.shuffle else LOSS_TOLERANCES[workload])}")
    for one in duels:
        for name, why in one["failed"].items():
            print(f"{name}, {one['threads']} threads: failed: {why}")
    if best:
        name = min(best, key=lambda name: best[name][0])
        result["fastest_peer"], result["ratio"] = name, best[name][0] / own
    judge(result)
    return result


def said(loss, own, tolerance):
    """A loss, and whether it is that of the same work; of orders drawn by each for itself that is not known."""
    if loss is None:
        return "of its own"
    same = tolerance is None or abs(loss - own) <= tolerance * abs(own)
    return f"{loss:.6f}" + ("" if same else "  OTHER WORK")


def judge(result):
    wanted, share = GOALS[result["workload"]]
    threads, peak = result["threads"], result["peak_gflops"][result["threads"]]
    verdict = f"{result['peak_share']:.1%} of the peak of {threads} threads ({peak:.0f} GFLOP/s)"
    if share:
        verdict += f", goal {share:.0%}: {'met' if result['peak_share'] >= share else 'NOT MET'}"
    if "ratio" in result:
        met = "met" if result["ratio"] >= wanted else "NOT MET"
        verdict = f"{result['fastest_peer']} ÷ gradientd {result['ratio']:.2f}, goal {wanted}: {met}; " + verdict
    print(verdict)
    alone = result["alone"]
    needed, training, preparing = (alone[key] for key in ("needed_bytes", "peak_training_bytes", "peak_preparing_bytes"))
    if training and preparing:
        print(f"resident at most {training / 2**20:.0f} MiB in training, {preparing / 2**20:.0f} MiB before it; "
              f"data, parameters and a batch are {needed / 2**20:.0f} MiB")
    recording = result["recording"]
    print(f"recording gradients makes a step of {1e6 * recording['step_seconds']:.1f} µs one of {1e6 * recording['recorded_step_seconds']:.1f} µs, "
          f"{recording['share_of_a_job']:.2%} of a job")


def follow_jobs(arena, binary, workload, arguments):
    epochs = arguments.http_epochs or HTTP_EPOCHS[workload]
    found = over_http.run(arena, binary, workload, epochs, arguments.rounds, arguments.shuffle, arguments.server_option)
    unit = arena.common.WORKLOADS[workload]["epochs"]
    share = found["beyond_training_seconds"] / found["training_seconds"]
    print(f"\n{workload} over HTTP, {epochs} epochs, median of {arguments.rounds} jobs: {found['total_seconds']:.3f} s from request to version; "
          f"training {found['training_seconds']:.3f} s, beyond it {found['beyond_training_seconds']:.3f} s ({share:.1%})")
    print(f"  the answer took {found['answer_seconds']:.3f} s, the job waited {found['queue_seconds']:.3f} s")
    if found["given"] and epochs % unit == 0 and epochs // unit <= 200:
        alone = arena.alone(workload, arguments.shuffle, epochs // unit)
        found["alone_seconds"] = alone["median_seconds"] * epochs / unit
        same = "the same" if alone["loss"] == found["loss"] else f"OTHER: {alone['loss']}"
        print(f"  in one process: preparing the rows {alone['preparing_seconds']:.3f} s, training {found['alone_seconds']:.3f} s, "
              f"report {alone['reporting_seconds']:.3f} s; loss {found['loss']}, there {same}")
    return found


def machine():
    info = {"kernel": platform.release(), "cores": sorted(os.sched_getaffinity(0)), "load": os.getloadavg(), "python": platform.python_version()}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        info.setdefault({"model name": "processor", "cpu family": "family", "model": "model"}.get(name.strip(), "other"), value.strip())
        if name.strip() == "flags":
            info["vectors"] = [flag for flag in value.split() if flag.startswith(("avx", "fma"))]
    info.pop("other", None)
    return info


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="W1 to W5 (default: all)")
    parser.add_argument("--python", default=os.environ.get("GRADIENTD_PEERS_PYTHON"), help="interpreter of the peers")
    parser.add_argument("--peers", default=str(ROOT.parent / "shared" / "bench" / "peers"), help="folder of the peers' scripts (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(PEERS), help="a peer to run; may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, action="append", help="may be repeated (default: 1 and 2)")
    parser.add_argument("--minutes", type=float, default=90.0, help="after this no round is begun but a first one")
    parser.add_argument("--shuffle", action="store_true", help="a new order of the rows in each epoch; losses then differ")
    parser.add_argument("--binary", help="the server (default: built here)")
    parser.add_argument("--server-option", action="append", default=[], metavar="OPTION", help="an option of the server; may be repeated")
    parser.add_argument("--http-epochs", type=int, help="of a job (default: 1,000 of W1, 10 of W2 and W3, 2 of W4 and W5)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only-http", action="store_true", help="no peers")
    which.add_argument("--no-http", action="store_true")
    parser.add_argument("--json", metavar="FILE", help="where to write all of it")
    arguments = parser.parse_args()
    arguments.workloads = arguments.workloads or list(GOALS)
    arguments.threads = arguments.threads or [1, 2]
    arguments.only = list(PEERS) if arguments.only is None else arguments.only
    if unknown := set(arguments.workloads) - set(GOALS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if not arguments.python:
        parser.error("--python is needed: an interpreter with numpy and the peers")
    if not os.path.exists(os.path.join(arguments.peers, "common.py")):
        parser.error(f"no common.py in {arguments.peers}: --peers names the folder of the peers' scripts")
    return arguments


def main():
    arguments = options()
    deadline = time.monotonic() + 60 * arguments.minutes
    programs = built()
    bench, binary = programs["workload"], arguments.binary or programs["gradientd"]
    results = {"machine": machine(), "workloads": [], "http": []}
    print(json.dumps(results["machine"]))
    for workload in arguments.workloads:
        with tempfile.TemporaryDirectory(prefix="gradientd-side-by-side-") as folder:
            arena = Arena(arguments.python, arguments.peers, bench, pathlib.Path(folder))
            arena.write(workload)
            if not arguments.only_http:
                results["workloads"].append(compare(arena, workload, arguments, deadline))
            if not arguments.no_http:
                results["http"].append(follow_jobs(arena, binary, workload, arguments))
        if arguments.json:
            pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
