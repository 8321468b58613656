// A history as a timeline, newest first: the pauses between events to see, repeats marked.

import { byId, element, isolated } from "./dom.js";
import { nameOf } from "./recommendations.js";
import { WORDS } from "./strings.js";

const PAGE = 50; // events at first, and more at each request for older ones
const TOLD = 60; // seconds: a shorter pause is not told in words
const [NEAR, PER_DECADE, FAR] = [6, 7, 64]; // pixels between two events: at least, for each power of ten seconds, at most

export class Timeline {
  #place = byId("history");
  #older;

  /** older(limit): called when the reader asks for older events. */
  constructor(older) {
    this.#older = older;
  }

  /** How many events to ask for at first. */
  static get page() {
    return PAGE;
  }

  /** events: oldest first, the last of a history of `length`; unit: "us", or else times are in seconds. */
  show({ events, length, time_unit: unit }) {
    if (length === 0) {
      this.#place.replaceChildren(element("p", { class: "quiet" }, WORDS.history.empty));
      return;
    }
    const size = unit === "us" ? 1e-6 : 1;
    const rows = repeats(events).map(([event, nth], place) => {
      const pause = place === 0 ? 0 : (event.time - events[place - 1].time) * size;
      return row(event, nth, pause, event.time * size, events.length === length);
    });
    const list = element("ol", { class: "timeline", reversed: true, tabindex: "0", "aria-labelledby": "history-title" });
    list.append(...rows.reverse());
    this.#place.replaceChildren(list, ...this.#rest(length - events.length, events.length));
  }

  #rest(missing, shown) {
    if (missing <= 0) return [];
    const button = element("button", { type: "button", class: "plain" }, WORDS.history.older);
    button.addEventListener("click", () => this.#older(shown + PAGE));
    return [element("p", { class: "rest quiet small" }, WORDS.history.rest(missing), " ", button)];
  }
}

/** Each event with how many times its item has come by then, from 1. */
function repeats(events) {
  const times = new Map();
  return events.map((event) => {
    const nth = (times.get(event.item) ?? 0) + 1;
    times.set(event.item, nth);
    return [event, nth];
  });
}

function row(event, nth, pause, seconds, whole) {
  const what = element("div", { class: "what" }, element("span", { class: "title" }, isolated(nameOf(event))));
  if (nth > 1) {
    what.append(" ", element("span", { class: "again" }, whole ? WORDS.history.nth(nth) : WORDS.history.again));
  }
  const date = new Date(seconds * 1000);
  if (!Number.isNaN(date.getTime())) {
    what.append(element("time", { class: "quiet small", datetime: date.toISOString() }, WORDS.history.when(date)));
  }
  const between = element("div", { class: "pause quiet small" });
  if (pause >= TOLD) between.append(WORDS.history.later(pause));
  between.style.minHeight = `${Math.min(FAR, NEAR + PER_DECADE * Math.log10(1 + Math.max(0, pause)))}px`;
  return element("li", {}, what, between);
}
