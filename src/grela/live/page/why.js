// What moved the list, of all its items: the branches behind each layer's gate, and what is left without either.

import { byId, element, isolated, unseen } from "./dom.js";
import { gain, nameOf } from "./recommendations.js";
import { WORDS } from "./strings.js";

const TOLD = 1.05; // a branch that lifts no item by more is not said to lift any

const percent = (share) => Math.round(100 * share);

export class Why {
  #place = byId("why");

  /** explanation: the service's answer; one of a user without events has no layers. */
  show(explanation) {
    if (explanation === null || explanation.layers.length === 0) {
      this.say(WORDS.why.waiting);
      return;
    }
    const { layers, items } = explanation;
    this.#place.replaceChildren(...mean(layers), chart(layers), ...lifts(items));
  }

  /** A sentence in place of an explanation. */
  say(text) {
    this.#place.replaceChildren(element("p", { class: "quiet" }, text));
  }
}

function mean(layers) {
  const heard = layers.filter(({ long_term: long }) => long !== null);
  if (heard.length === 0) return [];
  const long = heard.reduce((sum, layer) => sum + layer.long_term, 0) / heard.length;
  return [element("p", {}, WORDS.why.mostly(percent(long), heard.length))];
}

function chart(layers) {
  return element(
    "div",
    {},
    element(
      "p",
      { class: "key small", "aria-hidden": "true" },
      element("span", { class: "key-long" }, WORDS.branches.long),
      element("span", { class: "key-short" }, WORDS.branches.short),
    ),
    element("ul", { class: "layers" }, ...layers.map(layerRow)),
  );
}

function layerRow({ layer, long_term: long, gate }) {
  const name = element("span", { class: "layer-name", "aria-hidden": "true" }, WORDS.why.layer(layer));
  if (long === null) return element("li", {}, name, element("span", { class: "quiet" }, WORDS.why.silent));
  const bar = element("span", { class: "stack", "aria-hidden": "true" });
  for (const [kind, share] of [["long", long], ["short", 1 - long]]) {
    const part = element("span", { class: kind });
    part.style.flexGrow = share;
    // Room for a number is a fifth of the bar.
    if (share > 1 / 5) part.append(WORDS.why.share(kind === "long" ? percent(long) : 100 - percent(long)));
    bar.append(part);
  }
  const opened = element(
    "span",
    { class: "gate quiet small", "aria-hidden": "true" },
    `${WORDS.why.gate} ${WORDS.why.gateValue(gate)}`,
  );
  return element("li", {}, name, bar, opened, unseen(WORDS.why.layerInWords(layer, percent(long), gate)));
}

function lifts(items) {
  const shown = items.length;
  if (shown === 0) return [];
  const gone = (without) => items.filter((item) => item[without].place > shown).length;
  const paragraphs = [
    element("p", {}, WORDS.why.without(gone("without_long_term"), gone("without_short_term"), shown)),
  ];
  const branches = [
    [WORDS.branches.long, "without_long_term"],
    [WORDS.branches.short, "without_short_term"],
  ];
  for (const [branch, without] of branches) {
    const most = items.reduce((best, item) => (gain(item, without) > gain(best, without) ? item : best));
    const ratio = Math.exp(gain(most, without));
    if (ratio > TOLD) paragraphs.push(sentence(WORDS.why.most(branch, nameOf(most), ratio)));
  }
  return paragraphs;
}

/** A sentence with one text of unknown direction between isolating marks. */
function sentence(text) {
  const [before, name, after] = text.split(/[\u2068\u2069]/);
  return element("p", { class: "small" }, before, isolated(name), after);
}
