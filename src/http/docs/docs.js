// The reference: every operation of the contract and every type of problem, searchable.

import { element, json, prose, resolved, schemaView } from "./schema.js";

const METHODS = ["get", "post", "put", "delete", "patch"];

const load = async (path) => (await fetch(path)).json();
const [contract, problems] = await Promise.all([load("openapi.json"), load("problems")]);
const main = document.getElementById("reference");

document.getElementById("version").textContent = contract.info.version;
main.replaceChildren(
  element("p", { class: "summary" }, contract.info.summary),
  element("p", null, prose(contract.info.description)),
  ...groups().map(([tag, operations]) => section(tag.name, tag.description, operations.map(operationView))),
  section("problems", "What errors say, and what to do about them.", problems.data.map(problemView)),
);
document.getElementById("contents").replaceChildren(...[...main.querySelectorAll("section")].map(contentsOf));
document.getElementById("search").addEventListener("input", (event) => search(event.target.value));
document.addEventListener("keydown", focusSearch);
window.addEventListener("hashchange", showTarget);
showTarget();

/** The operations of each tag, in the order of the contract; one with several tags stands under its first. */
function groups() {
  const operations = Object.entries(contract.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const parameters = [...(item.parameters ?? []), ...(item[method].parameters ?? [])];
      const each = parameters.map((parameter) => resolved(contract, parameter).value);
      return { ...item[method], path, method, parameters: each };
    }),
  );
  const known = new Set(contract.tags.map((tag) => tag.name));
  const others = [...new Set(operations.map((operation) => operation.tags?.[0] ?? "other"))];
  const tags = [...contract.tags, ...others.filter((name) => !known.has(name)).map((name) => ({ name }))];
  const of = (tag) => operations.filter((operation) => (operation.tags?.[0] ?? "other") === tag.name);
  return tags.map((tag) => [tag, of(tag)]).filter(([, found]) => found.length > 0);
}

function section(name, description, entries) {
  const said = description ? element("p", null, prose(description)) : null;
  return element("section", { id: name }, element("h2", null, name), said, entries);
}

function contentsOf(found) {
  const entries = [...found.querySelectorAll("details.entry")].map((entry) =>
    element("li", { "data-of": entry.id }, element("a", { href: `#${entry.id}` }, entry.dataset.title)),
  );
  return element("div", { "data-of": found.id }, element("a", { href: `#${found.id}` }, found.id), element("ul", null, entries));
}

function operationView(operation) {
  const { operationId: id, method, path, summary } = operation;
  const head = [
    element("span", { class: `method ${method}` }, method.toUpperCase()),
    element("code", null, path),
    element("span", { class: "said" }, summary),
  ];
  const responses = Object.entries(operation.responses).map(([status, response]) => responseView(status, response));
  return entry(id, summary, head, [
    operation.description ? element("p", null, prose(operation.description)) : null,
    copyable("Try it", commandLine(operation)),
    parametersView(operation.parameters),
    operation.requestBody ? contentView("Body", resolved(contract, operation.requestBody).value) : null,
    element("h3", null, "Answers"),
    responses,
  ]);
}

function problemView(kind) {
  const slug = kind.type.split("/").at(-1);
  const head = [element("span", { class: "status" }, kind.status), element("code", null, slug), element("span", { class: "said" }, kind.title)];
  return entry(`problem-${slug}`, slug, head, [element("p", null, prose(kind.cure)), element("pre", null, json(kind.example))]);
}

function entry(id, title, head, body) {
  return element("details", { class: "entry", id, "data-title": title }, element("summary", null, head), element("div", { class: "body" }, body));
}

function parametersView(parameters) {
  if (parameters.length === 0) return null;
  const rows = parameters.map((parameter) =>
    element(
      "li",
      null,
      element("code", { class: "name" }, parameter.name),
      element("span", { class: "place" }, parameter.in),
      parameter.required ? element("span", { class: "required" }, "required") : null,
      parameter.description ? element("span", { class: "meaning" }, prose(parameter.description)) : null,
      schemaView(contract, parameter.schema),
    ),
  );
  return [element("h3", null, "Parameters"), element("ul", { class: "parameters" }, rows)];
}

function responseView(status, response) {
  const { value } = resolved(contract, response);
  const name = status === "default" ? "500" : status;
  const head = [element("span", { class: `status s${name[0]}` }, name), prose(value.description)];
  const headers = Object.entries(value.headers ?? {}).map(([label, header]) => {
    const said = resolved(contract, header).value.description ?? "";
    return element("li", null, element("code", { class: "name" }, label), element("span", { class: "meaning" }, prose(said)));
  });
  const listed = headers.length > 0 ? [element("h4", null, "Headers"), element("ul", null, headers)] : null;
  return element("details", { class: "response" }, element("summary", null, head), element("div", null, listed, contentView(null, value)));
}

/** The schema and examples of each media type of a body. */
function contentView(title, { content, description }) {
  const each = Object.entries(content ?? {}).map(([mediaType, media]) => [
    element("h4", null, mediaType),
    media.schema ? schemaView(contract, media.schema) : null,
    examples(media).map(([name, value]) => [
      name ? element("p", { class: "example" }, name.replaceAll("_", " ")) : null,
      element("pre", null, typeof value === "string" ? value : json(value)),
    ]).flat(),
  ].flat());
  const said = title && description ? element("p", null, prose(description)) : null;
  return [title ? element("h3", null, title) : null, said, ...each.flat()];
}

function examples(media) {
  if (media.example !== undefined) return [[null, media.example]];
  return Object.entries(media.examples ?? {}).map(([name, example]) => [name, resolved(contract, example).value.value]);
}

/** A command that does the operation, with the examples of the contract. */
function commandLine({ method, path, parameters, requestBody }) {
  const sample = (parameter) => parameter.example ?? parameter.schema?.default ?? parameter.name;
  const filled = parameters
    .filter((parameter) => parameter.in === "path")
    .reduce((at, parameter) => at.replace(`{${parameter.name}}`, encodeURIComponent(sample(parameter))), path);
  const asked = parameters.filter((parameter) => parameter.in === "query" && parameter.required);
  const query = asked.map((parameter) => `${parameter.name}=${encodeURIComponent(sample(parameter))}`).join("&");
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const words = ["curl", quoted(base + filled + (query && `?${query}`))];
  const implied = requestBody ? "post" : "get";
  if (method !== implied) words.splice(1, 0, `-X ${method.toUpperCase()}`);
  if (requestBody) {
    const [mediaType, media] = shownBody(resolved(contract, requestBody).value.content);
    const value = examples(media)[0]?.[1] ?? {};
    if (mediaType === "application/json") words.push(`\\\n  --json ${quoted(json(value))}`);
    else words.push(`\\\n  -H ${quoted(`Content-Type: ${mediaType}`)} --data-binary ${typeof value === "string" ? quoted(value) : "@FILE"}`);
  }
  return words.join(" ");
}

/** The media type of a body that a command shows: JSON or CSV, or else the first. */
function shownBody(content) {
  const entries = Object.entries(content);
  const known = ["application/json", "text/csv"].map((wanted) => entries.find(([mediaType]) => mediaType === wanted));
  return known.find(Boolean) ?? entries[0];
}

/** A word that a shell takes as it is. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function copyable(title, text) {
  const code = element("pre", null, text);
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(code)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return [element("h3", null, title), element("div", { class: "copyable" }, code, button)];
}

/** Whether the text was copied; browsers offer the clipboard to https and loopback pages only, so it is selected as well. */
async function copied(code) {
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    return false;
  }
}

/** What a search looks through: head, description, parameters and bodies, but not the answers, which are much alike. */
function searched(section, entry) {
  const texts = [section.id, entry.id, entry.querySelector("summary").textContent];
  for (const part of entry.querySelectorAll(".body > :not(.response)")) texts.push(part.textContent);
  return texts.join(" ").toLowerCase();
}

/** Leaves the entries that have every word of the search. */
function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hidden = new Set();
  for (const found of main.querySelectorAll("section")) {
    const entries = [...found.querySelectorAll("details.entry")];
    for (const one of entries) {
      const said = searched(found, one);
      one.hidden = !words.every((word) => said.includes(word));
      if (one.hidden) hidden.add(one.id);
    }
    found.hidden = entries.every((one) => one.hidden);
    if (found.hidden) hidden.add(found.id);
  }
  for (const link of document.querySelectorAll("[data-of]")) link.hidden = hidden.has(link.dataset.of);
  document.getElementById("nothing").hidden = [...main.querySelectorAll("section")].some((found) => !found.hidden);
}

function focusSearch(event) {
  if (event.key !== "/" || event.target.matches("input")) return;
  event.preventDefault();
  document.getElementById("search").focus();
}

/** Opens the entry that the address names. */
function showTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) target.open = true;
  target?.scrollIntoView();
}
