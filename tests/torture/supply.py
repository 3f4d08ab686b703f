#!/usr/bin/env python3
"""Looks at what the program is made of: licences, advisories and sources of its crates, and crates that nothing uses.

    python3 tests/torture/supply.py

Installs cargo-deny and cargo-machete of these versions into a folder of the target directory, which takes minutes the first time.
`--binary` is taken and not used. Exits 1 if one of them finds something. Where the database of advisories cannot be fetched, all
else is looked at, and the last line says so; `--offline` does not try.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "supply"
VERSIONS = {"cargo-deny": "0.20.2", "cargo-machete": "0.9.2"}
# Of cargo-deny, but for the advisories.
CHECKS = ["bans", "licenses", "sources"]


def install(name, version):
    """The program, installed where it is not yet."""
    root = TOOLS / f"{name}-{version}"
    program = root / "bin" / name
    if not program.exists():
        subprocess.run(["cargo", "install", name, "--version", version, "--locked", "--root", root], cwd=ROOT, check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--offline", action="store_true", help="without advisories")
    arguments = parser.parse_args()
    deny, machete = [install(name, version) for name, version in VERSIONS.items()]
    fetched = not arguments.offline and subprocess.run([deny, "fetch", "db"], cwd=ROOT, check=False).returncode == 0
    checks = CHECKS + (["advisories"] if fetched else [])
    # What it needs has been fetched.
    commands = [[deny, "--offline", "check", *checks], [machete, ROOT]]
    held = [subprocess.run(command, cwd=ROOT, check=False).returncode == 0 for command in commands]
    told = "" if fetched else ", advisories could not be looked at"
    print(f"supply: deny {'held' if held[0] else 'MISSED'}, machete {'held' if held[1] else 'MISSED'}{told}", flush=True)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
