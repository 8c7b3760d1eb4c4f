// One photograph, large: what is known of it, and the ways on from it.

import * as api from "./api.js";
import { copyText, element, icon, toast } from "./dom.js";
import { fileName, ratioOf, SIMILAR_ICON } from "./grid.js";
import { dimensions, fileSize, number, score, T, takenAt } from "./text.js";

const LARGE_PX = 1280;
const LARGEST_PX = 2560;
const SWIPE_PX = 50;

export class Lightbox {
  // onClose(), onStep(hit), onSimilar(id): what the page does about it.
  constructor(dialog, { onClose, onStep, onSimilar }) {
    this.dialog = dialog;
    this.onClose = onClose;
    this.onStep = onStep;
    this.onSimilar = onSimilar;
    this.hits = [];
    this.id = null;
    this.request = null;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault(); // the address decides whether it is open
      this.onClose();
    });
    dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#followSwipes();
  }

  get isOpen() {
    return this.dialog.open;
  }

  // `hits` are the results around it (may be empty: a shared address); `id` is the photograph.
  show(id, hits) {
    if (this.isOpen && this.id === id && this.hits === hits) return;
    this.id = id;
    this.hits = hits;
    this.request?.abort();
    this.request = new AbortController();
    const hit = hits.find((candidate) => String(candidate.photo_id) === id) ?? null;
    if (hit) this.#render({ ...hit, id: hit.photo_id }, hit);
    if (!this.isOpen) this.dialog.showModal();
    this.#keepFocusInside();
    this.#loadDetails(id, hit, this.request.signal);
  }

  close() {
    this.request?.abort();
    this.id = null;
    if (this.isOpen) this.dialog.close();
    this.dialog.replaceChildren();
  }

  async #loadDetails(id, hit, signal) {
    try {
      const photo = await api.photo(id, signal);
      if (this.id !== id) return;
      if (hit) this.dialog.querySelector("dl")?.replaceWith(facts(photo, hit));
      else this.#render(photo, null);
      this.#keepFocusInside();
    } catch (error) {
      if (error.name === "AbortError" || this.id !== id || hit) return;
      const [title, advice] = T.problems[error.problem?.type] ?? [T.errorTitle, error.problem?.detail ?? ""];
      this.dialog.replaceChildren(
        element("div", { class: "stage" }, element("p", { class: "frame-note" }, title, element("br"), advice)),
        element("div", { class: "panel" }, element("div", { class: "panel-top" }, element("span"), this.#closeButton())));
      this.#keepFocusInside();
    }
  }

  #keepFocusInside() {
    if (this.dialog === document.activeElement || !this.dialog.contains(document.activeElement)) {
      this.dialog.querySelector(".close")?.focus({ preventScroll: true });
    }
  }

  #closeButton() {
    return element("button", { class: "icon-button close", type: "button", "data-control": "close", autofocus: "", title: T.close, "aria-label": T.close, "aria-keyshortcuts": "Escape", onclick: () => this.onClose() }, icon("M6 6l12 12", "M18 6L6 18"));
  }

  #neighbour(step) {
    const index = this.hits.findIndex((hit) => String(hit.photo_id) === this.id);
    return index < 0 ? undefined : this.hits[index + step];
  }

  #step(step) {
    const hit = this.#neighbour(step);
    if (hit) this.onStep(hit);
  }

  #render(photo, hit) {
    const name = fileName(photo.path);
    const held = document.activeElement?.dataset?.control; // stepping must not move the focus elsewhere
    const position = hit ? T.position(hit.rank, this.hits.length) : "";
    this.dialog.replaceChildren(
      this.#stage(photo, name),
      element("div", { class: "panel" },
        element("div", { class: "panel-top" }, element("span", { class: "position" }, position), this.#closeButton()),
        element("h2", {}, element("bdi", {}, name)),
        facts(photo, hit),
        element("div", { class: "panel-actions" },
          element("button", { class: "button similar", type: "button", "data-control": "similar", "aria-keyshortcuts": "S", onclick: () => this.onSimilar(photo.id) }, icon(...SIMILAR_ICON), T.similar),
          element("button", { class: "button quiet copy-path", type: "button", "data-control": "copy-path", onclick: async () => toast(await copyText(photo.path) ? T.copied : T.copyFailed) }, T.copyPath),
          element("a", { class: "button quiet", href: api.fileUrl(photo.id), target: "_blank", rel: "noopener" }, T.openFile))));
    if (held) this.dialog.querySelector(`[data-control="${held}"]`)?.focus({ preventScroll: true });
    for (const step of [1, -1]) {
      const neighbour = this.#neighbour(step);
      if (neighbour) new Image().src = api.thumbnailUrl(neighbour.photo_id, largeSize());
    }
  }

  #stage(photo, name) {
    const picture = element("img", { alt: name, class: "is-arriving", decoding: "async", draggable: "false" });
    const frame = element("div", { class: "frame" }, picture);
    frame.style.setProperty("--ratio", ratioOf(photo).toFixed(5));
    frame.style.setProperty("--natural", `${Math.max(photo.width_px, 480)}px`);
    frame.style.backgroundImage = `url("${api.thumbnailUrl(photo.id, 320)}")`; // there already, so nothing flashes
    picture.addEventListener("load", () => picture.classList.remove("is-arriving"));
    picture.addEventListener("error", () => {
      picture.remove();
      const [title, advice] = T.problems.PhotoVanished;
      frame.append(element("p", { class: "frame-note" }, title, element("br"), advice));
    });
    picture.src = api.thumbnailUrl(photo.id, largeSize());
    const stage = element("div", { class: "stage" }, frame);
    stage.addEventListener("click", (event) => { if (event.target === stage) this.onClose(); });
    if (this.#neighbour(-1)) stage.append(this.#stepButton("previous", T.previous, -1, "M9 5l7 7-7 7"));
    if (this.#neighbour(1)) stage.append(this.#stepButton("next", T.next, 1, "M15 5l-7 7 7 7"));
    return stage;
  }

  #stepButton(name, words, step, path) {
    return element("button", { class: `step ${name}`, type: "button", title: words, "aria-label": words, "data-control": name, onclick: () => this.#step(step) }, icon(path));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // Right-to-left: what comes next lies to the left.
    if (event.key === "ArrowLeft") this.#step(1);
    else if (event.key === "ArrowRight") this.#step(-1);
    else if (event.code === "KeyS" && this.id) this.onSimilar(this.id);
    else return;
    event.preventDefault();
  }

  #followSwipes() {
    let start = null;
    this.dialog.addEventListener("touchstart", (event) => {
      start = event.touches.length === 1 && event.target.closest(".stage") ? event.touches[0] : null;
    }, { passive: true });
    this.dialog.addEventListener("touchend", (event) => {
      if (!start) return;
      const end = event.changedTouches[0];
      const [dx, dy] = [end.clientX - start.clientX, end.clientY - start.clientY];
      start = null;
      if (Math.abs(dx) > SWIPE_PX && Math.abs(dx) > 2 * Math.abs(dy)) this.#step(dx > 0 ? 1 : -1);
    });
  }
}

const largeSize = () => (Math.max(innerWidth, innerHeight) * devicePixelRatio > LARGE_PX * 1.25 ? LARGEST_PX : LARGE_PX);

function facts(photo, hit) {
  const list = element("dl");
  const add = (term, ...content) => list.append(element("div", {}, element("dt", {}, term), element("dd", {}, ...content)));
  const taken = takenAt(photo.taken_at);
  if (taken) {
    const words = [taken.gregorian, taken.clock].filter(Boolean).join("، ");
    add(T.taken, taken.jalali, element("small", {}, words), photo.taken_from === "file" ? element("small", {}, T.fromFileDate) : null);
  }
  if (photo.width_px > 0) {
    const details = [photo.size_bytes ? fileSize(photo.size_bytes) : "", photo.format ?? ""].filter(Boolean).join(" · ");
    add(T.size, element("bdi", { dir: "ltr" }, dimensions(photo.width_px, photo.height_px)), element("small", {}, details));
  }
  if (typeof photo.latitude === "number" && typeof photo.longitude === "number") {
    add(T.place, element("bdi", { dir: "ltr" }, `${number(photo.latitude)}, ${number(photo.longitude)}`));
  }
  if (hit) add(T.scoreLabel, score(hit.score));
  add(T.path, element("bdi", { class: "path" }, photo.path));
  list.lastChild.classList.add("wide");
  return list;
}
