// Where the person is, as the address says it. Everything that can be shared or gone back to lives in the URL:
//   /?q=…&after=…&before=…    a search by words        /?like=ID    photographs similar to one of the gallery
//   /?image=N                 a search by a photograph that was dropped (kept in memory only)
//   …&photo=ID                that photograph is open in the lightbox
// k (how many are shown) is kept in the history entry, so that Back returns to the same place.

export const PAGE_SIZE = 60;

const uploads = new Map();

export function rememberUpload(file) {
  const token = String(uploads.size + 1);
  uploads.set(token, file);
  return token;
}

export const upload = (token) => uploads.get(token) ?? null;

const isId = (text) => /^\d{1,18}$/.test(text ?? "");
const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text ?? "");

export function read() {
  const given = new URLSearchParams(location.search);
  const place = {
    q: (given.get("q") ?? "").trim(),
    like: isId(given.get("like")) ? given.get("like") : "",
    image: isId(given.get("image")) ? given.get("image") : "",
    after: isDay(given.get("after")) ? given.get("after") : "",
    before: isDay(given.get("before")) ? given.get("before") : "",
    photo: isId(given.get("photo")) ? given.get("photo") : "",
    k: history.state?.k ?? PAGE_SIZE,
  };
  return { ...place, mode: modeOf(place) };
}

function modeOf({ q, like, image }) {
  if (like) return "similar";
  if (image) return "image";
  return q ? "search" : "home";
}

export function address({ q = "", like = "", image = "", after = "", before = "", photo = "" }) {
  const given = Object.entries({ q, like, image, after, before, photo }).filter(([, value]) => value);
  return given.length ? `/?${new URLSearchParams(given)}` : "/";
}

// The part that decides which photographs are shown; opening one of them does not change it.
export const sameResults = (a, b) => ["q", "like", "image", "after", "before", "k"].every((key) => a[key] === b[key]);

let listener = () => {};

export function onChange(callback) {
  listener = callback;
  addEventListener("popstate", () => listener(read()));
}

export function go(place) {
  history.pushState({ k: place.k ?? PAGE_SIZE, fromPage: true }, "", address(place));
  listener(read());
}

export function replace(place) {
  history.replaceState({ ...history.state, k: place.k ?? PAGE_SIZE }, "", address(place));
  listener(read());
}

// Closing what this page opened goes back; what came with a shared address is closed by replacing it.
export function leavePhoto() {
  const place = read();
  if (history.state?.fromPage && history.state?.opened) history.back();
  else replace({ ...place, photo: "" });
}

export function openPhoto(id) {
  const place = { ...read(), photo: String(id) };
  if (read().photo) {
    history.replaceState(history.state, "", address(place));
  } else {
    history.pushState({ k: place.k, fromPage: true, opened: true }, "", address(place));
  }
  listener(read());
}
