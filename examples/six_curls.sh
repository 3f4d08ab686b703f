#!/usr/bin/env bash
# XOR and penguins, from nothing to a prediction, as in the README; ends with 1 where an answer is wrong.
#
#   examples/six_curls.sh [http://127.0.0.1:8080]
#
# GRADIENTD_TOKEN has the server's token, where it asks for one.
# Makes the models six-xor and six-penguins and the dataset six-penguins; run it against a server that has none of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

server="${1:-http://127.0.0.1:8080}"

# Asks with the token, where there is one.
curl() {
    command curl ${GRADIENTD_TOKEN:+-H "Authorization: Bearer $GRADIENTD_TOKEN"} "$@"
}

# POSTs JSON and prints the answer; an error status ends the script and shows the problem.
post() {
    curl --silent --show-error --fail-with-body -H 'Content-Type: application/json' --data "$2" "$server$1"
}

# Prints what a Python expression makes of the JSON on standard input, called a.
pick() {
    python3 -c 'import json, sys; a = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}

# Waits until a job has ended, and fails unless it has succeeded.
succeeded() {
    local status=queued
    for _ in {1..600}; do
        status="$(curl --silent --show-error --fail "$server/v1/jobs/$1" | pick 'a["status"]')"
        [[ $status == succeeded ]] && return
        [[ $status == failed || $status == cancelled ]] && break
        sleep 0.1
    done
    echo "job $1 is $status" >&2
    return 1
}

# 1: declare a network. 2: train it.
post /v1/models '{"name":"six-xor","inputs":2,"dtype":"float64","seed":7,
  "layers":[{"units":3,"activation":"sigmoid"},{"units":1,"activation":"sigmoid"}]}' >/dev/null
job="$(post /v1/jobs '{"model":"six-xor","data":{"inputs":[[0,0],[0,1],[1,0],[1,1]],"targets":[[0],[1],[1],[0]]},
  "optimizer":{"type":"gradient_descent","learning_rate":2.0},"epochs":2000,"batch_size":"full","seed":1}' | pick 'a["id"]')"
succeeded "$job"

# 3: its loss fell. 4: its gradients. 5: what it predicts.
curl --silent --show-error --fail "$server/v1/jobs/$job/loss?every=1000" |
    pick 'a["data"][-1]["train"]["loss"] < 0.01 or sys.exit("the loss did not fall")'
post /v1/models/six-xor/gradients '{"inputs":[[0,1]],"targets":[[1]],"include":["deltas","weight_gradient"]}' |
    pick 'len(a["layers"][0]["weight_gradient"]) == 3 or sys.exit("a gradient of another shape")'
post /v1/models/six-xor/predict '{"inputs":[[0,0],[0,1],[1,0],[1,1]]}' |
    pick '[round(row[0]) for row in a["outputs"]] == [0, 1, 1, 0] or sys.exit("XOR was not learned")'

# 6: a table of words, numbers and gaps: uploaded, declared, cross-validated, and asked by a raw row.
curl --silent --show-error --fail-with-body -H 'Content-Type: text/csv' \
    --data-binary @tests/fixtures/tables/penguins.csv "$server/v1/datasets?name=six-penguins" >/dev/null
post /v1/models '{"name":"six-penguins","dataset":"six-penguins","target":"species",
  "hidden":[{"units":16,"activation":"relu"}]}' >/dev/null
job="$(post /v1/jobs '{"model":"six-penguins","epochs":60,"optimizer":{"type":"adam","learning_rate":0.01},
  "regularization":{"l2":0.001},"cross_validation":{"folds":5}}' | pick 'a["id"]')"
succeeded "$job"
curl --silent --show-error --fail "$server/v1/jobs/$job/report" |
    pick 'a["cross_validation"]["mean"]["accuracy"] >= 0.98 or sys.exit("the penguins were not learned")'
post /v1/models/six-penguins/predict '{"instances":[{"island":"Biscoe","bill_length_mm":46.1,"bill_depth_mm":13.2,
  "flipper_length_mm":211,"body_mass_g":4500,"sex":null,"year":2007}]}' |
    pick 'a["predictions"][0]["class"] == "Gentoo" or sys.exit("that is a Gentoo")'
echo "six curls: all answers are right"
