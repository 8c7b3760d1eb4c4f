// What the page says when there are no photographs to show: examples, an empty gallery, nothing found, errors.

import { copyText, element, icon, toast } from "./dom.js";
import { address } from "./state.js";
import { T } from "./text.js";

const PHOTO_ICON = ["M4 7a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z", "M4 17l5-5 4 4 3-2.5 4 4", "M9 9.5h.01"];
const SEARCH_ICON = ["M10.5 4a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13", "M15.5 15.5L21 21"];
const ERROR_ICON = ["M12 3.5l9.5 16.5h-19z", "M12 10v4.5", "M12 17.2h.01"];

export class Messages {
  constructor(node) {
    this.node = node;
  }

  hide() {
    this.node.hidden = true;
    this.node.replaceChildren();
  }

  #show(isError, ...children) {
    this.node.classList.toggle("is-error", isError);
    this.node.replaceChildren(...children.filter(Boolean));
    this.node.hidden = false;
  }

  examples() {
    const links = T.examples.map((words) => element("li", {}, element("a", { href: address({ q: words }), "data-go": "" }, words)));
    this.#show(false, element("p", { class: "examples-title" }, T.examplesTitle), element("ul", { class: "examples" }, ...links));
  }

  emptyGallery(command) {
    const copy = element("button", { class: "icon-button", type: "button", title: T.copyCommand, "aria-label": T.copyCommand, onclick: async () => toast(await copyText(command) ? T.copied : T.copyFailed) },
      icon("M9 9h10v11H9z", "M5 15V4h10"));
    this.#show(false, icon(...PHOTO_ICON), element("h2", {}, T.emptyGalleryTitle), element("p", {}, T.emptyGallery),
      element("div", { class: "command" }, element("code", {}, command), copy));
  }

  nothing() {
    this.#show(false, icon(...SEARCH_ICON), element("h2", {}, T.nothingTitle), element("p", {}, T.nothing));
  }

  notice(title, advice) {
    this.#show(true, icon(...ERROR_ICON), element("h2", {}, title), advice ? element("p", {}, advice) : null);
  }

  error(problem, onRetry) {
    const [title, advice] = problem.type === "Unreachable"
      ? [T.unreachableTitle, T.unreachable]
      : T.problems[problem.type] ?? [T.errorTitle, T.errorAdvice];
    const details = [problem.detail, problem.hint].filter(Boolean).join(" ");
    this.#show(true, icon(...ERROR_ICON), element("h2", {}, title), advice ? element("p", {}, advice) : null,
      element("button", { class: "button", type: "button", onclick: onRetry }, T.retry),
      details ? element("details", { open: !(problem.type in T.problems) && problem.type !== "Unreachable" }, element("summary", {}, T.detailsInEnglish), element("p", {}, details)) : null);
  }
}
