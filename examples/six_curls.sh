#!/usr/bin/env bash
# XOR and iris, from nothing to a prediction, as in the README; ends with 1 where an answer is wrong.
#
#   examples/six_curls.sh [http://127.0.0.1:8080]
#
# Makes the models six-xor and six-iris and the dataset six-iris; run it against a server that has none of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

server="${1:-http://127.0.0.1:8080}"

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

# 6: a table, asked by the names of its columns.
curl --silent --show-error --fail-with-body -H 'Content-Type: text/csv' \
    --data-binary @tests/fixtures/tables/iris.csv "$server/v1/datasets?name=six-iris" >/dev/null
post /v1/models '{"name":"six-iris","inputs":4,"loss":"cross_entropy","preprocess":"standardize",
  "layers":[{"units":16,"activation":"tanh"},{"units":3,"activation":"softmax"}]}' >/dev/null
job="$(post /v1/jobs '{"model":"six-iris","data":{"dataset":"six-iris","target":"species"},"epochs":100,
  "validation":{"fraction":0.2,"stratified":true}}' | pick 'a["id"]')"
succeeded "$job"
post /v1/models/six-iris/predict '{"instances":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}]}' |
    pick 'a["predictions"][0]["class"] == "setosa" or sys.exit("that is a setosa")'
echo "six curls: all answers are right"
