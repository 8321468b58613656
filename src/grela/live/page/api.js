// The service, as functions. Whatever goes wrong is a Problem with words for the reader.

import { WORDS } from "./strings.js";

/** What went wrong, in words; `status` is 0 where the service was not reached. */
export class Problem extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

export class Service {
  #token = null;
  #askForToken;

  /** askForToken(wrong): a token, or null where the reader gives none. The token stays in memory. */
  constructor(askForToken) {
    this.#askForToken = askForToken;
  }

  users = (query, limit, signal) => this.#get("users", { query, limit }, signal);

  items = (query, limit, signal) => this.#get("items", { query, limit }, signal);

  history = (user, limit) => this.#get(`users/${encodeURIComponent(user)}/history`, { limit });

  recommendations = (user, choice) => this.#get(`users/${encodeURIComponent(user)}/recommendations`, choice);

  explanation = (user, choice) => this.#get(`users/${encodeURIComponent(user)}/explanation`, choice);

  remove = (user) => this.#call("DELETE", `users/${encodeURIComponent(user)}`);

  add = (event, choice) => this.#call("POST", "events", { body: { events: [event], recommend: choice } });

  #get(path, query, signal) {
    return this.#call("GET", `${path}?${new URLSearchParams(query)}`, { signal });
  }

  /** The answer's JSON, and the milliseconds that the round trip and the server took (null where it does not say). */
  async #call(method, path, { body, signal } = {}) {
    const began = performance.now();
    const used = this.#token;
    const response = await this.#fetched(method, path, body, signal);
    if (response.status === 401) {
      // Another request may have been given a token meanwhile.
      if (this.#token === used) this.#token = await this.#askForToken(used !== null);
      if (this.#token === null) throw new Problem(WORDS.problem.token, 401);
      return this.#call(method, path, { body, signal });
    }
    const data = await answered(response);
    return { data, trip: performance.now() - began, server: serverTime(response) };
  }

  async #fetched(method, path, body, signal) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.#token !== null) headers.Authorization = `Bearer ${this.#token}`;
    try {
      return await fetch(new URL(path, document.baseURI), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        cache: "no-store",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(WORDS.problem.offline, 0);
    }
  }
}

async function answered(response) {
  let data;
  try {
    data = response.status === 204 ? null : await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(response.ok ? WORDS.problem.answer : WORDS.problem.server(response.status), response.status);
  }
  if (response.ok) return data;
  const said = typeof data?.error === "string" ? data.error : WORDS.problem.server(response.status);
  throw new Problem(said, response.status);
}

/** The milliseconds of `Server-Timing: total;dur=0.42`. */
function serverTime(response) {
  const found = /(?:^|,)\s*total\s*;[^,]*?dur=([0-9.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return found === null ? null : Number(found[1]);
}
