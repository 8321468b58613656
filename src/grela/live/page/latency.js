// How long the steps took: the last one in numbers, the last sixty as a curve.

import { byId, drawn, element } from "./dom.js";
import { WORDS } from "./strings.js";

const KEPT = 60;
const [WIDTH, HEIGHT, EDGE] = [300, 56, 3];

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

export class Latency {
  #place = byId("latency");
  #steps = [];

  constructor() {
    this.#place.replaceChildren(element("p", { class: "quiet" }, WORDS.latency.waiting));
  }

  /** One more step: milliseconds of the round trip, and within it of the server, null where it did not say. */
  add({ trip, server }) {
    this.#steps.push({ trip, server });
    if (this.#steps.length > KEPT) this.#steps.shift();
    const trips = this.#steps.map((step) => step.trip);
    const servers = this.#steps.map((step) => step.server).filter((value) => value !== null);
    const figures = element(
      "dl",
      { class: "figures" },
      figure("server", WORDS.latency.server, server, servers),
      figure("trip", WORDS.latency.trip, trip, trips),
    );
    this.#place.replaceChildren(figures, sparkline(this.#steps, trips, servers));
  }
}

function figure(kind, name, last, values) {
  const shown = last === null ? WORDS.latency.unknown : WORDS.latency.milliseconds(last);
  const usual = values.length > 1 ? `${WORDS.latency.median(values.length)}: ${WORDS.latency.milliseconds(median(values))}` : "";
  return element(
    "div",
    { class: kind },
    element("dt", { class: "small" }, name),
    element("dd", {}, element("span", { class: "big" }, shown), element("span", { class: "quiet small" }, usual)),
  );
}

function sparkline(steps, trips, servers) {
  const most = Math.max(...trips);
  const across = (place) => EDGE + ((WIDTH - 2 * EDGE) * place) / Math.max(1, steps.length - 1);
  const up = (value) => HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * value) / most;
  const curve = (kind) => {
    const points = steps
      .map((step, place) => [across(place), step[kind]])
      .filter(([, value]) => value !== null)
      .map(([x, value]) => [x.toFixed(1), up(value).toFixed(1)]);
    if (points.length === 0) return null;
    const [x, y] = points.at(-1);
    return drawn(
      "g",
      { class: kind },
      drawn("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
      drawn("circle", { cx: x, cy: y, r: 2.5 }),
    );
  };
  const said = WORDS.latency.chart(steps.length, servers.length ? median(servers) : null, median(trips));
  return drawn(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "sparkline", role: "img", "aria-label": said },
    drawn("line", { x1: 0, x2: WIDTH, y1: HEIGHT - EDGE, y2: HEIGHT - EDGE, class: "ground" }),
    curve("trip"),
    curve("server"),
  );
}
