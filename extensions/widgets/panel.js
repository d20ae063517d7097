// The panel of a cell: folds what the kernel sends into pictures, and sends what the reader clicks. It draws only
// what facts say; selection, scroll and open folds belong to this view. Text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const HELLO_MS = 3000, ACK_MS = 1000, SILENT_MS = 3000, EVICTED_MS = 2000, RING_MS = 600;
const NAMES = {
  w: "waiting", r: "running", d: "done", m: "cached in memory", k: "cached on disk", M: "cached, two copies",
  l: "lost", a: "recomputed", s: "skipped", f: "failed", n: "not run yet (lazy)",
};
const SHORT = { m: "in memory", k: "on disk", M: "in two copies" };
const TINTS = { r: "run", d: "done", m: "mem", k: "mem", M: "mem", l: "lost", a: "re", f: "fg" };
const HELD = "mkM";
const WORST = "flarkmMwsdn"; // what a crowded picture must not hide, first
const STROKES = [0, 2.5, 6, 9, 13];
const WIDTH = 1101; // of "Stage 2, 24 tasks, 0.09 s" at 100 px, as the kernel reckons
const EDGES = [["narrow", 1.5], ["< 1 MiB", 2.5], ["< 10 MiB", 6], ["< 100 MiB", 9], ["100 MiB and more", 13]];
const count = (n) => Number(n).toLocaleString("en");
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
let views = 0;

function put(node, attrs, kids) {
  for (const [key, value] of Object.entries(attrs || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const kid of kids || []) if (kid) node.append(kid);
  return node;
}
const el = (tag, attrs, ...kids) => put(document.createElement(tag), attrs, kids);
const div = (name, ...kids) => el("div", { class: name }, ...kids);
const bold = (text) => el("b", { text });
const span = (text) => el("span", { text });
const sv = (tag, attrs, ...kids) => put(document.createElementNS(SVG, tag), attrs, kids);
const drawing = (width, height, ...kids) => sv("svg", { width, height, "aria-hidden": "true" }, ...kids);
const ink = (name) => `var(--sl-${name})`;
const px = (n) => `${Math.round(n * 100) / 100}px`;
const rect = (x, y, width, height, style, more) => sv("rect", { x, y, width, height, style, ...more });
const place = (x, y, w, h) => ({ left: px(x), top: px(y), width: px(w), height: px(h) });
function say(node, text) { if (node.textContent !== text) node.textContent = text; }

// --- the shapes: each state a shape, a colour and a border -------------------------------------------------

function shape(state, size, uid) {
  const c = size / 2, w = size - 1;
  const box = (fill, stroke, more) => rect(0.5, 0.5, w, w, { fill, stroke }, more);
  const dot = (r) => sv("circle", { cx: c, cy: c, r, style: { fill: ink("mem") } });
  const path = (d, stroke, width) => sv("path", { d, "stroke-width": width, style: { fill: "none", stroke } });
  const bg = ink("bg"), mem = ink("mem"), lost = ink("lost"), fg = ink("fg"), edge = ink("edge");
  const arrow = (colour) => sv("g", { transform: `translate(${size * 0.02} ${size * 0.02}) scale(${size / 12})` },
    path("M8.9 4.1A3.5 3.5 0 1 0 9.4 7.2", colour, size < 14 ? 1.7 : 1.4), path("M9.5 1.3V4.6H6.2", colour, size < 14 ? 1.7 : 1.4));
  switch (state) {
    case "r": return [box(`url(#${uid}-run)`, edge)];
    case "d": return [box(ink("done"), ink("done"))];
    case "m": return [box(bg, mem), dot(size * 0.27)];
    case "k": return [box(`url(#${uid}-disk)`, mem)];
    case "M": return [box(bg, mem), rect(3, 3, size - 6, size - 6, { fill: size < 10 ? mem : "none", stroke: mem }),
      size < 10 ? null : dot(size * 0.17)];
    case "l": { const i = size * 0.24; return [box(bg, lost), path(`M${i} ${i}L${size - i} ${size - i}M${size - i} ${i}L${i} ${size - i}`, lost, size < 10 ? 1.6 : 2.4)]; }
    case "a": return [box(ink("re"), edge), arrow("#000")];
    case "s": return [box("none", ink("wait"), { "stroke-dasharray": "2 2" })];
    case "f": return [box(fg, fg), rect(c - size * 0.075, size * 0.2, size * 0.15, size * 0.38, { fill: bg }),
      rect(c - size * 0.075, size * 0.66, size * 0.15, size * 0.15, { fill: bg })];
    case "o": return [rect(size * 0.28, size * 0.28, size * 0.44, size * 0.44, { fill: "none", stroke: mem }, { "stroke-width": 1.5 })];
    default: return [box(bg, ink("wait"))];
  }
}

function definitions(uid) {
  const stripe = sv("pattern", { id: `${uid}-run`, width: 5.2, height: 5.2, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    sv("rect", { width: 5.2, height: 5.2, style: { fill: ink("bg") } }), sv("rect", { width: 3, height: 5.2, style: { fill: ink("run") } }));
  const lines = sv("pattern", { id: `${uid}-disk`, width: 4, height: 3.5, patternUnits: "userSpaceOnUse" },
    sv("rect", { width: 4, height: 3.5, style: { fill: ink("bg") } }), sv("rect", { width: 4, height: 1.7, style: { fill: ink("mem") } }));
  const symbols = [];
  for (const state of "wrdmkMlasfo") for (const size of [20, 16, 13, 8]) symbols.push(sv("g", { id: `${uid}-${state}${size}` }, ...shape(state, size, uid)));
  return sv("svg", { class: "sl-defs", "aria-hidden": "true" }, sv("defs", {}, stripe, lines, ...symbols));
}

// --- one view ---------------------------------------------------------------------------------------------

class View {
  constructor(model, root) {
    this.model = model;
    this.uid = `sl${++views}-${Math.random().toString(36).slice(2, 7)}`;
    this.stop = new AbortController();
    this.tab = model.get("tab") === "cache" ? "cache" : "dag";
    this.unfolded = model.get("form") !== "strip";
    this.job = null; // null follows the newest job
    this.opened = [];
    this.other = null; // the snapshot of another job or of open folds, this view's own
    this.node = null; this.part = null; this.row = null;
    this.pending = new Map();
    this.number = Math.floor(Math.random() * 2 ** 40); // every view hears every answer, and knows its own by number
    this.peeked = this.sampled = null; // records that this view's reader asked for
    this.over = ""; this.notice = ""; this.heard = performance.now();
    this.evicted = new Map(); this.timers = new Set(); this.scrolled = false;
    this.drawer = ""; this.lecture = false; this.paused = null; // the open fold, and what the reader chose for this view
    this.build(root);
    this.listen();
    this.update();
  }

  after(ms, what) { const t = setTimeout(() => { this.timers.delete(t); what(); }, ms); this.timers.add(t); return t; }

  cell(state, size, x = 0, y = 0) { return sv("use", { href: `#${this.uid}-${state === "n" ? "w" : state}${size}`, x, y }); }
  glyph(state, size = 13) { return drawing(size, size, this.cell(state, size)); }

  button(text, act, more) { return el("button", { type: "button", text, onclick: act, ...more }); }

  build(root) {
    const tab = (key, name) => this.button(name, () => this.show(key), { class: "sl-tab", role: "tab", "data-tab": key });
    this.ui = {
      strip: div("sl-strip"), head: el("span", { class: "sl-head-text", role: "heading", "aria-level": "3" }),
      main: this.button("Cancel", () => this.mainButton(), { class: "sl-stop" }), fold: this.button("Close", () => this.unfold(false), { title: "Back to one line" }),
      dagTab: tab("dag", "DAG"), cacheTab: tab("cache", "Cache"), jobs: el("div", { class: "sl-jobs", role: "group", "aria-label": "Jobs" }),
      folds: ["Legend", "Log", "Options"].map((name) => this.button(name, () => { this.drawer = this.drawer === name ? "" : name; this.update(); }, { class: "sl-tab" })),
      view: el("div", { class: "sl-view", role: "tabpanel", tabindex: "-1" }), card: el("aside", { class: "sl-card", hidden: true, "aria-label": "The selected RDD" }),
      text: el("span", { class: "sl-foot-text" }), actions: el("span", { class: "sl-mini" }), behind: el("b"), drawer: el("div", { class: "sl-legend", hidden: true }),
      lecture: this.button("Lecture mode", () => { this.lecture = !this.lecture; this.redraw(); }), pause: this.button("Pause", () => this.pause(!this.paused), { title: "Only the picture stops" }),
      live: el("div", { class: "sl-sr", "aria-live": "polite" }),
    };
    const u = this.ui;
    u.full = el("div", {}, div("sl-head", u.head, u.fold, u.main),
      el("div", { class: "sl-tabs", role: "tablist" }, u.dagTab, u.cacheTab, u.jobs, ...u.folds),
      div("sl-body", u.view, u.card), u.drawer, div("sl-foot", u.text, u.behind, u.actions));
    u.body = u.full.querySelector(".sl-body");
    this.panel = el("section", { class: "sl-panel", "aria-label": "sparklab" }, definitions(this.uid), u.strip, u.full, u.live);
    root.append(this.panel);
    u.view.addEventListener("scroll", () => { this.scrolled = true; });
    this.panel.addEventListener("keydown", (event) => this.key(event));
    this.theme();
  }

  listen() {
    const on = (name, act) => { this.model.on(name, act); this.stop.signal.addEventListener("abort", () => this.model.off(name, act)); };
    on("change:model", () => { this.heard = performance.now(); this.over = ""; this.follow(); this.update(); });
    on("change:form", () => { this.unfolded = this.model.get("form") !== "strip"; this.update(); });
    on("change:alive", () => this.ended());
    on("msg:custom", (message) => this.receive(message));
    for (const name of ["comm:close", "comm_live_update", "destroy"]) on(name, () => this.ended(true));
    this.send("hello", {});
    this.after(HELLO_MS, () => { if (this.pending.size && !this.silence()) this.update(); });
    const beat = setInterval(() => { if (this.silence() !== this.wasSilent) this.foot(); }, 500);
    const watch = new MutationObserver(() => { this.theme(); this.redraw(); });
    watch.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"] });
    // A notebook builds cells out of sight: what was drawn without a width is drawn again when there is one.
    const room = new ResizeObserver(() => {
      const now = this.panel.clientWidth;
      if (now && Math.abs(now - (this.room || 0)) > 8) { this.room = now; this.theme(); this.redraw(); }
    });
    room.observe(this.panel);
    this.stop.signal.addEventListener("abort", () => { clearInterval(beat); watch.disconnect(); room.disconnect(); for (const t of this.timers) clearTimeout(t); });
  }

  theme() {
    this.panel.classList.remove("sl-dark", "sl-wide");
    this.panel.classList.toggle("sl-wide", wide(getComputedStyle(this.panel).fontFamily));
    const rgb = (getComputedStyle(this.panel).backgroundColor.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    this.panel.classList.toggle("sl-dark", 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] < 128);
  }

  get synced() { return this.model.get("model") || {}; }

  get off() { return Boolean(this.over || this.synced.over); }

  // What is on show: the newest job as synced or as it stood at a pause, or this view's own snapshot.
  get data() {
    const synced = this.paused || this.synced;
    return this.other ? { ...synced, dag: this.other.dag, job: this.other.job, legend: this.other.legend, counts: { ...synced.counts, dag: this.other.counts.dag } } : synced;
  }

  ended(lost) {
    if (lost || this.model.get("alive") === false) this.over = "this run is over: its kernel has ended or was restarted";
    this.update();
  }

  silence() {
    const running = this.synced.running && !this.over;
    const ms = performance.now() - this.heard;
    return running && ms > SILENT_MS ? Math.floor(ms / 1000) : 0;
  }

  // --- commands: sent, acknowledged, answered; the picture waits for facts -----------------------------------

  send(cmd, args, what) {
    const id = ++this.number;
    this.pending.set(id, { cmd, what });
    try { this.model.send({ cmd, ...args, id }); } catch (error) { this.over = "this run is over: no way to its kernel"; }
    if (what) {
      this.tell(`${what} ...`);
      this.after(ACK_MS, () => {
        if (this.pending.has(id) && !this.pending.get(id).heard) this.tell(`${what}: the kernel has not acknowledged this in 1 s. If it is busy, the notebook's Stop button interrupts it.`, true);
      });
    }
    return id;
  }

  receive(message) {
    if (!message || typeof message !== "object") return;
    this.heard = performance.now();
    const asked = this.pending.get(message.id);
    if (message.type === "ack" && asked) { asked.heard = true; if (asked.what) this.tell(`${asked.what}: acknowledged`); }
    else if (message.type === "hello") this.pending.delete(message.id);
    else if (message.type === "snapshot") {
      this.pending.delete(message.id);
      if (message.id === this.wanted) { this.wanted = null; if (this.job !== null || this.opened.length) { this.other = message.model; this.update(); } }
    } else if (message.type === "answer" && asked) {
      this.pending.delete(message.id);
      if (asked.into) { asked.into.lines = message.ok ? message.records : [message.error || "refused"]; asked.into.bad = !message.ok; this.update(); return; }
      this.tell(message.ok ? message.message || `${asked.what}: done` : `${asked.what}: ${message.error || "refused"}`, !message.ok);
      this.update();
    }
  }

  look(cmd, args, key) { const into = { key, lines: [cmd === "peek" ? "..." : "computing ..."] }; this.pending.get(this.send(cmd, args)).into = into; return into; }

  tell(text, loud) { this.notice = text; this.loud = Boolean(loud); this.foot(); say(this.ui.live, text); }

  busy(cmd) { return [...this.pending.values()].some((asked) => asked.cmd === cmd); }

  follow() {
    const synced = this.synced;
    if (this.job !== null && !(synced.jobs || []).some((tab) => tab.job === this.job)) this.job = null;
    if (this.job === null && !this.opened.length) { this.other = null; return; }
    if (!this.wanted && !this.paused) this.ask();
  }

  ask() { this.paused = null; this.wanted = this.send("snapshot", { job: this.job, open: this.opened }); this.after(HELLO_MS, () => { this.wanted = null; }); }

  mainButton() {
    const { running, active } = this.synced;
    if (running) this.send("cancel", { jobs: active || [] }, "Cancel");
    else this.send("reset", {}, "Reset");
    this.update();
  }

  // --- what the reader chooses ---------------------------------------------------------------------------------

  pause(on) { this.paused = on ? this.synced : null; this.update(); }

  unfold(open) { this.unfolded = open; this.paused = null; this.drawn = null; this.send("touch", {}); this.update(); (open ? this.ui.fold : this.ui.strip.querySelector("button:last-child"))?.focus(); }

  show(tab) { this.tab = tab; this.select(null); this.row = null; this.notice = ""; this.drawn = null; this.scrolled = false; this.update(); }

  showJob(job) {
    this.job = job === this.synced.job ? null : job;
    this.opened = []; this.other = null; this.select(null); this.notice = ""; this.scrolled = false;
    if (this.job !== null) this.ask();
    this.update();
  }

  select(key, part = null) {
    this.node = key; this.part = part; this.notice = "";
    this.ui.card.hidden = true;
  }

  pick(node, event) {
    if (node.fold) {
      if (this.over) { this.tell("the kernel that could open this fold has ended"); return; }
      this.opened = [...this.opened, node.fold]; this.ask(); return;
    }
    const box = event.currentTarget.getBoundingClientRect(), part = event.detail ? partAt(node, (event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale) : null;
    const again = this.node === node.k && (part === this.part || part === null);
    this.select(again ? null : node.k, again ? null : part);
    this.update();
    if (!again) this.ui.view.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    if (event.key === "Escape" && this.node !== null) { const at = this.node; this.select(null); this.update(); this.buttons?.get(at)?.focus(); event.stopPropagation(); return; }
    const from = event.target.closest?.(".sl-node");
    if (from && event.key.startsWith("Arrow")) {
      const next = neighbour(this.data.dag.nodes, from.dataset.key, event.key);
      if (next) { for (const [k, b] of this.buttons) b.tabIndex = k === next ? 0 : -1; this.buttons.get(next).focus(); }
      own(event);
    } else if (event.target.matches?.(".sl-tab[role=tab]") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      this.show(this.tab === "dag" ? "cache" : "dag"); (this.tab === "dag" ? this.ui.dagTab : this.ui.cacheTab).focus(); own(event);
    } else if (event.target.matches?.(".sl-rdd") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const row = (this.data.cache.rows || []).find((one) => String(one.rdd) === event.target.dataset.rdd);
      if (row) { const by = event.key === "ArrowLeft" ? -1 : 1; this.row = row.rdd; this.part = ((this.part ?? -by) + by + row.p.length) % row.p.length; this.update(); }
      own(event);
    } else if (from || event.target.matches?.(".sl-rdd")) event.stopPropagation(); // a notebook's own shortcuts stay away
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  update() {
    const data = this.data, u = this.ui;
    if (!data.head) return;
    u.strip.hidden = this.unfolded; u.full.hidden = !this.unfolded;
    this.panel.classList.toggle("sl-lecture", this.lecture);
    if (!this.unfolded) { this.strip(data); return; }
    u.fold.hidden = this.model.get("form") !== "strip";
    say(u.head, u.head.title = data.head);
    const stopping = this.busy("cancel");
    say(u.main, this.synced.running ? (stopping ? "Cancelling" : "Cancel") : "Reset");
    u.main.disabled = this.off || stopping || this.busy("reset");
    u.main.title = this.synced.running ? "Cancel the jobs of this cell" : data.reset || "";
    for (const [tab, key] of [[u.dagTab, "dag"], [u.cacheTab, "cache"]]) {
      say(tab, `${key === "dag" ? "DAG" : "Cache"} ${count(data.counts[key])}`);
      tab.setAttribute("aria-selected", this.tab === key); tab.tabIndex = this.tab === key ? 0 : -1;
    }
    for (const tab of u.folds) tab.setAttribute("aria-expanded", tab.textContent === this.drawer);
    u.lecture.setAttribute("aria-pressed", this.lecture); u.pause.setAttribute("aria-pressed", Boolean(this.paused));
    this.jobs(data);
    if (this.tab === "cache") this.cache(data); else this.dag(data);
    this.fold(data); this.foot();
    if (data.summary !== this.said && !data.running) { this.said = data.summary; say(u.live, data.summary); }
  }

  redraw() { this.drawn = null; this.update(); }

  strip(data) {
    const s = data.strip || {}, box = this.ui.strip;
    const mode = `${data.running}|${s.state}|${this.off}|${this.busy("cancel")}`;
    if (box.dataset.mode !== mode) {
      box.dataset.mode = mode; box.replaceChildren();
      const open = this.button("Open", () => this.unfold(true), { "aria-label": "Open the panel" });
      this.parts = { text: el("span", { class: "sl-strip-text" }), time: el("span"), done: el("i"), run: el("i"), of: el("span") };
      box.append(this.glyph(s.state || "w"), this.parts.text);
      if (data.running) {
        const stop = this.button(this.busy("cancel") ? "Cancelling" : "Cancel", () => this.mainButton(), { disabled: Boolean(this.over) || this.busy("cancel") });
        this.parts.name = el("b"); this.parts.where = el("span"); this.parts.text.append(this.parts.name, this.parts.where);
        box.append(el("div", { class: "sl-meter", role: "progressbar", "aria-label": "tasks", "aria-valuemin": 0 }, this.parts.done, this.parts.run), this.parts.of,
          el("span", { class: "sl-space" }), this.parts.time, el("span", { class: "sl-mini" }, stop, open));
      } else box.append(el("span", { class: "sl-space" }), open);
    }
    if (!data.running) { say(this.parts.text, data.head); return; }
    say(this.parts.name, s.name || data.head); say(this.parts.where, s.where ? `, ${s.where}` : "");
    const of = Math.max(1, s.total || 0), meter = box.querySelector(".sl-meter");
    meter.setAttribute("aria-valuemax", of); meter.setAttribute("aria-valuenow", s.done || 0);
    this.parts.done.style.width = `${(100 * (s.done || 0)) / of}%`; this.parts.run.style.width = `${(100 * (s.running || 0)) / of}%`;
    this.parts.run.hidden = !s.running;
    say(this.parts.of, s.total ? `${count(s.done)}/${count(s.total)}` : "");
    const silent = this.silence();
    say(this.parts.time, this.over ? "this run is over" : silent ? `no word from the kernel for ${silent} s` : this.loud ? this.notice : s.time || "");
  }

  jobs(data) {
    const tabs = data.jobs || [], sig = JSON.stringify([tabs, data.job, this.job]);
    if (sig === this.jobsDrawn) return;
    this.jobsDrawn = sig;
    this.ui.jobs.replaceChildren(...(tabs.length < 2 && !(tabs[0]?.n > 1) ? [] : tabs.map((tab) => this.button("", () => this.showJob(tab.job), {
      class: "sl-job", "aria-pressed": String(tab.job === data.job), title: tab.title,
    }))));
    [...this.ui.jobs.children].forEach((button, i) => {
      button.append(span(tabs[i].label));
      if (tabs[i].n > 1) button.append(spark(tabs[i].walls || []), span(`x ${count(tabs[i].n)}`));
    });
  }

  // One drawer for what is folded away: the legend, the log or the options.
  fold(data) {
    const box = this.ui.drawer, log = data.log?.length ? data.log : ["Nothing has been lost, evicted or warned of."];
    box.hidden = !this.drawer;
    if (this.drawer === "Legend") { this.legend(data, box); return; }
    const sig = this.drawer === "Log" ? log.join("\n") : this.drawer;
    if (!sig || sig === this.drawerDrawn) return;
    this.drawerDrawn = sig;
    box.replaceChildren(...(this.drawer === "Log" ? [el("div", { class: "sl-log", tabindex: "0" }, ...log.map((text) => el("div", { text })))] : [this.ui.lecture, this.ui.pause]));
  }

  legend(data, box) {
    const cache = this.tab === "cache", present = new Set((data.dag?.edges || []).map((edge) => (edge.sh < 0 ? 0 : edge.w)));
    const states = cache ? Object.keys(NAMES).filter((state) => data.cache.rows.some((row) => row.p.includes(state))) : [...data.legend];
    const widths = cache ? [] : EDGES.filter((_, i) => present.has(i)), sig = states.join("") + widths.join();
    if (sig === this.drawerDrawn) return;
    this.drawerDrawn = sig;
    box.replaceChildren(...states.map((state) => el("span", {}, this.glyph(state), span(NAMES[state]))),
      ...widths.map(([name, width]) => el("span", {}, drawing(26, 14,
        sv("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": width, style: { stroke: ink("thick") } })), el("span", { text: name === "narrow" ? "narrow: no data moves" : `shuffle, ${name}` }))));
  }

  foot() {
    const data = this.data, u = this.ui, silent = this.silence();
    this.wasSilent = silent;
    if (!this.unfolded) { this.update(); return; }
    const loud = this.over || this.synced.over || (silent && `no word from the kernel for ${silent} s`) || (this.loud && this.notice);
    say(u.text, loud || this.notice || (this.tab === "cache" ? data.cache?.log : data.foot) || "");
    u.text.title = u.text.textContent;
    u.text.classList.toggle("sl-loud", Boolean(loud || data.error));
    say(u.behind, this.paused ? `Paused, ${plural(Math.max(0, this.synced.seq - this.paused.seq), "fact")} behind` : "");
    const [of, make] = this.tab === "cache" ? this.rowActions(data.cache) : this.dagActions(data.dag);
    const key = `${of}|${Boolean(this.paused)}`;
    if (key !== u.actions.dataset.of) { u.actions.dataset.of = key; u.actions.replaceChildren(...make(), ...(this.paused ? [this.button("Resume", () => this.pause(false))] : [])); }
  }

  dagActions(dag) {
    if (dag?.nodes?.some((node) => node.losts?.length)) return ["next", () => [this.button("Next lost", () => this.nextLost())]];
    if (this.opened.length) return ["folds", () => [this.button("Fold again", () => { this.opened = []; this.other = null; this.redraw(); if (this.job !== null) this.ask(); })]];
    return ["", () => []];
  }

  nextLost() {
    const all = this.data.dag.nodes.flatMap((node) => (node.losts || []).map((part) => [node.k, part]));
    const at = all.findIndex(([key, part]) => key === this.node && part === this.part);
    const [key, part] = all[(at + 1) % all.length];
    this.select(key, part); this.notice = `lost: partition ${count(part)} of ${this.data.dag.nodes.find((n) => n.k === key).n}`; this.update();
    this.buttons.get(key)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  dag(data) {
    const dag = data.dag, u = this.ui;
    if (!dag || !dag.nodes.length) {
      u.card.hidden = true;
      if (this.drawn !== "empty") { this.drawn = "empty"; u.view.replaceChildren(el("p", { class: "sl-none", text: data.empty || "No job has run in this cell." })); }
      return;
    }
    const sig = JSON.stringify([data.job, this.tab, dag.w, dag.h, dag.nodes.map((n) => [n.k, n.x, n.y, n.n, n.g, n.p.length]), dag.edges.length]);
    if (sig !== this.drawn) { this.drawn = sig; this.drawDag(dag); }
    const near = this.node !== null && dag.nodes.some((n) => n.k === this.node) ? ancestors(dag, this.node) : null;
    if (!near) { this.node = null; u.card.hidden = true; }
    for (const frame of dag.frames) { const box = this.frames.get(frame.k); say(box.firstChild, frame.t); box.classList.toggle("sl-dim", Boolean(near) && !dag.nodes.some((n) => n.f === frame.k && near.has(n.k))); }
    for (const node of dag.nodes) this.fill(node, near);
    dag.edges.forEach((edge, i) => {
      const g = this.edges[i], lit = near && near.has(edge.a) && near.has(edge.b);
      g.classList.toggle("sl-lit", Boolean(lit)); g.classList.toggle("sl-dim", Boolean(near) && !lit);
      if (edge.sh < 0) return;
      const width = STROKES[edge.w], [line, tip, , bytes] = g.children;
      line.setAttribute("stroke-width", width);
      const [x, y] = edge.d[edge.d.length - 1], back = width + 4;
      tip.setAttribute("d", `M${x - back} ${y - width / 2 - 3.5}L${x} ${y}L${x - back} ${y + width / 2 + 3.5}z`);
      line.setAttribute("d", route(edge.d, width + 3));
      if (bytes) say(bytes, edge.bytes);
    });
    if (near) this.card(dag.nodes.find((n) => n.k === this.node), dag, near, data);
    if (data.running && !this.scrolled) this.chase(dag);
  }

  // While nobody has scrolled, the stage that runs stays in sight.
  chase(dag) {
    const at = dag.nodes.filter((node) => node.p.includes("r")).pop(), view = this.ui.view;
    if (!at || dag.w * this.scale + 32 <= view.clientWidth) return;
    const want = Math.max(0, (at.x + at.w) * this.scale + 48 - view.clientWidth);
    if (Math.abs(view.scrollLeft - want) > 8) { view.scrollLeft = want; requestAnimationFrame(() => { this.scrolled = false; }); }
  }

  drawDag(dag) {
    const u = this.ui, keep = this.sameJob === this.data.job ? [u.view.scrollLeft, u.view.scrollTop] : [0, 0];
    this.sameJob = this.data.job;
    const room = u.view.clientWidth - 32, fits = Math.min(room / dag.w, 278 / dag.h), least = this.lecture ? 1.25 : 1;
    this.scale = fits >= 1.1 ? Math.max(least, Math.min(1.3, fits)) : least; // a small picture is drawn larger, never a large one smaller
    u.body.style.height = px(Math.min(480, Math.max(310, dag.h * this.scale + 34)));
    const stage = el("div", { class: "sl-dag", style: { width: px(dag.w), height: px(dag.h) }, role: "group", "aria-label": "Lineage: arrow keys go from node to node" });
    this.frames = new Map(); this.buttons = new Map(); this.shown = new Map(); this.edges = [];
    for (const f of dag.frames) {
      const box = el("div", { class: `sl-frame${dag.lazy ? " sl-lazy" : ""}`, style: place(f.x, f.y, f.w, f.h) }, span(f.t));
      this.frames.set(f.k, box); stage.append(box);
    }
    const lines = put(drawing(dag.w, dag.h), { class: "sl-edges" });
    for (const edge of dag.edges) {
      const g = sv("g", {});
      if (edge.sh < 0) g.append(sv("path", { class: "sl-thin", d: route(edge.d, 0), "stroke-width": 1.5, "stroke-dasharray": dag.lazy ? "4 3" : null }));
      else {
        const y = edge.d[0][1];
        g.append(sv("path", { d: route(edge.d, STROKES[edge.w] + 3) }), sv("path", { class: "sl-tip" }));
        if (edge.l) g.append(sv("text", { x: edge.lx, y: y - 13, text: `shuffle ${edge.sh}` }), sv("text", { x: edge.lx, y: y + 22, class: "sl-bytes", text: edge.bytes }));
      }
      this.edges.push(g); lines.append(g);
    }
    stage.append(lines);
    for (const node of dag.nodes) stage.append(this.box(node, dag));
    this.buttons.get((dag.nodes.find((n) => n.k === this.node) || dag.nodes[dag.nodes.length - 1]).k).tabIndex = 0;
    stage.style.transform = this.scale > 1 ? `scale(${this.scale})` : "";
    u.view.replaceChildren(el("div", { class: "sl-fit", style: { width: px(dag.w * this.scale), height: px(dag.h * this.scale) } }, stage));
    [u.view.scrollLeft, u.view.scrollTop] = keep;
    requestAnimationFrame(() => { this.scrolled = false; });
  }

  box(node, dag) {
    const button = el("button", {
      type: "button", class: `sl-node${dag.lazy ? " sl-lazy" : ""}`, "data-key": node.k, tabindex: "-1", onclick: (event) => this.pick(this.data.dag.nodes.find((n) => n.k === node.k), event),
      style: place(node.x, node.y, node.w, node.h), title: node.title,
    }, el("span", { class: "sl-name", text: node.n }), el("span", { class: "sl-site", text: node.s }));
    const [kind, gx, gy, columns, cell, pitchX, pitchY] = node.g, held = { node: "", cells: [] };
    if (kind === "squares" || kind === "grid" || kind === "small") {
      const art = drawing(node.w, node.h);
      for (let i = 0; i < node.p.length; i++) {
        const x = gx + (i % columns) * pitchX, y = gy + Math.floor(i / columns) * pitchY, use = this.cell("w", cell, x, y);
        held.cells.push(use); art.append(use);
        if (kind === "squares") art.append(sv("text", { x: x + cell / 2, y: y + cell + 11, text: String(i) }));
      }
      held.art = art; button.append(art);
    } else if (kind === "mosaic") {
      const rows = Math.ceil(node.p.length / columns), ratio = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
      held.canvas = el("canvas", { width: columns * pitchX * ratio, height: rows * pitchY * ratio, style: place(gx - 1, gy - 1, columns * pitchX, rows * pitchY) });
      held.ratio = ratio; held.facts = div("sl-facts"); held.calls = el("div"); held.over = drawing(node.w, node.h);
      const per = node.bin > 1 ? `1 cell: ${count(node.bin)} partitions` : "100 partitions a row";
      button.append(held.canvas, held.facts, held.over, held.calls, axis(gx - 1, 22, "0"), axis(gx + 200, 22, per, "50%"), axis(gx + 399, 22, count(99 * node.bin), "100%"));
      for (let row = 0; row < rows; row += 10) button.append(axis(gx - 9, gy + row * pitchY - 4, count(row * 100 * node.bin), "100%"));
    } else if (kind === "bar") {
      held.of = el("span", { class: "sl-ofbar" }); held.art = drawing(node.w, node.h);
      button.append(held.of, held.art);
      if (node.fold) button.append(el("span", { class: "sl-open", text: "open" }));
    }
    this.shown.set(node.k, held); this.buttons.set(node.k, button);
    return button;
  }

  fill(node, near) {
    const held = this.shown.get(node.k), button = this.buttons.get(node.k);
    button.classList.toggle("sl-dim", Boolean(near) && !near.has(node.k));
    button.setAttribute("aria-pressed", this.node === node.k);
    const label = `${node.n}, ${node.s}, ${node.say}`;
    if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    const was = held.node, now = node.p, picked = this.node === node.k ? this.part : null;
    if (held.cells.length) {
      for (let i = 0; i < now.length; i++) {
        if (now[i] === was[i]) continue;
        const use = held.cells[i], size = node.g[4];
        use.setAttribute("href", `#${this.uid}-${now[i] === "n" ? "w" : now[i]}${size}`);
        if (was) { use.classList.remove("sl-new"); void use.getBoundingClientRect(); use.classList.add("sl-new"); }
        if (was && now[i] === "a") this.ring(held.art, Number(use.getAttribute("x")), Number(use.getAttribute("y")), size);
      }
      held.pick?.remove(); held.pick = null;
      if (picked !== null && held.cells[picked]) { const use = held.cells[picked], size = node.g[4] + 5; held.pick = sv("rect", { class: "sl-pick", x: use.getAttribute("x") - 2.5, y: use.getAttribute("y") - 2.5, width: size, height: size, rx: 2 }); held.art.append(held.pick); }
    } else if (held.canvas && (now !== was || held.was !== picked)) this.mosaic(node, held, was, picked);
    else if (held.of) this.proportions(node, held);
    held.node = now; held.was = picked;
  }

  ring(art, x, y, size) {
    const ring = sv("rect", { class: "sl-ring", x: x - 2, y: y - 2, width: size + 4, height: size + 4, rx: 3 });
    art.append(ring); this.after(RING_MS + 50, () => ring.remove());
  }

  mosaic(node, held, was, picked) {
    const [, gx, gy, columns, cell, pitch] = node.g, ctx = held.canvas.getContext("2d"), fills = {};
    for (const state of "wnsrdmkMlaf") fills[state] = resolve(this.panel, TINTS[state] || "cell");
    ctx.setTransform(held.ratio, 0, 0, held.ratio, 0, 0);
    for (let i = 0; i < node.p.length; i++) {
      if (was && was[i] === node.p[i]) continue;
      const x = (i % columns) * pitch, y = Math.floor(i / columns) * pitch, state = node.p[i];
      ctx.clearRect(x, y, pitch, pitch); ctx.fillStyle = fills[state] || fills.w;
      if (state === "s" || state === "k") { ctx.fillRect(x, y, cell, 1); ctx.fillRect(x, y + 2, cell, 1); } else ctx.fillRect(x, y, cell, cell);
    }
    const rows = [bold(node.of)];
    for (const [state, n] of node.tally.filter(([one]) => one !== "d").sort((p, q) => WORST.indexOf(p[0]) - WORST.indexOf(q[0]))) rows.push(el("div", {}, this.glyph(state), span(`${count(n)} ${SHORT[state] || NAMES[state]}`)));
    held.facts.replaceChildren(...rows.slice(0, 5));
    held.over.replaceChildren(); held.calls.replaceChildren();
    const calls = new Set([...(node.losts || []).slice(0, 3), ...(picked === null ? [] : [picked])]);
    let free = gy - 8;
    for (const part of calls) {
      const bin = Math.floor(part / node.bin), x = gx + (bin % columns) * pitch, y = gy + Math.floor(bin / columns) * pitch, at = Math.max(free, y - 7);
      free = at + 34;
      held.over.append(sv("path", { d: `M${x + 8} ${y + 1.5}H${gx + 404}L${gx + 410} ${at + 8}`, "stroke-width": 1.5, style: { stroke: ink("fg"), fill: "none" } }),
        rect(x - 4.5, y - 4.5, 12, 12, { fill: ink("bg"), stroke: ink("fg") }, { "stroke-width": 2 }),
        rect(x - 1.5, y - 1.5, 6, 6, { fill: fills[node.p[bin]] }));
      held.calls.append(el("div", { class: "sl-call", style: { left: px(gx + 414), top: px(at) } }, el("b", { text: `${node.losts?.includes(part) ? "lost" : "partition"}: ${count(part)}` }), span(node.losts?.includes(part) ? node.why || "" : NAMES[node.p[bin]])));
    }
  }

  proportions(node, held) {
    const sig = JSON.stringify([node.tally, node.of]);
    if (sig === held.sig) return;
    held.sig = sig; say(held.of, node.of);
    const [, x0, y] = node.g, width = node.w - 17, total = node.tally.reduce((sum, [, n]) => sum + n, 0) || 1;
    held.art.replaceChildren(rect(x0, y + 0.5, width, 10, { fill: ink("bg"), stroke: ink("wait") }));
    let x = x0;
    for (const [state, n] of node.tally) {
      const w = (n / total) * width, fill = { r: `url(#${this.uid}-run)`, k: `url(#${this.uid}-disk)` }[state] || (TINTS[state] && ink(TINTS[state]));
      if (fill) held.art.append(sv("rect", { x, y: y + 0.5, width: Math.max(1, w), height: 10, style: { fill, stroke: ink("edge") }, "stroke-width": state === "d" || state === "m" ? 0 : 0.7 }));
      x += w;
    }
  }

  card(node, dag, near, data) {
    const card = this.ui.card, cut = [...new Set(dag.edges.filter((e) => e.sh >= 0 && near.has(e.a) && near.has(e.b)).map((e) => e.sh))];
    const part = this.part, facts = [];
    const above = [...near.values()].filter((k) => k !== node.k).map((k) => dag.nodes.find((n) => n.k === k).n);
    const names = [...new Set(above)].map((name) => { const n = above.filter((one) => one === name).length; return n > 1 ? `${n} x ${name}` : name; });
    const shown = names.length > 5 ? [...names.slice(0, 5), `${names.length - 5} more`] : names;
    if (part !== null) facts.push([`[${count(part)}]`, node.bin > 1 ? `in a cell of ${count(node.bin)}` : NAMES[node.p[part]]]);
    const held = part !== null && node.bin === 1 && (HELD + "a").includes(node.p[part]) && node.acts?.some((one) => one.cmd === "drop-partition"), key = `${node.rdd}:${part}`;
    if (!held) this.peeked = null;
    else if (this.peeked?.key !== key && !this.off) this.peeked = this.look("peek", { rdd: node.rdd, partition: part }, key);
    for (const [name, one] of [[`First of [${part}]`, this.peeked], ["Sample", this.sampled?.key === node.rdd && this.sampled]]) if (one) facts.push([name, one.lines.length ? one.lines : ["no records"], one.bad]);
    facts.push(["Built from", `${shown.length ? shown.join(", ") : "its own data"}; ${cut.length ? `cut at shuffle ${cut.join(", ")}` : "no shuffle"}`], ...node.facts);
    const sig = JSON.stringify([node.k, node.title, facts, part, node.acts, node.p[part], this.off, this.busy("sample"), [...this.pending.values()].filter((one) => one.what).length]);
    card.hidden = false;
    if (sig === this.cardDrawn) return;
    this.cardDrawn = sig;
    const source = (e) => dag.nodes.find((n) => n.k === e.a).tally, skipped = (tally) => tally.length === 1 && tally[0][0] === "s";
    const first = cut.filter((sh) => dag.edges.some((e) => e.sh === sh && !e.bytes && !skipped(source(e))));
    const list = el("dl"), act = div("sl-act"), off = this.off;
    for (const [name, value, bad] of facts) list.append(el("dt", { text: name }), Array.isArray(value) ? el("dd", { class: bad ? "sl-bad" : "sl-records" }, ...value.map((text) => el("div", { text, title: text }))) : el("dd", { text: value }));
    let code = node.code;
    for (const one of node.acts || []) {
      const args = { ...one.args };
      let label = one.label, cost = one.cost;
      if (one.cmd === "drop-partition") {
        const index = part !== null && (HELD + "a").includes(node.p[part]) ? part : one.args.partition;
        args.partition = index; label = `Drop ${shorten(node.full, 12)}[${count(index)}]`; code = one.code.replace(/\d+$/, index);
      }
      const sample = one.cmd === "sample";
      if (sample && first.length) cost += `, runs shuffle ${first.join(", ")} first`;
      act.append(span(cost), this.button(label, () => { if (!sample) this.send(one.cmd, args, label); else { this.sampled = this.look("sample", args, node.rdd); this.update(); } },
        { class: one.main ? "sl-main" : null, disabled: off || (sample && this.busy("sample")) }));
    }
    const copy = this.button("Copy", () => this.copy(code, copy));
    card.replaceChildren(el("h3", { text: node.full }, span(node.s)), this.button("×", () => { this.select(null); this.update(); }, { class: "sl-x", "aria-label": "Close the card" }), list, act,
      code ? div("sl-copy", el("code", { text: code }), copy) : null);
  }

  async copy(text, button) {
    try { await navigator.clipboard.writeText(text); say(button, "Copied"); } catch (error) {
      const range = document.createRange(); range.selectNodeContents(button.previousSibling);
      const chosen = window.getSelection(); chosen.removeAllRanges(); chosen.addRange(range); say(button, "Selected");
    }
    this.after(1500, () => say(button, "Copy"));
  }

  // --- the cache ---------------------------------------------------------------------------------------------

  cache(data) {
    const cache = data.cache, u = this.ui;
    u.card.hidden = true;
    this.noteEvictions(cache);
    const sig = JSON.stringify([cache, this.byExecutor, this.row, this.part, [...this.evicted.keys()], this.off]);
    if (sig === this.drawn) return;
    const keep = [u.view.scrollLeft, u.view.scrollTop], focus = document.activeElement?.dataset?.rdd;
    this.drawn = sig; u.body.style.height = "310px";
    const off = this.off, box = div("sl-cache");
    for (const one of cache.budgets) box.append(this.budget(one, cache, off));
    if (!cache.rows.length) { u.view.replaceChildren(box, el("p", { class: "sl-none" }, span(cache.empty || "Nothing is cached. "), el("code", { text: cache.hint || "" }))); return; }
    const width = Math.max(...cache.rows.map((row) => (row.p.length > 60 ? 0 : row.p.length))), dense = width > 24 && !this.lecture, line = dense ? 30 : this.lecture ? 16 : 24, pitch = dense ? 20.5 : 25.5;
    box.style.minWidth = px(Math.max(760, 300 + Math.min(width, line) * pitch));
    box.append(div("sl-rule"), div("sl-row sl-top", span("partition"), this.numbers(Math.min(width, line), pitch), span("in memory")));
    if (this.byExecutor) for (const one of cache.budgets.filter((b) => b.alive)) {
      box.append(el("p", { class: "sl-where", text: `executor ${one.ex}` }));
      for (const row of cache.rows) if (row.e.some((held) => held.split(" ").includes(String(one.ex)))) box.append(this.cachedRow(row, line, pitch, String(one.ex)));
    } else for (const row of cache.rows) box.append(this.cachedRow(row, line, pitch));
    if (cache.more) box.append(el("p", { class: "sl-none", text: `and ${plural(cache.more, "more RDD")}` }));
    u.view.replaceChildren(box); [u.view.scrollLeft, u.view.scrollTop] = keep;
    if (focus) u.view.querySelector(`.sl-rdd[data-rdd="${CSS.escape(focus)}"]`)?.focus();
  }

  noteEvictions(cache) {
    for (const row of cache.rows) {
      const was = (this.before || new Map()).get(row.rdd) || "";
      for (let i = 0; i < row.p.length && i < was.length; i++) {
        if (HELD.includes(was[i]) && !HELD.includes(row.p[i])) { const key = `${row.rdd}:${i}`; this.evicted.set(key, 1); this.after(EVICTED_MS, () => { this.evicted.delete(key); if (this.tab === "cache") this.update(); }); }
      }
    }
    this.before = new Map(cache.rows.map((row) => [row.rdd, row.p]));
  }

  budget(one, cache, off) {
    const spilled = Math.max(...cache.budgets.map((b) => b.spilled)), whole = Math.max(one.budget, 0.001);
    const bar = el("div", { class: "sl-bar", style: { flexGrow: whole } }), bars = div("sl-bars", bar);
    if (!one.alive) bar.append(span(one.why || "lost"));
    for (const [name, mib] of one.parts) bar.append(el("span", { class: "sl-part", style: { width: `${(100 * mib) / whole}%` }, title: `${name} ${mib.toFixed(1)} MiB`, text: mib / whole > 0.2 ? `${shorten(name, 18)} ${mib.toFixed(1)}` : mib / whole > 0.11 ? mib.toFixed(1) : "" }));
    if (spilled > 0) bars.append(el("div", { class: "sl-spill", style: { flex: `${Math.min(spilled, whole / 3)} 0 12px` } }, one.spilled > 0 ? el("div", { class: "sl-disk", style: { width: `${Math.max(6, (100 * one.spilled) / spilled)}%` }, title: `${one.spilled.toFixed(1)} MiB on disk` }) : null));
    const said = el("span", {}, bold(one.said[0]), span(one.said[1]));
    const kill = this.button(`Kill executor ${one.ex}`, () => this.send("kill-executor", { executor: one.ex }, `Kill executor ${one.ex}`), { disabled: off || !one.alive, title: `costs ${plural(one.live, "cached block")} that only it holds` });
    return div(`sl-budget${one.alive ? "" : " sl-gone"}`, el("b", { text: `executor ${one.ex}` }), bars,
      el("span", { class: "sl-of" }, one.alive ? said : span("not running"), cache.kill ? span(plural(one.live, "block")) : null, cache.kill ? kill : null));
  }

  numbers(n, pitch) {
    const art = drawing(n * pitch, 14);
    for (let i = 0; i < n; i++) art.append(sv("text", { class: "sl-num", x: 8 + i * pitch, y: 11, text: String(i) }));
    return art;
  }

  cachedRow(row, line, pitch, only) {
    const many = row.p.length > 60, size = many ? 8 : 16, step = many ? 10 : pitch, columns = many ? 60 : line, high = many ? 10 : 35;
    const lines = Math.ceil(row.p.length / columns), art = put(drawing(Math.min(columns, row.p.length) * step, lines * high), { class: "sl-hit" });
    const chosen = this.row === row.rdd;
    for (let i = 0; i < row.p.length; i++) {
      const x = (i % columns) * step, y = Math.floor(i / columns) * high;
      if (only && !row.e[i]?.split(" ").includes(only)) { art.append(sv("circle", { cx: x + size / 2, cy: y + size / 2, r: 1, style: { fill: ink("wait") } })); continue; }
      art.append(this.cell(this.evicted.has(`${row.rdd}:${i}`) ? "o" : row.p[i], size, x, y));
      if (!many && row.e[i]) art.append(sv("text", { x: x + 8, y: y + 28, text: row.e[i] }));
      if (chosen && this.part === i) art.append(sv("rect", { class: "sl-pick", x: x - 2.5, y: y - 2.5, width: size + 5, height: size + 5, rx: 2 }));
    }
    art.addEventListener("click", (event) => {
      const box = art.getBoundingClientRect(), zoom = this.lecture ? 1.25 : 1;
      const i = Math.floor((event.clientY - box.top) / zoom / high) * columns + Math.floor((event.clientX - box.left) / zoom / step);
      if (i < row.p.length) { const again = chosen && this.part === i; this.row = again ? null : row.rdd; this.part = again ? null : i; this.notice = ""; this.update(); }
    });
    const name = el("button", { type: "button", class: "sl-rdd", "data-rdd": row.rdd, "aria-pressed": String(chosen), title: row.full, "aria-label": `${row.full}, ${row.level}, ${row.of}; left and right choose a partition`, onclick: () => { this.row = chosen ? null : row.rdd; this.part = null; this.notice = ""; this.update(); } },
      bold(row.n), el("i", { text: row.s }), span(row.level));
    return div("sl-row", name, art, div("sl-sum", bold(row.memory), span(row.of)));
  }

  // What can be done with the chosen row, its cost before each button.
  rowActions(cache) {
    const row = cache?.rows.find((one) => one.rdd === this.row), part = this.part, disabled = this.off;
    if (!row) return cache?.rows.length && cache.budgets.length > 1 ? [`by ${this.byExecutor}`, () => [this.button(this.byExecutor ? "By RDD" : "By executor", () => { this.byExecutor = !this.byExecutor; this.update(); })]] : ["", () => []];
    const held = part !== null && HELD.includes(row.p[part]);
    return [`row ${row.rdd} ${held ? part : ""} ${row.of} ${disabled}`, () => {
      const drop = `Drop ${shorten(row.full, 16)}[${part}]`, all = `Unpersist ${shorten(row.full, 16)}`;
      return [...(held ? [span(`1 partition, ${row.each[part]}`), this.button(drop, () => this.send("drop-partition", { rdd: row.rdd, partition: part }, drop), { class: "sl-main", disabled })] : []),
        span(row.of), this.button(all, () => this.send("unpersist", { rdd: row.rdd }, all), { disabled })];
    }];
  }

  destroy() { this.stop.abort(); this.panel.remove(); }
}

// --- small geometry -----------------------------------------------------------------------------------------

function own(event) { event.preventDefault(); event.stopPropagation(); } // a notebook has shortcuts of its own

function axis(x, y, text, back = "0") { return el("span", { class: "sl-axis", text, style: { left: px(x), top: px(y), transform: `translateX(-${back})` } }); }

// Positions come from Helvetica's widths: a much wider font of the notebook's is not taken.
function wide(family) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `100px ${family}`;
  return pen.measureText("Stage 2, 24 tasks, 0.09 s").width > WIDTH * 1.06;
}

function shorten(text, length) { return text.length <= length ? text : `${text.slice(0, Math.ceil((length - 1) / 2))}…${text.slice(-Math.floor((length - 1) / 2))}`; }

function resolve(panel, name) { const probe = el("span", { style: { color: ink(name) } }); panel.append(probe); const got = getComputedStyle(probe).color; probe.remove(); return got; }

// Level stretches, and an S where the height changes; the last `back` px belong to the arrow head.
function route(points, back) {
  let [x, y] = points[0], d = `M${x} ${y}`;
  points.slice(1).forEach(([nx, ny], i) => {
    const last = i === points.length - 2, tx = last ? nx - back : nx, mid = (x + tx) / 2;
    d += Math.abs(ny - y) < 0.5 ? `H${tx}` : `C${mid} ${y} ${mid} ${ny} ${tx} ${ny}`;
    x = tx; y = ny;
  });
  return d;
}

function partAt(node, x, y) {
  const [kind, gx, gy, columns, , pitchX, pitchY] = node.g;
  if (kind === "none" || kind === "bar") return null;
  const column = Math.floor((x - gx + 1) / pitchX), row = Math.floor((y - gy + 1) / pitchY), at = row * columns + column;
  return column >= 0 && column < columns && row >= 0 && at < node.p.length ? at * (node.bin || 1) : null;
}

function ancestors(dag, key) {
  const near = new Set([key]), stack = [key];
  while (stack.length) { const at = stack.pop(); for (const edge of dag.edges) if (edge.b === at && !near.has(edge.a)) { near.add(edge.a); stack.push(edge.a); } }
  return near;
}

function neighbour(nodes, key, arrow) {
  const from = nodes.find((n) => n.k === key), side = arrow === "ArrowLeft" || arrow === "ArrowRight", sign = arrow === "ArrowRight" || arrow === "ArrowDown" ? 1 : -1;
  const mid = (n) => [n.x + n.w / 2, n.y + n.h / 2], [fx, fy] = mid(from);
  let best = null, least = Infinity;
  for (const n of nodes) {
    const [x, y] = mid(n), along = (side ? x - fx : y - fy) * sign, across = Math.abs(side ? y - fy : x - fx), cost = along + 2 * across;
    if (along > 1 && cost < least) { best = n.k; least = cost; }
  }
  return best;
}

function spark(walls) {
  const high = Math.max(...walls, 1e-9), step = 40 / Math.max(1, walls.length - 1);
  return drawing(42, 12, sv("polyline", { points: walls.map((w, i) => `${(1 + i * step).toFixed(1)},${(11 - (10 * w) / high).toFixed(1)}`).join(" "), "stroke-width": 1.2, style: { fill: "none", stroke: "currentColor" } }));
}

export default {
  render({ model, el: root }) {
    const view = new View(model, root);
    return () => view.destroy();
  },
};
