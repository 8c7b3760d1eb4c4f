// The form at the top: words, dates, and photographs that are chosen, dropped or pasted.

import { byId } from "./dom.js";
import { dayInWords, T } from "./text.js";
import { fromIso, isoDay, readDay } from "./dates.js";

const UPLOAD_LIMIT_BYTES = 64_000_000;
const PHOTO_NAME = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif)$/i;

export class SearchForm {
  // onSearch({ q, after, before }), onImage(file), onRefused(words)
  constructor({ onSearch, onImage, onRefused }) {
    this.query = byId("query");
    this.dates = { after: byId("after"), before: byId("before") };
    this.onSearch = onSearch;
    this.onImage = onImage;
    this.onRefused = onRefused;
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("clear-filters").addEventListener("click", () => {
      for (const input of Object.values(this.dates)) input.value = "";
      this.#submit();
    });
    this.query.addEventListener("input", () => this.#setDirection());
    for (const input of Object.values(this.dates)) input.addEventListener("input", () => this.#explain(input));
    this.#takeFiles();
  }

  // Makes the form say what the address says.
  sync(place) {
    if (this.query.value.trim() !== place.q) this.query.value = place.q;
    this.#setDirection();
    for (const [name, input] of Object.entries(this.dates)) {
      const shown = readDay(input.value);
      if ((shown ? isoDay(shown) : "") !== place[name]) input.value = place[name] ? persianDay(place[name]) : "";
      this.#explain(input);
    }
    const words = [place.after && T.filterAfter(persianDay(place.after)), place.before && T.filterBefore(persianDay(place.before))].filter(Boolean);
    const active = byId("filters-active");
    active.textContent = words.join("، ");
    active.hidden = words.length === 0;
  }

  focus() {
    this.query.focus();
    this.query.select();
  }

  // An empty field with dir=auto would put the cursor on the left.
  #setDirection() {
    this.query.dir = this.query.value.trim() ? "auto" : "rtl";
  }

  #submit() {
    const days = Object.entries(this.dates).map(([name, input]) => [name, readDay(input.value)]);
    const wrong = days.find(([, day]) => day === undefined);
    if (wrong) {
      byId("filters").open = true;
      this.dates[wrong[0]].focus();
      return;
    }
    const filters = Object.fromEntries(days.map(([name, day]) => [name, day ? isoDay(day) : ""]));
    byId("filters").open = false;
    this.onSearch({ q: this.query.value.trim(), ...filters });
  }

  #explain(input) {
    const day = readDay(input.value);
    input.setAttribute("aria-invalid", String(day === undefined));
    byId(`${input.id}-note`).textContent = day === undefined ? T.dateWrong : day ? dayInWords(day) : "";
  }

  #offer(file) {
    if (!file) return;
    if (!file.type.startsWith("image/") && !PHOTO_NAME.test(file.name)) this.onRefused(T.notAnImage);
    else if (file.size > UPLOAD_LIMIT_BYTES) this.onRefused(T.tooLarge);
    else this.onImage(file);
  }

  #takeFiles() {
    const chooser = byId("image-file");
    chooser.addEventListener("change", () => {
      this.#offer(chooser.files[0]);
      chooser.value = "";
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])][0];
      if (!file) return;
      event.preventDefault();
      this.#offer(file);
    });
    const cover = byId("drop-cover");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    let depth = 0;
    addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; cover.hidden = false; } });
    addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth = Math.max(0, depth - 1); cover.hidden = depth === 0; } });
    addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      cover.hidden = true;
      this.#offer(event.dataTransfer.files[0]);
    });
  }
}

const shortDay = new Intl.DateTimeFormat("fa-IR-u-ca-persian", { timeZone: "UTC", year: "numeric", month: "2-digit", day: "2-digit" });
const persianDay = (iso) => shortDay.format(fromIso(iso));
