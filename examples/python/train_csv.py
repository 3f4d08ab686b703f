"""From a CSV file to predictions by the names of its columns.

    pip install requests
    python3 examples/python/train_csv.py tests/fixtures/tables/iris.csv species [http://127.0.0.1:8080]

GRADIENTD_TOKEN has the server's token, where it asks for one. The target column holds words. Ends with 1 where the server refuses something, or where less than 90 % of the rows
are predicted right.
"""

import csv
import os
import sys
import time
import uuid

import requests


def main(path: str, target: str, server: str = "http://127.0.0.1:8080") -> None:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    features = [name for name in rows[0] if name != target]
    classes = sorted({row[target] for row in rows})
    name = f"table-{uuid.uuid4().hex[:8]}"

    session = requests.Session()
    # Else a .netrc would go before the token.
    session.trust_env = False
    if token := os.environ.get("GRADIENTD_TOKEN"):
        session.headers["Authorization"] = f"Bearer {token}"

    def ask(method: str, path: str, **more) -> dict:
        answer = session.request(method, server + path, timeout=60, **more)
        if not answer.ok:
            sys.exit(f"{method} {path}: {answer.json()['detail']}")
        return answer.json()

    # The table, as it is. The server infers which columns are numbers.
    with open(path, "rb") as file:
        ask("POST", f"/v1/datasets?name={name}", data=file, headers={"Content-Type": "text/csv"})

    # One output for each class; the features are scaled as the first job finds them.
    layers = [{"units": 16, "activation": "tanh"}, {"units": len(classes), "activation": "softmax"}]
    model = {"name": name, "inputs": len(features), "loss": "cross_entropy", "preprocess": "standardize", "layers": layers}
    ask("POST", "/v1/models", json=model)

    job = {
        "model": name,
        "data": {"dataset": name, "target": target},
        "epochs": 100,
        "validation": {"fraction": 0.2, "stratified": True},
    }
    job = ask("POST", "/v1/jobs", json=job)
    while job["status"] in ("queued", "running"):
        time.sleep(0.1)
        job = ask("GET", f"/v1/jobs/{job['id']}")
    if job["status"] != "succeeded":
        sys.exit(f"the job is {job['status']}: {job['error']}")

    instances = [{feature: float(row[feature]) for feature in features} for row in rows]
    answer = ask("POST", f"/v1/models/{name}/predict", json={"instances": instances})
    predicted = [prediction["class"] for prediction in answer["predictions"]]
    right = sum(row[target] == word for row, word in zip(rows, predicted, strict=True))
    print(f"train_csv: {right} of {len(rows)} rows are predicted right")
    if right < 0.9 * len(rows):
        sys.exit("must be at least 90 %")


if __name__ == "__main__":
    main(*sys.argv[1:])
