#!/usr/bin/env bash
# Trains every recipe of examples/cookbook on its table and prints the accuracy on the rows that were held out.
#
#   examples/cookbook.sh [http://127.0.0.1:8080 [SPLITS]]
#
# GRADIENTD_TOKEN has the server's token, where it asks for one.
# With SPLITS above 1 each recipe is trained with the seeds 0, 1, … on as many splits, and the mean is printed. Ends with 1
# where it is under what the recipe is for. Makes the datasets and models iris, penguins and digits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

server="${1:-http://127.0.0.1:8080}"
splits="${2:-1}"

# Asks with the token, where there is one.
curl() {
    command curl ${GRADIENTD_TOKEN:+-H "Authorization: Bearer $GRADIENTD_TOKEN"} "$@"
}

# Prints what a Python expression makes of the JSON on standard input, called a.
pick() {
    python3 -c 'import json, sys; a = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}

# Trains a recipe on one split and prints the accuracy on the rows that were held out.
train() {
    local recipe="$1" seed="$2" job status=queued
    job="$(python3 -c 'import json, sys
spec = {**json.load(open(sys.argv[1])), "seed": int(sys.argv[2]), "from": {"initial": True}, "refit": True}
print(json.dumps(spec))' "examples/cookbook/$recipe/job.json" "$seed" |
        curl --silent --show-error --fail-with-body --json @- "$server/v1/jobs" | pick 'a["id"]')"
    while [[ $status == queued || $status == running ]]; do
        sleep 0.1
        status="$(curl --silent --show-error --fail "$server/v1/jobs/$job" | pick 'a["status"]')"
    done
    [[ $status == succeeded ]] || { echo "job $job is $status" >&2; return 1; }
    curl --silent --show-error --fail "$server/v1/jobs/$job" | pick 'a["metrics"]["validation"]["accuracy"]'
}

while read -r recipe table wanted; do
    curl --silent --show-error --fail-with-body -H 'Content-Type: text/csv' \
        --data-binary "@$table" "$server/v1/datasets?name=$recipe" >/dev/null
    curl --silent --show-error --fail-with-body --json "@examples/cookbook/$recipe/model.json" "$server/v1/models" >/dev/null
    for ((seed = 0; seed < splits; seed++)); do
        train "$recipe" "$seed"
    done | python3 -c '
import statistics, sys
recipe, wanted = sys.argv[1], float(sys.argv[2])
found = [float(line) for line in sys.stdin]
mean = statistics.mean(found)
print(f"{recipe}: {100 * mean:.1f} % of the held-out rows are right, mean of {len(found)} splits")
sys.exit(mean < wanted)' "$recipe" "$wanted"
done <<'TABLES'
iris tests/fixtures/tables/iris.csv 0.95
penguins tests/fixtures/tables/penguins.csv 0.98
digits src/cli/digits.csv 0.97
TABLES
