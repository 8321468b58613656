// The page: one user at a time, each pick an event, and after each event what the service answers.

import { Combobox } from "./combobox.js";
import { Problem, Service } from "./api.js";
import { byId, element, isolated } from "./dom.js";
import { askForToken, confirmed } from "./dialogs.js";
import { Latency } from "./latency.js";
import { nameOf, Recommendations } from "./recommendations.js";
import { Timeline } from "./timeline.js";
import { Why } from "./why.js";
import { WORDS, words } from "./strings.js";

const SHOWN = 10;
const OPTIONS = 12;

const service = new Service(askForToken);
const latency = new Latency();
const why = new Why();
const list = new Recommendations((item) => add(item));
const timeline = new Timeline((limit) => attempt("user", () => refreshHistory(limit)));

let user = null;
let shownEvents = Timeline.page;
let sending = Promise.resolve(); // events go out one after the other, however fast they are picked
let waiting = 0; // of them

for (const node of document.querySelectorAll("[data-words]")) node.textContent = words(node.dataset.words);
for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = words(node.dataset.placeholder);
for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = words(node.dataset.label);

const choice = () => ({ k: SHOWN, filter_seen: byId("filter-seen").checked });

function tell(text) {
  byId("news").textContent = text;
}

/**
 * Run `work`; a problem is shown in words, with a way to do `again` what failed. It stays until something about the
 * same thing goes well, or the reader closes it.
 */
async function guarded(about, work, again) {
  try {
    const done = await work();
    if (byId("problem").dataset.about === about) hideProblem();
    return done;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(about, error.message, again);
    return null;
  }
}

function hideProblem() {
  byId("problem").hidden = true;
  byId("problem").dataset.about = "";
}

function showProblem(about, message, again) {
  const button = (name, then) => {
    const made = element("button", { type: "button", class: "plain" }, name);
    made.addEventListener("click", () => {
      hideProblem();
      then?.();
    });
    return made;
  };
  const buttons = [button(WORDS.problem.close)];
  if (again) buttons.unshift(button(WORDS.problem.again, again));
  byId("problem").replaceChildren(
    element("p", {}, message),
    element("div", { class: "buttons" }, ...buttons),
  );
  byId("problem").dataset.about = about;
  byId("problem").hidden = false;
}

/** Do something that can be done again as it is. */
function attempt(about, work) {
  return guarded(about, work, () => attempt(about, work));
}

/** Show a user, known or new. */
async function open(id) {
  user = id;
  shownEvents = Timeline.page;
  location.hash = new URLSearchParams({ user: id });
  byId("user").value = id;
  byId("user-name").textContent = id;
  byId("welcome").hidden = true;
  byId("live").hidden = false;
  list.clear();
  why.show(null);
  await attempt("user", async () => {
    const [events] = await Promise.all([refreshHistory(shownEvents), refreshList()]);
    if (user === id) tell(WORDS.user.opened(id, events));
  });
}

/** Ask for the list again, and what is behind it. */
async function refreshList() {
  const asked = user;
  const { data } = await service.recommendations(asked, choice());
  if (asked !== user) return;
  byId("user-name").textContent = data.user; // "007" is 7 where ids are numbers
  showList(data.recommendations, data.cold_start);
  await explain();
}

function showList(items, cold) {
  const moved = list.show(items, { cold });
  return WORDS.list.moved(moved);
}

async function explain() {
  const asked = user;
  let data;
  try {
    ({ data } = await service.explanation(asked, choice()));
  } catch (error) {
    // A history may be too long to be explained; the list is there all the same.
    if (error.status !== 422) throw error;
    if (asked === user) why.say(error.message);
    return;
  }
  if (asked !== user) return;
  why.show(data);
  list.explain(data.items);
}

/** The history's length, after showing its last `limit` events. */
async function refreshHistory(limit) {
  const asked = user;
  const { data } = await service.history(asked, limit);
  if (asked !== user) return 0;
  shownEvents = limit;
  timeline.show(data);
  byId("user-facts").textContent = WORDS.user.facts(data.length);
  return data.length;
}

/** Send the item as the user's next event; a repeated try carries the same id, so it counts once. */
function add(item) {
  const asked = user;
  const event = { user: asked, item: String(item.item), id: randomText(16) };
  const send = () => {
    count(1);
    sending = sending.then(() => guarded(event.id, () => sent(event, item), send)).finally(() => count(-1));
    return sending;
  };
  send();
}

function count(more) {
  waiting += more;
  list.busy = waiting > 0;
}

async function sent(event, item) {
  if (event.user !== user) return;
  const answer = await service.add(event, choice());
  latency.add(answer);
  if (event.user !== user) return;
  const [recommended] = Object.values(answer.data.recommendations);
  const moved = showList(recommended, false);
  tell(`${WORDS.list.added(nameOf(item))} ${moved}`);
  await Promise.all([explain(), refreshHistory(shownEvents)]);
}

async function removeUser() {
  const asked = user;
  if (!(await confirmed(asked))) return;
  await attempt("user", async () => {
    await service.remove(asked);
    welcome();
    tell(WORDS.remove.done(asked));
    byId("user").focus();
  });
}

function welcome() {
  user = null;
  history.replaceState(null, "", location.pathname + location.search);
  byId("user").value = "";
  byId("live").hidden = true;
  byId("welcome").hidden = false;
}

function randomText(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

async function startFresh() {
  await open(WORDS.user.freshId(randomText(4)));
  byId("search").focus();
}

const shownItem = (item) => {
  const parts = [element("span", {}, isolated(nameOf(item)))];
  if (item.title !== null) parts.push(element("span", { class: "quiet small" }, isolated(String(item.item))));
  return parts;
};

const items = new Combobox(byId("search"), byId("search-options"), {
  find: async (query, signal) => {
    if (query === "") return [];
    return guarded("search", async () => (await service.items(query, OPTIONS, signal)).data.items);
  },
  show: shownItem,
  choose: (item) => {
    byId("search").value = "";
    add(item);
  },
  found: (query, options) => {
    const none = query !== "" && options.length === 0;
    byId("search-note").textContent = none ? WORDS.search.none(query) : WORDS.search.note;
    if (query !== "") tell(none ? WORDS.search.none(query) : WORDS.search.found(options.length));
  },
  first: true,
});

const users = new Combobox(byId("user"), byId("user-options"), {
  find: (query, signal) => guarded("users", async () => (await service.users(query, OPTIONS, signal)).data.users),
  show: ({ user: id }) => [isolated(id)],
  choose: ({ user: id }) => open(id),
  found: (query, options) => tell(options.length ? "" : WORDS.user.none),
  first: false,
});

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  users.close();
  const id = byId("user").value.trim();
  if (id !== "") open(id);
});
byId("new-user").addEventListener("click", startFresh);
byId("begin").addEventListener("click", startFresh);
byId("delete").addEventListener("click", removeUser);
byId("filter-seen").addEventListener("change", () => {
  items.close();
  list.clear();
  attempt("user", refreshList);
});
addEventListener("hashchange", fromAddress);

function fromAddress() {
  const id = new URLSearchParams(location.hash.slice(1)).get("user");
  if (id === null) welcome();
  else if (id !== user) open(id);
}

fromAddress();
