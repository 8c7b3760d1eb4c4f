// Draws /openapi.json as a page where every address can be read about and tried.

import { byId, element } from "./dom.js";

const METHODS = ["get", "post", "put", "delete"];

function resolve(schema, document_) {
  const name = schema?.$ref?.split("/").pop();
  return name ? { ...document_.components.schemas[name], name } : schema ?? {};
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((name) => name !== "null").join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items ?? {})}[]`;
  return schema.type ?? "any";
}

function parameterRow(parameter) {
  const example = parameter.schema.examples?.[0] ?? parameter.schema.default ?? "";
  const input = element("input", { name: parameter.name, "data-in": parameter.in, dir: "auto", "aria-label": parameter.name, placeholder: parameter.required ? "required" : "", value: String(parameter.required || parameter.schema.default !== undefined ? example : "") });
  return element("tr", {},
    element("td", {}, element("code", {}, parameter.name), parameter.required ? " *" : ""),
    element("td", { class: "type" }, typeOf(parameter.schema)),
    element("td", {}, parameter.description ?? parameter.schema.description ?? ""),
    element("td", {}, input));
}

// `words` between backticks, as the descriptions in the code have them.
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function table(headings, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...headings.map((words) => element("th", { scope: "col" }, words)))), element("tbody", {}, ...rows));
}

function replyTables(operation, document_) {
  const schema = operation.responses?.["200"]?.content?.["application/json"]?.schema;
  if (!schema || (!schema.$ref && !schema.properties)) return [];
  const parts = [];
  const pending = [resolve(schema, document_)];
  const seen = new Set();
  while (pending.length) {
    const current = pending.shift();
    if (!current.properties || seen.has(current.name)) continue;
    seen.add(current.name);
    const rows = Object.entries(current.properties).map(([name, property]) => {
      for (const inner of [property, property.items]) if (inner?.$ref) pending.push(resolve(inner, document_));
      return element("tr", {}, element("td", {}, element("code", {}, name)), element("td", { class: "type" }, typeOf(property)), element("td", {}, property.description ?? ""));
    });
    parts.push(table([current.name ?? "answer", "type", "meaning"], rows));
  }
  return [element("p", { class: "replies" }, "Answers with:"), ...parts];
}

function targetOf(path, inputs) {
  let target = path;
  const query = new URLSearchParams();
  for (const input of inputs) {
    if (input.dataset.in === "path") target = target.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(input.name, input.value);
  }
  return [...query].length ? `${target}?${query}` : target;
}

async function run(method, target, body, answer) {
  answer.hidden = false;
  answer.replaceChildren(element("p", { class: "line" }, `${method.toUpperCase()} ${target}`));
  const start = performance.now();
  try {
    const response = await fetch(target, { method, body });
    const type = response.headers.get("content-type") ?? "";
    answer.classList.toggle("is-error", !response.ok);
    answer.firstChild.textContent += ` → ${response.status} · ${type} · ${Math.round(performance.now() - start)} ms`;
    if (type.startsWith("image/")) answer.append(element("img", { src: target, alt: "" }));
    else answer.append(element("pre", { dir: "auto" }, pretty(await response.text())));
  } catch (error) {
    answer.classList.add("is-error");
    answer.append(element("pre", {}, `The server does not answer: ${error.message}`));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function card(path, method, operation, document_) {
  const rows = (operation.parameters ?? []).map(parameterRow);
  const file = operation.requestBody ? element("input", { type: "file", "aria-label": "body" }) : null;
  const answer = element("div", { class: "answer", hidden: true, role: "status" });
  const form = element("form", {}, rows.length ? table(["name", "type", "meaning", "try"], rows) : null,
    file ? element("p", {}, `Body: ${operation.requestBody.description ?? ""} `, file) : null,
    element("p", {}, element("button", { type: "submit" }, "Try it")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(method, targetOf(path, form.querySelectorAll("input[data-in]")), file?.files[0], answer);
  });
  return element("details", { class: "operation" },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()), element("span", { class: "path" }, path), element("span", { class: "what" }, operation.summary ?? "")),
    element("div", { class: "body" }, element("p", {}, ...prose(operation.description ?? "")), form, answer, ...replyTables(operation, document_)));
}

async function draw() {
  const place = byId("operations");
  try {
    const document_ = await (await fetch("/openapi.json")).json();
    byId("title").textContent = `${document_.info.title} API ${document_.info.version}`;
    byId("summary").textContent = document_.info.summary ?? "";
    const cards = Object.entries(document_.paths).flatMap(([path, operations]) =>
      METHODS.filter((method) => operations[method]).map((method) => card(path, method, operations[method], document_)));
    place.replaceChildren(...cards);
    if (cards[0]) cards[1 % cards.length].open = true;
  } catch (error) {
    place.replaceChildren(element("p", {}, `The description could not be read: ${error.message}`));
  }
  place.removeAttribute("aria-busy");
}

draw();
