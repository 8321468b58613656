// The list of recommended items: where each came from in the list before, and what each owes to which branch.

import { byId, drawn, element, isolated, still, unseen } from "./dom.js";
import { WORDS } from "./strings.js";

const MOVING = { duration: 450, easing: "cubic-bezier(.2, .7, .2, 1)" };
const [WIDTH, BAR] = [120, 7]; // of an item's chart, in units of its view box
const LEAST = Math.log(2); // half the chart's width stands for this factor at least

/** An item's name: its title, or its id where it has none. */
export const nameOf = ({ item, title }) => title ?? String(item);

export class Recommendations {
  #list = byId("list");
  #note = byId("list-note");
  #key = byId("list-key");
  #rows = new Map(); // item -> its element
  #places = null; // item -> its place in the list before, null before there is one

  /** pick(item): what a click on an item does. */
  constructor(pick) {
    this.#list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button !== null) pick({ item: button.dataset.item, title: button.dataset.title ?? null });
    });
  }

  /** Forget the list, so that the next one has not moved. */
  clear() {
    this.#list.replaceChildren();
    this.#note.textContent = "";
    this.#key.hidden = true;
    this.#rows.clear();
    this.#places = null;
  }

  set busy(busy) {
    this.#list.setAttribute("aria-busy", String(busy));
  }

  /** Show the items, best first; returns how many have moved up, moved down, and are new. */
  show(items, { cold }) {
    this.#note.textContent = items.length === 0 ? WORDS.list.empty : cold ? WORDS.list.cold : "";
    const before = this.#tops();
    const focused = document.activeElement?.closest?.("#list li")?.dataset.place;
    const moved = { up: 0, down: 0, fresh: 0 };
    const rows = new Map();
    for (const [place, item] of items.entries()) {
      const row = this.#rows.get(String(item.item)) ?? newRow(item);
      const from = this.#places?.get(String(item.item));
      row.dataset.place = place;
      row.querySelector(".rank").textContent = place + 1;
      row.querySelector(".move").replaceChildren(...this.#movement(from, place, moved));
      rows.set(String(item.item), row);
    }
    this.#list.replaceChildren(...rows.values());
    this.#rows = rows;
    this.#places = new Map([...rows.keys()].map((item, place) => [item, place]));
    if (focused !== undefined) this.#focus(Number(focused));
    this.#move(before);
    return moved;
  }

  /** Say what each item owes to what; an item that is not in the list is left out. */
  explain(items) {
    const rows = items.filter(({ item }) => this.#rows.has(String(item)));
    const logs = rows.flatMap((row) => [gain(row, "without_long_term"), gain(row, "without_short_term")]);
    const most = Math.max(LEAST, ...logs.map(Math.abs));
    for (const [item, row] of this.#rows) {
      const explained = rows.find((one) => String(one.item) === item);
      row.querySelector(".effects").replaceChildren(...(explained ? effects(explained, most) : []));
      row.querySelector(".notes").replaceChildren(...(explained ? notes(explained) : []));
    }
    this.#key.hidden = rows.length === 0;
  }

  #movement(from, place, moved) {
    if (this.#places === null) return [];
    if (from === undefined) {
      moved.fresh += 1;
      return [sign("fresh", WORDS.list.freshSign, WORDS.list.fresh)];
    }
    if (from === place) return [sign("same", "–", WORDS.list.same)];
    const [way, arrow] = from > place ? ["up", "▲"] : ["down", "▼"];
    const places = Math.abs(from - place);
    moved[way] += 1;
    return [sign(way, `${arrow}\u202f${places}`, WORDS.list[way](places))];
  }

  #focus(place) {
    const buttons = this.#list.querySelectorAll("button");
    (buttons[Math.min(place, buttons.length - 1)] ?? byId("list-title")).focus({ preventScroll: true });
  }

  #tops() {
    return new Map([...this.#rows].map(([item, row]) => [item, row.getBoundingClientRect().top]));
  }

  #move(before) {
    if (still() || before.size === 0) return;
    for (const [item, row] of this.#rows) {
      const shift = before.has(item) ? before.get(item) - row.getBoundingClientRect().top : null;
      if (shift === null) row.animate([{ opacity: 0, transform: "translateX(1.5rem)" }, {}], MOVING);
      else if (shift !== 0) row.animate([{ transform: `translateY(${shift}px)` }, {}], MOVING);
    }
  }
}

function newRow(item) {
  const name = nameOf(item);
  const button = element(
    "button",
    { type: "button", "data-item": item.item, "data-title": item.title, "aria-label": WORDS.list.pick(name) },
    isolated(name),
  );
  return element(
    "li",
    {},
    element("span", { class: "rank", "aria-hidden": "true" }),
    element("span", { class: "move" }),
    element("div", { class: "what" }, button, element("p", { class: "notes quiet small" })),
    element("div", { class: "effects" }),
  );
}

const sign = (way, shown, said) =>
  element("span", { class: `sign ${way}` }, element("span", { "aria-hidden": "true" }, shown), unseen(said));

/** The logarithm of how many times as likely an item is as in a reading without something. */
export const gain = (item, without) => item.chance.log_probability - item[without].log_probability;

function effects(item, most) {
  const both = [
    ["long", WORDS.branches.long, "without_long_term"],
    ["short", WORDS.branches.short, "without_short_term"],
  ];
  return both.map(([kind, branch, without]) => {
    const log = gain(item, without);
    const ratio = Math.exp(log);
    return element(
      "div",
      { class: `effect ${kind}` },
      bar(log / most),
      element("span", { "aria-hidden": "true" }, WORDS.list.effect(ratio)),
      unseen(WORDS.list.effectInWords(branch, ratio, item[without].place)),
    );
  });
}

/** A bar from the middle: to the right what lifts, to the left what lowers; `share` from -1 to 1. */
function bar(share) {
  const length = (Math.abs(share) * WIDTH) / 2;
  return drawn(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${BAR + 4}`, "aria-hidden": "true", class: "bar", preserveAspectRatio: "none" },
    drawn("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: BAR + 4, class: "middle" }),
    drawn("rect", { x: share < 0 ? WIDTH / 2 - length : WIDTH / 2, y: 2, width: length, height: BAR, rx: 1 }),
  );
}

function notes({ item_bias: popularity, repeat_bias: repeated }) {
  const parts = [];
  if (popularity !== 0) parts.push(WORDS.list.popularity(Math.exp(popularity)));
  if (repeated !== 0) parts.push(WORDS.list.repeated(Math.exp(repeated)));
  return parts.map((part) => element("span", {}, part));
}
