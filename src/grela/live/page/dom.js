// Elements from values. Texts become text nodes and nothing else, so no title can bring markup with it.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An HTML element; `null` and `false` leave an attribute out, `null` a child. */
export const element = (name, attributes = {}, ...children) =>
  filled(document.createElement(name), attributes, children);

/** An SVG element. */
export const drawn = (name, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

/** A text of unknown direction, kept apart from the text around it. */
export const isolated = (text) => element("bdi", {}, text);

/** A text for screen readers alone. */
export const unseen = (text) => element("span", { class: "unseen" }, text);

export const byId = (id) => document.getElementById(id);

/** Whether the reader has asked for no motion. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
