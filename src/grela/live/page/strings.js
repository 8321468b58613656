// Every word that the page shows, in one place. A translation replaces this file.

const NUMBERS = new Intl.NumberFormat("en");
const THREE_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const TWO_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const DATES = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

const some = (count, one, many) => `${NUMBERS.format(count)} ${count === 1 ? one : many}`;
const listed = (parts) =>
  parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : (parts[0] ?? "");

/** 1st, 2nd, 3rd, 4th ... */
function ordinal(number) {
  const rule = new Intl.PluralRules("en", { type: "ordinal" }).select(number);
  return `${NUMBERS.format(number)}${{ one: "st", two: "nd", few: "rd", other: "th" }[rule]}`;
}

/** A duration in its largest unit; `seconds` is not negative. */
function duration(seconds) {
  const units = [
    [31_556_952, "year", "years"],
    [2_629_746, "month", "months"],
    [86_400, "day", "days"],
    [3_600, "hour", "hours"],
    [60, "minute", "minutes"],
  ];
  for (const [size, one, many] of units) {
    if (seconds >= size) return some(Math.round(seconds / size), one, many);
  }
  return some(Math.round(seconds), "second", "seconds");
}

const NO_LESS = 1 / 1.05; // from here on a factor is ×1.0, not ÷1.0

/** How many times as likely: ×3.2, or ÷3.2 where it is less. */
function factor(ratio) {
  const [sign, size] = ratio >= NO_LESS ? ["×", ratio] : ["÷", 1 / ratio];
  if (size >= 9999.5) return `${sign}${NUMBERS.format(9999)}+`;
  return `${sign}${size < 10 ? size.toFixed(1) : NUMBERS.format(Math.round(size))}`;
}

const times = (ratio) =>
  ratio >= NO_LESS
    ? `${TWO_DIGITS.format(ratio)} times as likely`
    : `${TWO_DIGITS.format(1 / ratio)} times less likely`;

const dropped = (count, shown) =>
  count === 0
    ? `all ${NUMBERS.format(shown)} items would still be here`
    : `${NUMBERS.format(count)} of the ${NUMBERS.format(shown)} items would not be here`;

export const WORDS = {
  title: "grela live",
  skip: "Skip to the recommendations",
  user: {
    label: "User",
    placeholder: "id of a user",
    options: "Users",
    open: "Open",
    fresh: "New user",
    heading: "User",
    facts: (events) => (events === 0 ? "no events yet" : some(events, "event", "events")),
    none: "No user of this service begins like that. Open starts a new one with this id.",
    freshId: (random) => `guest-${random}`,
    opened: (user, events) => `User ${user}, ${events === 0 ? "no events yet" : some(events, "event", "events")}.`,
  },
  welcome: {
    title: "Recommendations that follow every event",
    text: "The service keeps each user as a small state and updates it with every event. Watch it do so:",
    first: "Open a user by id, or start a new one.",
    second: "Search for items and pick them: each pick is one event.",
    third: "See the list move, and what in the model moved it.",
    begin: "Start as a new user",
  },
  search: {
    title: "Add an event",
    placeholder: "Search items by title or id",
    options: "Items",
    note: "Type, choose with the arrow keys, add with Enter. Items of the list below can be picked too.",
    none: (query) => `No item has “${query}” in its title.`,
    found: (count) => `${some(count, "item", "items")} found.`,
  },
  list: {
    title: "Recommended next",
    filterSeen: "Leave out items already met",
    key: "how many times as likely each branch makes the item",
    pick: (title) => `${title}: add as an event`,
    up: (places) => some(places, "place up", "places up"),
    down: (places) => some(places, "place down", "places down"),
    same: "same place",
    fresh: "new in the list",
    freshSign: "new",
    cold: "Nothing is known of this user yet, so these are the most popular items.",
    empty: "There is nothing to recommend: every item has been left out.",
    popularity: (ratio) => `popularity ${factor(ratio)}`,
    repeated: (ratio) => `met before ${factor(ratio)}`,
    effect: (ratio) => factor(ratio),
    effectInWords: (branch, ratio, place) =>
      `${branch} makes it ${times(ratio)}; without it, it would be in place ${NUMBERS.format(place)}.`,
    added: (title) => `Added ${title}.`,
    moved: ({ up, down, fresh }) => {
      const parts = [
        up && `${NUMBERS.format(up)} moved up`,
        down && `${NUMBERS.format(down)} moved down`,
        fresh && some(fresh, "is new", "are new"),
      ].filter(Boolean);
      return parts.length ? `In the list: ${listed(parts)}.` : "The list stays as it was.";
    },
  },
  branches: {
    long: "Long-term attention",
    short: "Short-term branch",
  },
  why: {
    title: "What moved the list",
    waiting: "Add an event to see what the model makes of it.",
    mostly: (percent, layers) =>
      `At the last event, ${percent}\u00a0% of what passed the gates came from the long-term attention over the whole ` +
      `history and ${100 - percent}\u00a0% from the short-term branch over the last few events ` +
      `(mean of ${some(layers, "layer", "layers")}).`,
    without: (long, short, shown) =>
      `Without the long-term attention, ${dropped(long, shown)}; without the short-term branch, ` +
      `${dropped(short, shown)}.`,
    most: (branch, title, ratio) => `${branch} lifts \u2068${title}\u2069 most: ${times(ratio)}.`,
    layer: (layer) => `Layer ${layer}`,
    share: (percent) => `${percent}\u00a0%`,
    gate: "gate",
    gateValue: (open) => open.toFixed(2),
    layerInWords: (layer, long, gate) =>
      `Layer ${layer}: ${long}\u00a0% long-term attention, ${100 - long}\u00a0% short-term branch; ` +
      `gate open by ${gate.toFixed(2)} on average.`,
    silent: "nothing passed the gate",
    howTitle: "How to read this",
    howBranches:
      "Each layer has two branches. The long-term attention sums up the whole history; the short-term branch looks " +
      "at the last few events only. A bar shows how their energy behind the gate divides at the last event. What the " +
      "last event itself says goes past both of them.",
    howGate:
      "The gate decides, channel by channel, how much of both goes on to the next layer. Its number is the mean " +
      "absolute value over channels: 0 is shut.",
    howItems:
      "Beside each item: how many times as likely it is with the branch as without it, the last event read again " +
      "with the branch switched off in every layer. ×2 is twice as likely, ÷2 half. Popularity and “met before” are " +
      "what the item's own bias, against the mean of the catalogue, and its having been met add to its odds.",
  },
  latency: {
    title: "Time of a step",
    waiting: "Each event you add is timed.",
    server: "in the server",
    trip: "round trip",
    milliseconds: (ms) => `${THREE_DIGITS.format(ms)} ms`,
    unknown: "not said",
    chart: (count, server, trip) =>
      `The last ${some(count, "step", "steps")}, in milliseconds. Round trip: median ${THREE_DIGITS.format(trip)}` +
      (server === null ? "." : `; in the server: median ${THREE_DIGITS.format(server)}.`),
    median: (count) => `median of ${NUMBERS.format(count)}`,
  },
  history: {
    title: "History",
    empty: "No events yet.",
    later: (seconds) => `${duration(seconds)} later`,
    again: "again",
    nth: (number) => `${ordinal(number)} time`,
    when: (date) => DATES.format(date),
    older: "Show older events",
    rest: (count) => `${some(count, "older event", "older events")} not shown`,
  },
  remove: {
    button: "Delete user",
    title: (user) => `Delete user \u2068${user}\u2069?`,
    text: "The user's events and state are deleted from the service. This cannot be undone.",
    keep: "Keep",
    confirm: "Delete",
    done: (user) => `User ${user} is deleted.`,
  },
  token: {
    title: "This service asks for a token",
    text: "It is the token that the service was started with. It is kept until this page is closed or loaded again.",
    wrong: "The service does not accept this token. Check it and try again.",
    label: "Token",
    use: "Use",
    cancel: "Cancel",
  },
  problem: {
    offline: "The service cannot be reached. Check that it is running, and try again.",
    server: (status) => `The service failed (${status}). Try again; its log says why.`,
    answer: "The service gave an answer that this page does not understand. Load the page again.",
    token: "Without the token the service does not answer.",
    again: "Try again",
    close: "Close",
  },
};

/** The words under a path such as "user.label". */
export function words(path) {
  return path.split(".").reduce((found, key) => found[key], WORDS);
}
