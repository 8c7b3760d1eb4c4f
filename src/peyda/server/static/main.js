// Joins the pieces: the address says where the person is, and everything on the page follows from it.

import * as api from "./api.js";
import { byId, element, fillTexts, icon, toast } from "./dom.js";
import { Grid } from "./grid.js";
import { Lightbox } from "./lightbox.js";
import { Messages } from "./messages.js";
import { SearchForm } from "./search-form.js";
import * as state from "./state.js";
import { T } from "./text.js";

const SKELETON_DELAY_MS = 150; // most answers are faster, and a flash of grey is worse than a short wait
const EMPTY_GALLERY_POLL_MS = 4000;
const KEPT_ANSWERS = 20;

fillTexts();

const messages = new Messages(byId("message"));
const grid = new Grid(byId("grid"), {
  address: (hit) => state.address({ ...state.read(), photo: hit.photo_id }),
  onOpen: (hit) => state.openPhoto(hit.photo_id),
  onSimilar: (hit) => showSimilar(hit.photo_id),
});
const lightbox = new Lightbox(byId("lightbox"), {
  onClose: state.leavePhoto,
  onStep: (hit) => state.openPhoto(hit.photo_id),
  onSimilar: showSimilar,
});
const form = new SearchForm({
  onSearch: ({ q, after, before }) => {
    const place = state.read();
    // Changing the dates of a search by photograph keeps the photograph; new words replace it.
    const source = q ? { q } : { like: place.like, image: place.image };
    state.go({ ...source, after, before });
  },
  onImage: (file) => state.go({ image: state.rememberUpload(file) }),
  onRefused: toast,
});

let shown = null; // the place whose results are on screen
let request = null;
let pollTimer = 0;
const answers = new Map(); // of this visit, so that Back shows the same photographs at the same place at once

function showSimilar(id) {
  state.go({ like: String(id) });
  scrollTo({ top: 0 });
}

async function render(place) {
  document.body.dataset.mode = place.mode;
  document.title = titleOf(place);
  form.sync(place);
  if (!shown || !state.sameResults(shown, place)) await showResults(place);
  showPhoto(state.read());
}

function titleOf({ mode, q }) {
  if (mode === "search") return T.titleFor(q);
  if (mode === "similar") return T.titleFor(T.similarTo);
  return mode === "image" ? T.titleFor(T.similarToUpload) : T.title;
}

function showPhoto(place) {
  if (place.photo) {
    lightbox.show(place.photo, grid.hits);
  } else if (lightbox.isOpen) {
    const last = lightbox.id;
    lightbox.close();
    grid.focusPhoto(last);
  }
}

async function showResults(place) {
  const isMore = shown !== null && place.k > shown.k && state.sameResults({ ...shown, k: place.k }, place);
  shown = place;
  request?.abort();
  clearTimeout(pollTimer);
  showContext(place);
  if (place.mode === "home") {
    grid.clear();
    byId("more").hidden = true;
    byId("status").textContent = "";
    await showHome();
    return;
  }
  const kept = answers.get(keyOf(place));
  if (kept) {
    showAnswer(place, kept, isMore);
    return;
  }
  request = new AbortController();
  const { signal } = request;
  const timer = setTimeout(() => {
    byId("status").textContent = T.searching;
    messages.hide();
    if (!isMore) grid.showSkeletons();
  }, SKELETON_DELAY_MS);
  try {
    const answer = await answerOf(place, signal);
    if (signal.aborted || !answer) return;
    remember(place, answer);
    showAnswer(place, answer, isMore);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    if (!(error instanceof api.ApiError)) throw error;
    grid.clear();
    byId("more").hidden = true;
    byId("status").textContent = "";
    messages.error(error.problem, () => { shown = null; render(state.read()); });
  } finally {
    clearTimeout(timer);
  }
}

function answerOf(place, signal) {
  if (place.mode === "search") return api.search(place, signal);
  if (place.mode === "similar") return api.similar(place, signal);
  const file = state.upload(place.image);
  if (file) return api.searchByImage({ ...place, file }, signal);
  grid.clear();
  byId("more").hidden = true;
  byId("status").textContent = "";
  messages.notice(T.uploadLost);
  return null;
}

const keyOf = (place) => `${state.address({ ...place, photo: "" })} ${place.k}`;

function remember(place, answer) {
  answers.delete(keyOf(place));
  answers.set(keyOf(place), answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
}

function showAnswer(place, answer, isMore) {
  const { hits, photos } = answer;
  if (isMore) grid.extend(hits)?.focus({ preventScroll: true });
  else grid.show(hits);
  byId("more").hidden = hits.length < place.k;
  byId("status").textContent = hits.length ? T.found(hits.length, photos) : "";
  if (hits.length) messages.hide();
  else if (photos === 0) showEmptyGallery();
  else messages.nothing();
}

function showContext(place) {
  const bar = byId("context");
  bar.hidden = place.mode !== "similar" && place.mode !== "image";
  if (bar.hidden) {
    bar.replaceChildren();
    return;
  }
  const blank = element("span", { class: "context-blank" }, icon("M4 7a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z", "M4 17l5-5 4 4 3-2.5 4 4"));
  const picture = place.mode === "similar"
    ? element("button", { class: "context-photo", type: "button", "aria-label": T.lightboxLabel, onclick: () => state.openPhoto(place.like) }, element("img", { src: api.thumbnailUrl(place.like, 160), alt: "" }))
    : blank;
  const words = place.mode === "similar" ? T.similarTo : T.similarToUpload;
  bar.replaceChildren(picture, element("h2", {}, words),
    element("a", { class: "icon-button", href: "/", "data-go": "", title: T.clearContext, "aria-label": T.clearContext }, icon("M6 6l12 12", "M18 6L6 18")));
  if (place.mode === "image" && state.upload(place.image)) preview(state.upload(place.image), blank);
}

// Drawn small on a canvas: the page's policy allows no blob: images, and a preview needs none.
async function preview(file, blank) {
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = element("canvas", { width: 128, height: 128 });
    const side = Math.min(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, 128, 128);
    blank.replaceWith(canvas);
  } catch {
    // A format that this browser does not show (HEIC); the server reads it all the same.
  }
}

async function showHome() {
  try {
    const gallery = await api.health();
    byId("gallery-line").textContent = T.galleryLine(gallery.photos, gallery.model.split(/[/\\]/).pop());
    if (state.read().mode !== "home") return;
    if (gallery.photos > 0) messages.examples();
    else showEmptyGallery(gallery);
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    messages.error(error.problem, () => { shown = null; render(state.read()); });
  }
}

async function showEmptyGallery(known = null) {
  const gallery = known ?? await api.health().catch(() => null);
  if (!gallery) return;
  messages.emptyGallery(gallery.index_command);
  pollTimer = setTimeout(async () => {
    const now = await api.health().catch(() => gallery);
    if (now.photos > 0) {
      shown = null;
      answers.clear();
      render(state.read());
    } else {
      showEmptyGallery(now);
    }
  }, EMPTY_GALLERY_POLL_MS);
}

const isTyping = (node) => node instanceof HTMLElement && node.matches("input, textarea, select, [contenteditable]");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || lightbox.isOpen) return;
  if ((event.key === "/" || event.code === "Slash") && !isTyping(event.target)) {
    event.preventDefault();
    form.focus();
  } else if (event.key === "ArrowDown" && event.target === form.query && grid.hits.length) {
    event.preventDefault();
    grid.focusFirst();
  } else if (event.key === "ArrowDown" && event.target === document.body && grid.hits.length) {
    event.preventDefault();
    grid.focusFirst();
  }
});

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-go], a.brand");
  if (!link || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const given = new URL(link.href).searchParams;
  state.go({ q: given.get("q") ?? "" });
  form.focus();
});

byId("more").addEventListener("click", () => {
  const place = state.read();
  state.replace({ ...place, k: place.k + state.PAGE_SIZE });
});

state.onChange(render);
render(state.read());
// On a phone the keyboard would cover the photographs that a shared address shows.
if (!state.read().photo && (state.read().mode === "home" || !matchMedia("(pointer: coarse)").matches)) form.query.focus({ preventScroll: true });
if (state.read().mode !== "home") {
  api.health().then((gallery) => { byId("gallery-line").textContent = T.galleryLine(gallery.photos, gallery.model.split(/[/\\]/).pop()); }, () => {});
}
