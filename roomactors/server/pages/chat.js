// The chat page: one person in one room over the plain JSON protocol, version 1.
//
// Three parts, top to bottom: the roster (who is present, as of which seq), the link (one
// WebSocket at a time, its signs of life and its way back), and the page (rows, outbox, form).
// Whatever others wrote reaches the document as text only.

const BACKOFF_FIRST = 0.5; // seconds before the first new attempt, doubled for each one after it
const BACKOFF_LONGEST = 30; // seconds
const BACKOFF_PATIENT = 5; // seconds at least, where the server said that it has too much to do
const ATTEMPTS = 12; // in a row without an answer, about three minutes; then a person decides
const OPENING = 15; // seconds for an attempt to reach the room
const STEADY = 10; // seconds in the room after which the next loss starts with a short wait again
const GRACE = 10; // seconds of silence over the server's heartbeat, and again for the answer
const ROSTER_SHOWN = 600; // people; of larger rooms the rest is only counted
const OUTBOX_LONGEST = 100; // messages
const ROWS_KEPT = 1000; // rows
const SAME_BREATH = 5 * 60 * 1000; // ms within which one person's messages share a heading
const NEAR_BOTTOM = 48; // px from the end that still count as reading the latest message

/** Close codes after which coming back by oneself would be wrong, and what a person is told. */
const FINAL = new Map([
  [1000, "The server ended this conversation."],
  [1002, "This page and the server do not understand each other."],
  [1003, "This page and the server do not understand each other."],
  [1007, "This page and the server do not understand each other."],
  [1008, "The server ended the connection by its rules."],
  [1009, "A message was too large for the server."],
  [4001, "The server did not accept who you are."],
  [4002, "Your sign-in has expired."],
  [4003, "You were removed from this server."],
  [4009, "This conversation goes on in another window."],
]);
const PASSING = new Map([
  [1001, "The server went away."],
  [1012, "The server is restarting."],
  [1013, "The server has too much to do right now."],
  [4008, "This connection was too slow to keep up."],
  [4029, "Too many messages were sent in a short time."],
]);
const LEFT = new Map([
  ["kicked", "You were removed from this room."],
  ["closed", "This room was closed."],
  ["denied", "You are not allowed in this room."],
  ["expired", "Your place in this room has expired."],
]);

const seconds = () => performance.now() / 1000;
const byteLength = (text) => new TextEncoder().encode(text).length;
const fold = (name) => name.normalize("NFKC").toLowerCase();

/** What to call a member: the name they gave, else the user, else a part of their id. */
function nameOf({ member, user, info }) {
  const given = typeof info?.name === "string" ? info.name.trim() : "";
  return (given || (typeof user === "string" && user) || `guest ${tagOf(member)}`).slice(0, 60);
}

/** The end of a member id: enough to tell two people of the same name apart. */
function tagOf(member) {
  return member.slice(-4);
}

function hueOf(text) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const sign of text) hash = Math.imul(hash ^ sign.codePointAt(0), 0x01000193) >>> 0;
  return hash % 360;
}

function listing(names) {
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} others`] : names;
  return new Intl.ListFormat("en").format(shown);
}

// ------------------------------------------------------------------------------------ the roster

/** Who is present. Each fact is kept with its seq, so older news never undoes newer. */
class Roster {
  #people = new Map(); // member -> {member, user, info, seq, here}
  #gone = new Set(); // members who are kept only because a page may still name them, see `tidy`
  #steps = []; // {seq, by, total}: changes of the count that a page may not know yet
  #counted = -1; // the seq of the latest page: its count has all up to there
  base = -1; // the seq of our joining; membership events up to here are history
  count = 0;

  get present() {
    return [...this.#people.values()].filter((person) => person.here);
  }

  get(member) {
    const person = this.#people.get(member);
    return person?.here ? person : undefined;
  }

  /** Take a page that is valid as of `seq`; the first page voids what was known before. */
  take(list, seq, count, first) {
    if (first) {
      for (const [member, person] of this.#people) if (person.seq <= seq) this.#people.delete(member);
    }
    for (const person of list) this.#put(person, seq, true);
    if (count === undefined) return;
    const later = this.#steps.filter((step) => step.seq > seq);
    this.count = later.reduce((sum, { by, total }) => total ?? sum + by, count);
    this.#counted = seq;
  }

  clear(base) {
    this.#people.clear();
    this.tidy();
    this.#counted = -1;
    this.base = base;
    this.count = 0;
  }

  /** Forget who left. Until the last page is here, they say that an older page is wrong. */
  tidy() {
    for (const member of this.#gone) if (!this.get(member)) this.#people.delete(member);
    this.#gone.clear();
    this.#steps = [];
  }

  came(person, seq) {
    this.#put(person, seq, true);
    this.#step(seq, { by: 1 });
  }

  went(member, seq) {
    this.#put({ member }, seq, false);
    this.#gone.add(member);
    this.#step(seq, { by: -1 });
  }

  changed(member, info, seq) {
    this.#put({ ...this.#people.get(member), member, info }, seq, true);
  }

  /** Many came and went at once; together with them there are `total`. */
  moved(joined, left, total, seq) {
    for (const person of joined) this.#put(person, seq, true); // first: who left and came again is here
    for (const { member } of left) {
      this.#put({ member }, seq, false);
      this.#gone.add(member);
    }
    this.#step(seq, { total });
  }

  #put({ member, user, info }, seq, here) {
    const known = this.#people.get(member);
    if (known === undefined || known.seq < seq) this.#people.set(member, { member, user, info, seq, here });
  }

  #step(seq, { by, total }) {
    if (seq <= this.#counted) return;
    this.#steps.push({ seq, by, total });
    this.count = total ?? this.count + by;
  }
}

// -------------------------------------------------------------------------------------- the link

/** The connection to one room: opens it, hears whether it lives, and comes back by itself. */
class Link {
  #socket = null;
  #timer;
  #attempt = 0; // attempts since the room was last steadily reached
  #due = 0; // when the next attempt begins
  #opened = 0;
  #heard = 0;
  #probed = null; // when an unanswered ping was sent
  #joined = null; // when this connection reached the room
  #draining = false; // the server said that it is closing
  #pause = 0; // seconds that the server asked for
  #heartbeat = 25;
  #online = () => this.#socket || this.phase === "failed" || this.now();
  phase = "connecting";
  text = "";

  /** `heard(frame)` gets the room's frames, `moved()` is called when phase or text change. */
  constructor(room, info, heard, moved) {
    Object.assign(this, { room, info, heard, moved });
    this.#timer = setInterval(() => this.#tick(), 250);
    addEventListener("online", this.#online);
    this.#open();
  }

  /** Whether a frame sent now would be read. */
  get ready() {
    return this.phase === "live" && !this.#draining;
  }

  get wait() {
    return this.#socket ? 0 : Math.max(0, this.#due - seconds());
  }

  send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  /** Try at once; after a failure this begins anew. */
  now() {
    if (this.phase === "failed") this.#attempt = 0;
    this.#move("reconnecting", "");
    this.#open();
  }

  stop() {
    clearInterval(this.#timer);
    removeEventListener("online", this.#online);
    this.#drop();
  }

  #open() {
    this.#drop();
    const url = new URL("ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = url.hash = "";
    const socket = new WebSocket(url, ["roomactors.v1.json"]);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    this.#socket = socket;
    this.#opened = this.#heard = seconds();
    this.#probed = this.#joined = null;
    this.#draining = false;
    this.#pause = 0;
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null; // first: what a dropped connection still says is not heard
    socket?.close(1000);
  }

  #move(phase, text) {
    [this.phase, this.text] = [phase, text];
    this.moved();
  }

  #take(frame) {
    this.#heard = seconds();
    this.#probed = null;
    if (frame.type === "welcome") {
      this.#heartbeat = frame.heartbeat || this.#heartbeat;
      this.member = frame.member;
      this.bytes = frame.limits?.message_bytes || Infinity;
      this.send({ type: "join", room: this.room, ref: "join", info: this.info });
    } else if (frame.type === "closing") {
      this.#draining = true;
      this.#pause = frame.reconnect_after ?? 0;
      this.moved();
    } else if (frame.type === "error" && frame.ref === "join") {
      if (["busy", "rate_limited", "internal"].includes(frame.code)) {
        this.#pause = frame.retry_after ?? BACKOFF_PATIENT;
        this.#lost(1013, "");
      } else {
        this.#fail(sentence(frame));
      }
    } else if (frame.type === "left" && frame.room === this.room) {
      this.#fail(LEFT.get(frame.reason) ?? "You are no longer in this room.");
    } else if (frame.type === "joined" && frame.room === this.room) {
      this.heard(frame);
      if (this.#joined === null) {
        this.#joined = seconds();
        this.#move("live", "");
      }
    } else if (frame.type !== "pong") {
      this.heard(frame);
    }
  }

  #fail(text) {
    this.#drop();
    this.#move("failed", text);
  }

  #lost(code, reason) {
    if (FINAL.has(code)) {
      // Only of this code the reason says more than the code itself.
      this.#fail(code === 1008 && reason ? `The server ended the connection: ${reason}.` : FINAL.get(code));
      return;
    }
    if (this.#joined !== null && seconds() - this.#joined > STEADY) this.#attempt = 0;
    this.#drop();
    if (this.#attempt >= ATTEMPTS) {
      this.#move("failed", "The server cannot be reached.");
      return;
    }
    const step = Math.min(BACKOFF_LONGEST, BACKOFF_FIRST * 2 ** this.#attempt);
    // Half of it is chance: after a restart everybody comes back, and not all at once.
    const wait = Math.max(step * (0.5 + Math.random() / 2), code === 1013 || code === 4029 ? BACKOFF_PATIENT : 0);
    this.#attempt += 1;
    this.#due = seconds() + Math.max(wait, this.#pause);
    const why = this.phase === "live" ? "The connection was lost." : this.text || "The server does not answer.";
    this.#move("reconnecting", PASSING.get(code) ?? why);
  }

  #tick() {
    const now = seconds();
    if (this.#socket === null) {
      if (this.phase === "reconnecting" && now >= this.#due) this.#open();
    } else if (this.#joined === null) {
      if (now - this.#opened > OPENING) this.#lost(1006, "");
    } else if (this.#probed !== null) {
      if (now - this.#probed > GRACE) this.#lost(1006, "");
    } else if (now - this.#heard > this.#heartbeat + GRACE) {
      // The server's own pings are invisible to a page, so silence alone proves nothing.
      this.#probed = now;
      this.send({ type: "ping" });
    }
    this.moved();
  }
}

/** A refusal as a sentence for a person. */
function sentence({ message, code, retry_after: after }) {
  const said = message || `The server refused this (${code}).`;
  const ended = /[.!?]$/.test(said) ? said : `${said}.`;
  const text = ended[0].toUpperCase() + ended.slice(1);
  return after > 0 ? `${text} Try again in ${Math.ceil(after)} s.` : text;
}

// -------------------------------------------------------------------------------------- the page

const $ = (id) => document.getElementById(id);
const scroller = $("scroller");
const log = $("log");
const outbox = $("outbox");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const alphabet = new Intl.Collator(undefined, { numeric: true });
const roster = new Roster();

let link = null;
let unsent = []; // {ref, text, fate, why, row}: fate is waiting, sending, unsure or refused
const early = new Map(); // seq -> frame: own messages that came back before their ack
const confirmed = new Map(); // seq -> row: own messages that have not come back yet
let lastRef = 0;
let following = true; // the latest message is in view
let unseen = 0;
let clashes = new Set(); // folded names that more than one person here has
let paging = null; // the ref of the `members` request under way

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Rows: the log is in the order of seq, the outbox below it holds what is not confirmed.

function append(row, seq) {
  let before = log.lastElementChild;
  if (seq !== undefined) {
    row.dataset.seq = seq;
    // An ack may overtake events of others with a lower seq, so its row may not be the last.
    while (before && Number(before.dataset.seq) > seq) before = before.previousElementSibling;
  }
  if (before) before.after(row);
  else log.prepend(row);
  for (const touched of [row, row.nextElementSibling, outbox.firstElementChild]) group(touched);
  if (log.childElementCount > ROWS_KEPT) {
    log.firstElementChild.remove();
    $("trimmed").hidden = false;
  }
  keepUp();
}

/** Let a message share the heading of the one above it, if one breath said both. */
function group(row) {
  if (!row?.dataset.by) return;
  const above = row.previousElementSibling ?? (row.parentNode === outbox ? log.lastElementChild : null);
  const near = Math.abs(row.dataset.at - above?.dataset.at) < SAME_BREATH;
  row.classList.toggle("follows", near && above.dataset.by === row.dataset.by);
}

function line(text, kind = "") {
  append(make("li", `line ${kind}`, text));
}

function divider(text) {
  append(make("li", "break", text));
}

function messageRow({ by, member, name, text, at, aside = "", plain = true }) {
  const row = make("li", `message${by === "me" ? " own" : ""}${plain ? "" : " data"}`);
  const face = make("span", "face");
  face.setAttribute("aria-hidden", "true");
  const head = make("p", "head");
  head.append(make("span", "name"), make("span", "tag"), make("time", ""), make("span", "aside", aside));
  const body = make("div", "body");
  body.append(head, make("p", "text", text));
  if (by === "me") body.append(make("p", "fate"));
  row.append(face, body);
  row.dataset.by = by + aside;
  if (member) row.dataset.member = member;
  row.dataset.name = name;
  stamp(row, at);
  paint(row);
  return row;
}

function stamp(row, at) {
  const time = row.querySelector("time");
  const when = new Date(at);
  row.dataset.at = at;
  time.dateTime = when.toISOString();
  time.textContent = clock.format(when);
  row.title = when.toLocaleString();
}

/** Name, tag and colour of a row, in the log or in the roster. */
function paint(row) {
  const { member, name } = row.dataset;
  const shared = member !== undefined && clashes.has(fold(name));
  row.querySelector(".name").textContent = name;
  row.querySelector(".tag").textContent = shared ? tagOf(member) : "";
  row.querySelector(".tag").hidden = !shared;
  const face = row.querySelector(".face");
  face.textContent = [...name][0].toUpperCase();
  face.style.setProperty("--hue", hueOf(shared ? member : fold(name)));
}

function keepUp() {
  if (following) scroller.scrollTop = scroller.scrollHeight;
}

function showPill() {
  $("pill").hidden = following || unseen === 0;
  $("pill").textContent = unseen === 1 ? "1 new message ↓" : `${unseen} new messages ↓`;
}

function showTitle() {
  const count = unseen > 0 ? `(${unseen}) ` : "";
  document.title = link ? `${count}${link.room} · roomactors` : "roomactors chat";
}

function toBottom() {
  following = true;
  unseen = 0;
  keepUp();
  showPill();
  showTitle();
}

// The roster

function showRoster() {
  const present = roster.present.map((person) => ({ ...person, name: nameOf(person) }));
  const seen = new Set();
  clashes = new Set();
  for (const name of present.map((person) => fold(person.name))) (seen.has(name) ? clashes : seen).add(name);
  present.sort((a, b) => (b.member === link.member) - (a.member === link.member) || alphabet.compare(a.name, b.name));
  $("roster").replaceChildren(
    ...present.map((person) => {
      const row = make("li", "");
      const face = make("span", "face");
      face.setAttribute("aria-hidden", "true");
      row.append(face, make("span", "name"), make("span", "tag"));
      if (person.member === link.member) row.append(make("span", "you", "you"));
      Object.assign(row.dataset, { member: person.member, name: person.name });
      row.title = `${person.name} (${person.member})`;
      paint(row);
      return row;
    }),
  );
  const here = new Set(present.map((person) => person.member));
  for (const row of log.querySelectorAll("[data-member]:not(.own)")) if (here.has(row.dataset.member)) paint(row);
  const count = Math.max(roster.count, present.length);
  for (const place of document.querySelectorAll(".count")) place.textContent = count;
  $("people").querySelector(".word").textContent = count === 1 ? "person" : "people";
  $("others").hidden = count === present.length;
  $("others").textContent = `and ${count - present.length} more`;
}

function askRoster(after) {
  lastRef += 1;
  paging = `r${lastRef}`;
  link.send({ type: "members", room: link.room, ref: paging, ...(after === undefined ? {} : { after }) });
}

function takeRoster({ members = [], seq, count, members_next: next }, first) {
  roster.take(members, seq, count, first);
  paging = null;
  if (next !== undefined && roster.present.length < ROSTER_SHOWN) askRoster(next);
}

// The outbox

/** The room has this message as its event `seq`; `frame` is that event, if it came before the ack. */
function settle(item, seq, frame) {
  unsent = unsent.filter((other) => other !== item);
  decide(item, "");
  if (frame) stamp(item.row, frame.at);
  else confirmed.set(seq, item.row);
  early.delete(seq);
  append(item.row, seq);
}

function decide(item, fate, why = "") {
  item.fate = fate;
  const place = item.row.querySelector(".fate");
  item.row.dataset.fate = fate;
  const words = {
    waiting: "Waiting for the connection",
    sending: "Sending…",
    unsure: "Not confirmed: the connection was lost, so it may or may not have arrived.",
    refused: `Not delivered. ${why}`,
  };
  place.replaceChildren(words[fate] ?? "");
  if (fate !== "unsure" && fate !== "refused") return;
  const again = make("button", "", "Send again");
  const discard = make("button", "", "Discard");
  again.type = discard.type = "button";
  again.onclick = () => {
    unsent = [...unsent.filter((other) => other !== item), item];
    outbox.append(item.row);
    decide(item, "waiting");
    flush();
    $("text").focus();
  };
  discard.onclick = () => {
    unsent = unsent.filter((other) => other !== item);
    item.row.remove();
    group(outbox.firstElementChild);
    $("text").focus();
  };
  const ways = make("span", "ways");
  ways.append(again, discard);
  place.append(ways);
}

const frameOf = ({ ref, text }) => ({ type: "broadcast", room: link.room, data: text, ref });

/** Send what was never put on a connection; what was, only a person may send again. */
function flush() {
  if (!link.ready) return;
  for (const item of unsent.filter((other) => other.fate === "waiting")) {
    lastRef += 1;
    item.ref = `m${lastRef}`; // anew for each sending, so that no late answer meets the wrong one
    const over = byteLength(JSON.stringify(frameOf(item))) - link.bytes;
    if (over > 0) {
      decide(item, "refused", `It is ${over} bytes too long for this server.`);
    } else {
      decide(item, "sending");
      link.send(frameOf(item));
    }
  }
}

function losing() {
  for (const [seq, frame] of early) {
    const item = unsent.find((other) => other.fate === "sending" && other.text === frame.data);
    if (item) settle(item, seq, frame); // it came back to us, so it did arrive
  }
  early.clear();
  confirmed.clear();
  for (const item of unsent) if (item.fate === "sending") decide(item, "unsure");
}

// What the server says

const frames = {
  joined(frame) {
    const again = log.childElementCount > 0;
    roster.clear(frame.seq);
    takeRoster(frame, true);
    if (!roster.get(link.member)) roster.take([{ member: link.member, info: link.info }], frame.seq);
    if (frame.ref === undefined) divider("The room began anew; what was said in between is not shown");
    else if (again) divider("Reconnected; what was said in between is not shown");
    else line(`You joined as ${nameOf({ member: link.member, info: link.info })}`);
  },

  message(frame) {
    if (frame.from === link.member && frame.room === link.room && frame.seq !== undefined) {
      if (confirmed.has(frame.seq)) stamp(confirmed.get(frame.seq), frame.at);
      else early.set(frame.seq, frame);
      confirmed.delete(frame.seq);
      return;
    }
    say(frame, frame.room === link.room ? "" : "to everyone");
  },

  direct(frame) {
    say({ ...frame, at: Date.now() }, "only to you");
  },

  ack({ ref, seq }) {
    const item = unsent.find((other) => other.ref === ref && other.fate === "sending");
    if (!item) return;
    settle(item, seq, early.get(seq));
  },

  error(frame) {
    const item = unsent.find((other) => other.ref === frame.ref && other.fate === "sending");
    // What a server refuses while it drains, it did not apply: it waits like the rest.
    if (item && frame.code === "busy" && !link.ready) decide(item, "waiting");
    else if (item) decide(item, "refused", sentence(frame));
    else line(sentence(frame), "bad");
    if (frame.ref === paging) paging = null;
  },

  member_joined(frame) {
    if (frame.seq <= roster.base) return;
    roster.came(frame, frame.seq);
    line(`${nameOf(frame)} joined`);
  },

  member_left({ member, seq, reason }) {
    if (seq <= roster.base) return;
    const person = roster.get(member);
    roster.went(member, seq);
    line(`${person ? nameOf(person) : "Somebody"} ${reason === "kicked" ? "was removed" : "left"}`);
  },

  member_info({ member, seq, info }) {
    if (seq <= roster.base) return;
    const before = roster.get(member);
    roster.changed(member, info, seq);
    const [was, is] = [before && nameOf(before), nameOf({ ...before, member, info })];
    if (before && was !== is) line(`${was} is now called ${is}`);
  },

  presence({ seq, joined, left, count }) {
    if (seq <= roster.base) return;
    const gone = left.map(({ member }) => roster.get(member)).filter(Boolean).map(nameOf);
    roster.moved(joined, left, count, seq);
    if (joined.length) line(`${listing(joined.map(nameOf))} joined`);
    if (gone.length) line(`${listing(gone)} left`);
  },

  members(frame) {
    if (frame.ref === paging) takeRoster(frame, frame.ref === freshRoster);
  },

  gap({ room, from, to, roster: stale }) {
    const what = room === link.room ? "Some messages" : "Some messages to everyone";
    divider(`${what} were missed (seq ${from}–${to})`);
    if (!stale) return;
    askRoster();
    freshRoster = paging;
  },
};
let freshRoster = null; // the ref of the request whose answer begins the roster anew

function say({ from, user, data, seq, at }, aside) {
  const person = from === null ? { member: null } : (roster.get(from) ?? { member: from, user });
  const plain = typeof data === "string" || typeof data?.text === "string";
  const row = messageRow({
    by: from ?? "server",
    member: from,
    name: from === null ? "Server" : nameOf(person),
    text: plain ? (data.text ?? data) : JSON.stringify(data),
    at,
    aside,
    plain,
  });
  if (!following || document.hidden) unseen += 1;
  append(row, aside ? undefined : seq);
  showPill();
  showTitle();
}

function heard(frame) {
  const toAll = frame.room === "$all" && (frame.type === "message" || frame.type === "gap");
  if (frame.room !== undefined && frame.room !== link.room && !toAll) return;
  frames[frame.type]?.(frame);
  if (paging === null) roster.tidy();
  if (!redraw) redraw = requestAnimationFrame(() => ((redraw = 0), link && showRoster()));
}
let redraw = 0;

// What the person sees of the connection, and does

const WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", failed: "Not connected" };

function moved() {
  const { phase, text, wait, ready } = link;
  const before = document.body.dataset.state;
  if (phase !== before) {
    document.body.dataset.state = phase;
    if (before === "live") losing();
    if (phase === "live") flush();
    $("again").textContent = phase === "failed" ? "Try again" : "Try now";
  }
  const quiet = phase === "connecting" || (phase === "live" && ready);
  put($("state-text"), WORDS[phase]);
  $("text").placeholder = phase === "live" ? "Write a message" : "Write a message for later";
  put($("banner-text"), phase === "live" && !ready ? "The server is about to restart." : quiet ? "" : text);
  put($("countdown"), phase !== "reconnecting" ? "" : wait > 0 ? `Trying again in ${Math.ceil(wait)} s.` : "Trying again…");
  $("again").hidden = phase === "live" || (phase === "reconnecting" && wait === 0);
  $("banner").hidden = quiet;
}

/** Set a text only if it is another, so that screen readers are not told again. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function measure() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  const limit = link.bytes ?? Infinity;
  const used = byteLength(JSON.stringify(frameOf({ ref: `m${lastRef + 1}`, text: textOf(box) })));
  const left = limit - used;
  $("limit").classList.toggle("bad", left < 0);
  put($("limit"), left < 0 ? `Too long by ${-left} bytes` : left < limit / 5 ? `${left} bytes left` : "");
  return left >= 0;
}

// A half of a surrogate pair is no text, and a server may not accept it.
const textOf = (box) => box.value.trim().replace(/\p{Surrogate}/gu, "\ufffd");

function enter(room, name) {
  link = new Link(room, { name }, heard, moved);
  $("title").textContent = room;
  $("chat").hidden = false;
  history.replaceState(null, "", `#${encodeURIComponent(room)}`);
  moved();
  showRoster();
  toBottom();
  measure();
  $("text").focus();
}

function exit() {
  link.stop();
  link = null;
  unsent = [];
  early.clear();
  confirmed.clear();
  for (const list of [log, outbox]) list.replaceChildren();
  $("trimmed").hidden = true;
  $("chat").hidden = true;
  document.body.dataset.state = "setup";
  unseen = 0;
  showTitle();
  $("name").focus();
}

const mayDiscard = () => unsent.length === 0 || confirm("Your undelivered messages will be thrown away.");

function roomInHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Why the server would not take this room name, or "". */
function roomFault(room) {
  if (room.startsWith("$")) return "Names that begin with $ belong to the server.";
  if (/\p{Cc}/u.test(room)) return "A room name has no control characters.";
  if (byteLength(room) > 255) return "That room name is too long.";
  return room ? "" : "Which room?";
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = $("room").value.trim().normalize("NFC");
  const name = $("name").value.trim().replace(/\p{Surrogate}/gu, "");
  $("room").setCustomValidity(roomFault(room));
  $("name").setCustomValidity(name ? "" : "What should the others call you?");
  if (!event.target.reportValidity()) return;
  try {
    localStorage.setItem("roomactors.name", name);
  } catch {
    // Storage may be forbidden; then the name is asked for again.
  }
  enter(room, name);
});
for (const id of ["room", "name"]) $(id).addEventListener("input", () => $(id).setCustomValidity(""));

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = textOf($("text"));
  if (!text || !measure()) return;
  if (unsent.length >= OUTBOX_LONGEST) {
    put($("limit"), `${OUTBOX_LONGEST} messages are waiting already.`);
    return;
  }
  const item = { ref: null, text, row: messageRow({ by: "me", member: link.member, name: "You", text, at: Date.now() }) };
  unsent.push(item);
  outbox.append(item.row);
  decide(item, "waiting");
  group(item.row);
  $("text").value = "";
  measure();
  flush();
  toBottom();
});

$("text").addEventListener("input", measure);
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

scroller.addEventListener("scroll", () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BOTTOM;
  if (following) toBottom();
});
new ResizeObserver(keepUp).observe(scroller);
document.addEventListener("visibilitychange", () => !document.hidden && following && link && toBottom());

function openSide(open) {
  $("side").classList.toggle("open", open);
  $("people").setAttribute("aria-expanded", String(open));
}
$("people").addEventListener("click", () => openSide(!$("side").classList.contains("open")));
document.addEventListener("keydown", (event) => event.key === "Escape" && openSide(false));
document.addEventListener("click", ({ target }) => target.closest("#side, #people") || openSide(false));

$("pill").addEventListener("click", () => {
  toBottom();
  $("text").focus();
});
$("again").addEventListener("click", () => {
  link.now();
  $("text").focus();
});
$("leave").addEventListener("click", () => mayDiscard() && exit());
addEventListener("hashchange", () => {
  const room = roomInHash();
  $("room").value = room;
  if (!link || room === link.room || !mayDiscard()) return;
  const { name } = link.info;
  exit();
  if (!roomFault(room)) enter(room, name);
});
addEventListener("beforeunload", (event) => unsent.length && event.preventDefault());

$("room").value = roomInHash() || "lobby";
try {
  $("name").value = localStorage.getItem("roomactors.name") ?? "";
} catch {
  // As above.
}
$("name").focus();
