#!/usr/bin/env python3
"""Looks at /docs as a browser shows it: every operation and problem is there, with its command, and nothing is garbled.

    python3 tests/docs/render.py --binary target/release/gradientd [--browser chromium]
"""

import argparse
import html
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "torture"))
sys.dont_write_bytecode = True

from daemon import Client, Server  # noqa: E402

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=20000", "--dump-dom",
]
GARBLED = ["[object ", "undefined", ">NaN<", ">any<"]


def rendered(browser, url, profile):
    """The page after its script has run."""
    command = [browser, *FLAGS, f"--user-data-dir={profile}", url]
    return subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout


def faults(page, contract, problems):
    """What is missing from the page or should not be in it."""
    operations = [one for item in contract["paths"].values() for one in item.values() if isinstance(one, dict)]
    names = [operation["operationId"] for operation in operations if "operationId" in operation]
    names += ["problem-" + problem["type"].rsplit("/", 1)[1] for problem in problems["data"]]
    missing = [f"no entry {name}" for name in names if f'id="{name}"' not in page]
    commands = page.count("<pre>curl ")
    expected = sum("operationId" in operation for operation in operations)
    if commands != expected:
        missing.append(f"{commands} commands for {expected} operations")
    said = re.findall(r"<span class=\"said\">(.*?)</span>", page)
    shown = {html.unescape(re.sub("<.*?>", "", text)) for text in said}
    missing += [f"no summary {one['summary']!r}" for one in operations if "summary" in one and one["summary"] not in shown]
    text = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    return missing + [f"the page has {word!r}" for word in GARBLED if word in text] + (["raw backticks"] if "`" in text else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/gradientd")
    parser.add_argument("--browser", default="chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(arguments.binary, os.path.join(scratch, "data"))
        server.start()
        try:
            client = Client(server.url)
            contract, problems = client.get("/openapi.json"), client.get("/problems")
            client.close()
            page = rendered(arguments.browser, server.url + "/docs", os.path.join(scratch, "profile"))
        finally:
            server.stop()
    found = faults(page, contract, problems)
    print(json.dumps(found, indent=1) if found else f"/docs: {len(page)} characters, all there")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
