// Shows a JSON schema: for each value its name, type, limits, default and meaning, with what is inside to unfold.

/** An element with attributes and children; texts become text nodes, so nothing is ever read as HTML. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** A text whose words between backticks are code. */
export function prose(text) {
  const pieces = (text ?? "").trim().split("`");
  return pieces.map((piece, index) => (index % 2 === 1 ? element("code", null, piece) : piece));
}

/** A value as JSON in lines: what fits a line stays on one. */
export function json(value, indent = "") {
  const flat = inLine(value);
  if (indent.length + flat.length <= 76 || value === null || typeof value !== "object") return flat;
  const deeper = indent + "  ";
  const lines = Array.isArray(value)
    ? value.map((one) => deeper + json(one, deeper))
    : Object.entries(value).map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${json(one, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

function inLine(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(inLine).join(", ")}]`;
  const fields = Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${inLine(one)}`);
  return `{${fields.join(", ")}}`;
}

/** What a reference of the contract leads to, with the name of the component. */
export function resolved(contract, value) {
  let name = null;
  let found = value;
  while (found?.$ref) {
    const steps = found.$ref.slice(2).split("/");
    name = steps.at(-1);
    found = steps.reduce((at, step) => at[step.replaceAll("~1", "/").replaceAll("~0", "~")], contract);
  }
  return { name, value: found };
}

/** The lines of a schema's own type and, under it, those of its parts. */
export function schemaView(contract, schema) {
  const { value } = flattened(contract, schema);
  const parts = partsOf(contract, value);
  const whole = [type(contract, schema), ...facts(value), meaning(value)];
  return element("div", { class: "schema" }, element("p", null, whole), list(contract, parts));
}

/** A schema with its reference followed, and the one under `allOf` laid under it. */
function flattened(contract, schema) {
  const { name, value } = resolved(contract, schema);
  if (value?.allOf?.length !== 1) return { name, value: value ?? {} };
  const base = flattened(contract, value.allOf[0]);
  const { allOf, ...own } = value;
  return { name: name ?? base.name, value: { ...base.value, ...own } };
}

function list(contract, parts) {
  return parts.length === 0 ? null : element("ul", null, parts.map((part) => item(contract, part)));
}

function item(contract, { label, schema, required }) {
  const { value } = flattened(contract, schema);
  const line = [
    label && element("code", { class: "name" }, label),
    required && element("span", { class: "required" }, "required"),
    type(contract, schema),
    ...facts(value),
    meaning(value),
  ].filter(Boolean);
  const parts = partsOf(contract, value);
  if (parts.length === 0) return element("li", null, line);
  return element("li", null, element("details", null, element("summary", null, line), list(contract, parts)));
}

/** The parts of a schema that are worth a line: properties, rows of objects, alternatives. */
function partsOf(contract, value) {
  const properties = Object.entries(value.properties ?? {}).map(([label, schema]) => ({
    label,
    schema,
    required: value.required?.includes(label),
  }));
  const choices = value.oneOf ?? value.anyOf ?? [];
  const alternatives = choices.some((one) => one.type || one.$ref || one.allOf) ? choices : [];
  const simple = alternatives.every((one) => partsOf(contract, flattened(contract, one).value).length === 0);
  const entries = simple ? [] : alternatives.map((schema) => ({ schema }));
  const inside = value.items ?? (typeof value.additionalProperties === "object" ? value.additionalProperties : null);
  const nested = inside ? partsOf(contract, flattened(contract, inside).value) : [];
  return [...properties, ...entries, ...nested];
}

function type(contract, schema) {
  return element("span", { class: "type" }, words(contract, schema));
}

function words(contract, schema) {
  const { name, value } = flattened(contract, schema);
  if (value.const !== undefined) return JSON.stringify(value.const);
  if (value.enum) return value.enum.map((word) => JSON.stringify(word)).join(" | ");
  const choices = value.oneOf ?? value.anyOf;
  if (choices?.some((one) => one.type || one.$ref || one.allOf || one.const !== undefined)) {
    if (choices.length > 6) return name ?? "one of";
    return choices.map((one) => words(contract, one)).join(" | ");
  }
  if (value.type === "array") return `array of ${words(contract, value.items ?? {})}`;
  if (value.type === "object" && typeof value.additionalProperties === "object")
    return `object of ${words(contract, value.additionalProperties)}`;
  const kind = [value.type].flat().filter(Boolean).join(" | ") || "any";
  return kind === "object" && name ? name : value.format ? `${kind} (${value.format})` : kind;
}

/** Limits, pattern and default. */
function facts(value) {
  const span = (low, high, word) => {
    if (low === undefined && high === undefined) return null;
    if (low === high) return `${word}exactly ${number(low)}`;
    if (high === undefined) return `${word}at least ${number(low)}`;
    if (low === undefined) return `${word}at most ${number(high)}`;
    return `${word}${number(low)} to ${number(high)}`;
  };
  const said = [
    span(value.minimum, value.maximum, ""),
    value.exclusiveMinimum !== undefined && `above ${value.exclusiveMinimum}`,
    value.exclusiveMaximum !== undefined && `below ${value.exclusiveMaximum}`,
    span(value.minLength, value.maxLength, "characters: "),
    span(value.minItems, value.maxItems, "entries: "),
    span(value.minProperties, value.maxProperties, "fields: "),
    value.pattern && `pattern ${value.pattern}`,
    value.default !== undefined && `default ${inLine(value.default)}`,
  ];
  return said.filter(Boolean).map((text) => element("span", { class: "fact" }, text));
}

/** A number for people: scripts cannot hold those beyond 2⁵³ exactly. */
function number(value) {
  const powers = { [2 ** 63]: "2⁶³ − 1", [2 ** 64]: "2⁶⁴ − 1" };
  return powers[value] ?? value.toLocaleString("en");
}

function meaning(value) {
  return value.description ? element("span", { class: "meaning" }, prose(value.description)) : null;
}
