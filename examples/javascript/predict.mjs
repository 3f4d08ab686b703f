// Declares a network, trains it and asks it, with fetch alone (Node 20 or later, or a page whose origin the server names).
//
//   node examples/javascript/predict.mjs [http://127.0.0.1:8080]
//
// GRADIENTD_TOKEN has the server's token, where it asks for one.
// Ends with 1 where the server refuses something or has not learned exclusive or.

const server = process.argv[2] ?? "http://127.0.0.1:8080";
const token = process.env.GRADIENTD_TOKEN;

async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) {
    headers.Authorization = `Bearer ${token}`;
  }
  const answer = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) {
    // Every error says what is wrong, and where in the body.
    throw new Error(`${method} ${path}: ${json.detail}`);
  }
  return json;
}

const name = `script-${crypto.randomUUID()}`;
const layer = (units) => ({ units, activation: "sigmoid" });
await ask("POST", "/v1/models", { name, inputs: 2, dtype: "float64", seed: 7, layers: [layer(3), layer(1)] });

const inputs = [[0, 0], [0, 1], [1, 0], [1, 1]];
const targets = [[0], [1], [1], [0]];
const optimizer = { type: "gradient_descent", learning_rate: 2 };
let job = await ask("POST", "/v1/jobs", {
  model: name, data: { inputs, targets }, optimizer, epochs: 2000, batch_size: "full", seed: 1,
});
while (["queued", "running"].includes(job.status)) {
  await new Promise((later) => setTimeout(later, 100));
  job = await ask("GET", `/v1/jobs/${job.id}`);
}

const { outputs, version } = await ask("POST", `/v1/models/${name}/predict`, { inputs });
console.log(`predict: version ${version} of ${name} answers`, outputs.flat());
if (!outputs.every(([output], row) => Math.round(output) === targets[row][0])) {
  throw new Error("exclusive or was not learned");
}
