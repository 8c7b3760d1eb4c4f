// Making elements without innerHTML: file names and queries are only ever text.

import { T } from "./text.js";

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(...paths) {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("viewBox", "0 0 24 24");
  node.setAttribute("class", "icon");
  node.setAttribute("aria-hidden", "true");
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    node.append(path);
  }
  return node;
}

// Fills the static page: data-text (content), data-text-label, data-text-placeholder, data-text-title.
export function fillTexts(root = document) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = T[node.dataset.text];
  const attributes = { textLabel: "aria-label", textPlaceholder: "placeholder", textTitle: "title" };
  for (const [key, attribute] of Object.entries(attributes)) {
    const selector = `[data-${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
    for (const node of root.querySelectorAll(selector)) node.setAttribute(attribute, T[node.dataset[key]]);
  }
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not a secure context (a phone on the local network), or refused
  }
}

const toastNode = element("div", { class: "toast", role: "status", id: "toast" });
let toastTimer = 0;

export function toast(words) {
  // Inside an open dialog, since everything outside it is covered and silent.
  (document.querySelector("dialog[open]") ?? document.body).append(toastNode);
  toastNode.textContent = words;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toastNode.remove(), 2400);
}
