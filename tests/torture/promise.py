"""What the scripts under tests/torture say of promises: kept, or missed with a reason."""

import http.client
import sys

from daemon import Refused

# How a request ends whose server is gone.
GONE = (OSError, http.client.HTTPException)


class Miss(Exception):
    """A promise that was not kept."""


def require(kept, promise):
    if not kept:
        raise Miss(promise)


def is_kept(label, check):
    """Runs a check and prints a line, with what it says or with what it missed; whether it held."""
    try:
        print(f"{label:<32} {check()}", flush=True)
        return True
    except (Miss, Refused, RuntimeError, KeyError, *GONE) as miss:
        print(f"{label:<32} MISS {type(miss).__name__}: {miss}", flush=True)
        return False


def summary(what, outcomes):
    """Prints how many of the outcomes held and gives the exit status."""
    missed = sum(not kept for kept in outcomes)
    print(f"{what}: {len(outcomes)} checks, {missed} missed", flush=True)
    return 1 if missed or not outcomes else 0


def stripped(rows):
    """A loss history without how long its epochs took."""
    return [{field: value for field, value in row.items() if field != "seconds"} for row in rows]


def fail(why):
    """Ends a script that cannot be run as it was asked to."""
    sys.exit(f"{sys.argv[0]}: {why}")
