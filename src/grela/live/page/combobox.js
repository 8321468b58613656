// An input with a list of options below it: WAI-ARIA's editable combobox with list autocomplete.
// Focus stays in the input; `aria-activedescendant` says which option the arrow keys have reached.

import { element } from "./dom.js";

const PAUSE = 120; // milliseconds without a key before the service is asked

export class Combobox {
  #input;
  #list;
  #find;
  #show;
  #choose;
  #found;
  #first;
  #options = [];
  #active = -1;
  #timer = 0;
  #asking = null;

  /**
   * find(query, signal): the options, any values; show(option): the children of its element;
   * choose(option): what to do with one; found(query, options): told after each search;
   * first: whether the first option is active at once, so that Enter takes it
   */
  constructor(input, list, { find, show, choose, found, first }) {
    [this.#input, this.#list, this.#find, this.#show] = [input, list, find, show];
    [this.#choose, this.#found, this.#first] = [choose, found, first];
    input.addEventListener("input", () => this.#later());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.close());
    // Without this a press on an option would take the focus from the input before the click arrives.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option !== null) this.#take([...list.children].indexOf(option));
    });
  }

  get #open() {
    return !this.#list.hidden;
  }

  close() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = null;
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#activate(-1);
    this.#options = [];
    this.#list.replaceChildren();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(this.#first ? 0 : -1), PAUSE);
  }

  async #search(active) {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    const query = this.#input.value.trim();
    let options;
    try {
      options = await this.#find(query, asking.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
      return;
    }
    if (asking !== this.#asking || options === null) return;
    this.#options = options;
    this.#list.replaceChildren(
      ...options.map((option, place) =>
        element(
          "li",
          { id: `${this.#list.id}-${place}`, role: "option", "aria-selected": "false" },
          ...this.#show(option),
        ),
      ),
    );
    this.#list.hidden = options.length === 0;
    this.#input.setAttribute("aria-expanded", String(this.#open));
    this.#activate(Math.min(active, options.length - 1));
    this.#found(query, options);
  }

  #activate(place) {
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = place;
    const option = this.#list.children[place];
    if (option === undefined) {
      this.#input.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.#input.setAttribute("aria-activedescendant", option.id);
  }

  #take(place) {
    const option = this.#options[place];
    this.close();
    this.#choose(option);
  }

  #key(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    const count = this.#options.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const down = event.key === "ArrowDown";
      if (!this.#open) this.#search(down ? 0 : Infinity);
      else if (down) this.#activate(this.#active + 1 < count ? this.#active + 1 : 0);
      else this.#activate(this.#active > 0 ? this.#active - 1 : count - 1);
    } else if (event.key === "Enter" && this.#open && this.#active >= 0) {
      event.preventDefault();
      this.#take(this.#active);
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (this.#open) this.close();
      else this.#input.value = "";
    }
  }
}
