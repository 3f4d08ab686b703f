#!/usr/bin/env python3
"""Writes a large table as CSV: numbers, words, truth values and times, some of them missing, and a target to be learned.

    python3 tests/large/make_table.py --rows 2000000 > table.csv

30 columns: n1..n14 numbers, w1..w6 words (of 2 to 1,000 categories), b1..b5 truth values, t1..t4 times, and `y`, which is
2 n1 - 3 n2 + n3 n4, 5 more where b1 is true, and as much as w1 says, with a noise of standard deviation 0.1. The same seed and
rows give the same bytes.
"""

import argparse
import datetime
import random
import sys

NUMBERS, WORDS, TRUTHS, TIMES = 14, 6, 5, 4
CATEGORIES = [2, 5, 12, 50, 200, 1000]
# One of so many values is missing, in every column but the six that the target is made of.
MISSING = 50
# Values are drawn from pools, whose texts are made once.
POOL = 1 << 14


def pools(rng):
    """A pool of (text, value) for each column but the target."""
    numbers = []
    for column in range(NUMBERS):
        scale = 10.0 ** (column % 4)
        digits = 6 if column % 3 else 2
        values = [round(rng.gauss(0, 1), digits) for _ in range(POOL)]
        numbers.append([(f"{value * scale:.{digits}f}", value) for value in values])
    words = []
    for column, count in enumerate(CATEGORIES):
        names = [f"{'abcdef'[column]}{number:03d}" for number in range(count)]
        picked = [rng.randrange(count) for _ in range(POOL)]
        words.append([(names[number], number) for number in picked])
    truths = [[("true", 1), ("false", 0)] * (POOL // 2) for _ in range(TRUTHS)]
    times = []
    for column in range(TIMES):
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        moments = [start + datetime.timedelta(seconds=rng.randrange(31_536_000)) for _ in range(POOL)]
        form = "%Y-%m-%d" if column % 2 else "%Y-%m-%dT%H:%M:%SZ"
        times.append([(moment.strftime(form), moment.timestamp()) for moment in moments])
    return numbers + words + truths + times


def rows(count, seed):
    rng = random.Random(seed)
    columns = pools(rng)
    needed = {0, 1, 2, 3, NUMBERS, NUMBERS + WORDS}
    for index, pool in enumerate(columns):
        if index not in needed:
            for place in range(0, POOL, MISSING):
                pool[place] = ("", None)
    noise = [rng.gauss(0, 0.1) for _ in range(POOL)]
    mask, bits, width = POOL - 1, POOL.bit_length() - 1, len(columns) + 1
    for _ in range(count):
        drawn = rng.getrandbits(bits * width)
        picked = []
        for pool in columns:
            picked.append(pool[drawn & mask])
            drawn >>= bits
        n1, n2, n3, n4 = (picked[index][1] for index in range(4))
        word, truth = picked[NUMBERS][1], picked[NUMBERS + WORDS][1]
        target = 2 * n1 - 3 * n2 + n3 * n4 + 5 * truth + word + noise[drawn & mask]
        yield ",".join([text for text, _ in picked]) + f",{target:.4f}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    names = [f"{kind}{number}" for kind, count in zip("nwbt", (NUMBERS, WORDS, TRUTHS, TIMES)) for number in range(1, count + 1)]
    out = sys.stdout
    out.write(",".join(names + ["y"]) + "\n")
    part = []
    for row in rows(asked.rows, asked.seed):
        part.append(row)
        if len(part) == 10_000:
            out.write("".join(part))
            part.clear()
    out.write("".join(part))


if __name__ == "__main__":
    main()
