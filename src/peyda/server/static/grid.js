// The grid of photographs: tiles of the right shape before their pictures arrive, and movement by keyboard.

import { thumbnailUrl } from "./api.js";
import { element, icon } from "./dom.js";
import { score, T } from "./text.js";

const NARROWEST = 0.5;
const WIDEST = 3.2; // panoramas are cropped in the grid; the lightbox shows them whole
const SKELETON_RATIOS = [1.5, 0.75, 1.33, 1.5, 1, 1.78, 0.67, 1.5, 1.33, 0.8, 1.5, 1.2];

export const ratioOf = ({ width_px: width, height_px: height }) => (width > 0 && height > 0 ? width / height : 1);
export const fileName = (path) => path.split(/[/\\]/).pop() || path;
export const SIMILAR_ICON = ["M4 8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z", "M8 3h9a3 3 0 0 1 3 3v8"];

const clampedRatio = (hit) => Math.min(WIDEST, Math.max(NARROWEST, ratioOf(hit)));

export class Grid {
  // `address(hit)` is where a tile leads; `onOpen(hit)` and `onSimilar(hit)` do it without leaving the page.
  #column = null;

  constructor(list, { address, onOpen, onSimilar }) {
    this.list = list;
    this.hits = [];
    this.address = address;
    this.onOpen = onOpen;
    this.onSimilar = onSimilar;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("pointerdown", () => { this.#column = null; });
    list.addEventListener("focusin", (event) => this.#markActive(event.target.closest(".tile")));
  }

  clear() {
    this.hits = [];
    this.list.replaceChildren();
  }

  showSkeletons() {
    this.hits = [];
    this.list.replaceChildren(...SKELETON_RATIOS.map((ratio) => {
      const item = element("li", { "aria-hidden": "true" }, element("div", { class: "skeleton" }));
      item.style.setProperty("--ratio", String(ratio));
      return item;
    }));
  }

  show(hits) {
    this.hits = hits;
    this.list.replaceChildren(...hits.map((hit) => this.#item(hit)));
    this.#markActive(this.tiles[0]);
  }

  // Adds what is new; what is already on screen stays as it is. Returns the first new tile.
  extend(hits) {
    const known = new Set(this.hits.map((hit) => hit.photo_id));
    const fresh = hits.filter((hit) => !known.has(hit.photo_id));
    const start = this.hits.length;
    this.hits = [...this.hits, ...fresh];
    this.list.append(...fresh.map((hit) => this.#item(hit)));
    return this.tiles[start] ?? null;
  }

  get tiles() {
    return [...this.list.querySelectorAll(".tile")];
  }

  focusFirst() {
    this.tiles[0]?.focus();
  }

  focusPhoto(id) {
    const tile = this.list.querySelector(`.tile[data-id="${id}"]`);
    tile?.focus({ preventScroll: true });
    tile?.scrollIntoView({ block: "nearest" });
  }

  #item(hit) {
    const picture = element("img", { src: thumbnailUrl(hit.photo_id, devicePixelRatio > 1 ? 640 : 320), alt: "", loading: "lazy", decoding: "async", class: "is-arriving", draggable: "false" });
    const label = T.photoLabel(hit.rank, fileName(hit.path), score(hit.score));
    const tile = element("a", { class: "tile", href: this.address(hit), "aria-label": label, "aria-keyshortcuts": "Enter S", "data-id": String(hit.photo_id), tabIndex: -1 },
      picture, element("span", { class: "score", title: T.scoreTitle, "aria-hidden": "true" }, score(hit.score)));
    picture.addEventListener("load", () => picture.classList.remove("is-arriving"));
    picture.addEventListener("error", () => {
      tile.classList.add("is-broken");
      tile.prepend(element("span", {}, element("bdi", {}, fileName(hit.path)), element("br"), T.brokenPhoto));
    });
    tile.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.onOpen(hit);
    });
    const similar = element("button", { class: "tile-similar", type: "button", title: T.similar, "aria-label": T.similar, tabIndex: -1, onclick: () => this.onSimilar(hit) }, icon(...SIMILAR_ICON));
    const item = element("li", {}, tile, similar);
    item.style.setProperty("--ratio", clampedRatio(hit).toFixed(4));
    return item;
  }

  // One tile at a time is a tab stop; arrows move between them.
  #markActive(tile) {
    if (!tile) return;
    for (const other of this.list.querySelectorAll('.tile[tabindex="0"]')) other.tabIndex = -1;
    tile.tabIndex = 0;
  }

  #key(event) {
    const tile = event.target.closest(".tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    const hit = this.hits.find((candidate) => String(candidate.photo_id) === tile.dataset.id);
    if (event.code === "KeyS" && hit) { // by position, so that it works in a Persian keyboard layout too
      event.preventDefault();
      this.onSimilar(hit);
      return;
    }
    const isVertical = event.key === "ArrowDown" || event.key === "ArrowUp";
    // Going down and up again leads back: the column is that of the tile where the way up or down began.
    this.#column = isVertical ? this.#column ?? middleOf(tile) : null;
    const target = this.#target(tile, event.key);
    if (target) {
      event.preventDefault();
      target.focus({ preventScroll: true });
      target.scrollIntoView({ block: "nearest" });
    }
  }

  #target(tile, key) {
    const tiles = this.tiles;
    const index = tiles.indexOf(tile);
    const isRtl = getComputedStyle(this.list).direction === "rtl";
    switch (key) {
      case "ArrowLeft": return tiles[index + (isRtl ? 1 : -1)];
      case "ArrowRight": return tiles[index + (isRtl ? -1 : 1)];
      case "Home": return tiles[0];
      case "End": return tiles.at(-1);
      case "ArrowDown": return nearestInRow(tile, tiles.slice(index + 1), this.#column);
      case "ArrowUp": return nearestInRow(tile, tiles.slice(0, index).reverse(), this.#column);
      default: return undefined;
    }
  }
}

function middleOf(tile) {
  const box = tile.getBoundingClientRect();
  return box.left + box.width / 2;
}

// The tile of the next row (in the order given) whose middle is closest to `column`.
function nearestInRow(from, candidates, column) {
  const box = from.getBoundingClientRect();
  let best;
  let bestDistance = Infinity;
  let row = null;
  for (const candidate of candidates) {
    const other = candidate.getBoundingClientRect();
    if (Math.abs(other.top - box.top) < 2) continue;
    row ??= other.top;
    if (Math.abs(other.top - row) >= 2) break;
    const distance = Math.abs(other.left + other.width / 2 - column);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}
