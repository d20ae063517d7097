// The panel of a cell: folds what the kernel sends into pictures, and sends what the reader clicks. It draws only
// what facts say; selection, scroll and open folds belong to this view. Text is always set as text, never as HTML.

import { CacheMethods } from "./cache.js";
import { CardMethods } from "./card.js";
import { DagMethods } from "./dag.js";
import { count, div, drawing, el, ink, keep, own, plural, say, span, sv, wide } from "./dom.js";
import { neighbour, partAt, spark } from "./geometry.js";
import { KernelMethods } from "./kernel.js";
import { EDGES, NAMES, definitions } from "./shapes.js";
import { TimelineMethods } from "./timeline.js";
import { TrainingMethods } from "./training.js";

// The views of a panel, in the order of their tabs. One stands where the picture counts something for it.
const TABS = { dag: "DAG", timeline: "Timeline", cache: "Cache", training: "Training" };

let views = 0;

export class View {
  constructor(model, root) {
    this.model = model;
    this.uid = `sl${++views}-${Math.random().toString(36).slice(2, 7)}`;
    this.stop = new AbortController();
    this.wish = model.get("tab"); // shown once there is something for it, unless the reader has chosen another; "": what the headline is about
    this.tab = this.wish in TABS ? this.wish : "dag";
    this.unfolded = model.get("form") !== "strip";
    this.job = null; // null follows the newest job
    this.opened = [];
    this.other = null; // the snapshot of another job or of open folds, this view's own
    this.node = null; this.part = null; this.row = null;
    this.link = this.hovered = null; // the stage's partition that was chosen, the bar that is pointed at
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
      tabs: Object.entries(TABS).map(([key, name]) => tab(key, name)), jobs: el("div", { class: "sl-jobs", role: "group", "aria-label": "Jobs" }),
      folds: ["Legend", "Log", "Options"].map((name) => this.button(name, () => { this.drawer = this.drawer === name ? "" : name; this.update(); }, { class: "sl-tab" })),
      view: el("div", { class: "sl-view", role: "tabpanel", tabindex: "-1" }), card: el("aside", { class: "sl-card", hidden: true, "aria-label": "The selected RDD" }),
      text: el("span", { class: "sl-foot-text" }), actions: el("span", { class: "sl-mini" }), behind: el("b"), drawer: el("div", { class: "sl-legend", hidden: true }),
      lecture: this.button("Lecture mode", () => { this.lecture = !this.lecture; this.redraw(); }), pause: this.button("Pause", () => this.pause(!this.paused), { title: "Only the picture stops" }),
      live: el("div", { class: "sl-sr", "aria-live": "polite" }),
    };
    const u = this.ui;
    u.full = el("div", {}, div("sl-head", u.head, u.fold, u.main),
      div("sl-tabs", el("div", { class: "sl-views", role: "tablist", "aria-label": "Views" }, ...u.tabs), u.jobs, ...u.folds),
      div("sl-body", u.view, u.card), u.drawer, div("sl-foot", u.text, u.behind, u.actions));
    u.body = u.full.querySelector(".sl-body");
    this.panel = el("section", { class: "sl-panel", "aria-label": "sparklab" }, definitions(this.uid), u.strip, u.full, u.live);
    root.append(this.panel);
    u.view.addEventListener("scroll", () => { this.scrolled = true; });
    this.panel.addEventListener("keydown", (event) => this.key(event));
    this.panel.addEventListener("focusin", (event) => keep(event.target));
    this.theme();
  }

  theme() {
    this.tinted = null;
    this.panel.classList.remove("sl-dark", "sl-wide");
    this.panel.classList.toggle("sl-wide", wide(getComputedStyle(this.panel).fontFamily));
    const rgb = (getComputedStyle(this.panel).backgroundColor.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    this.panel.classList.toggle("sl-dark", 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] < 128);
  }

  get synced() { return this.model.get("model") || {}; }

  get off() { return Boolean(this.over || this.synced.over || this.model.get("recorded")); }

  // What is on show: the newest job as synced or as it stood at a pause, or this view's own snapshot.
  get data() {
    const synced = this.paused || this.synced;
    return this.other ? { ...synced, dag: this.other.dag, timeline: this.other.timeline, job: this.other.job, legend: this.other.legend, counts: { ...this.other.counts, cache: synced.counts.cache } } : synced;
  }

  // --- what the reader chooses ---------------------------------------------------------------------------------

  pause(on) { this.paused = on ? this.synced : null; this.update(); }

  unfold(open) { this.unfolded = open; this.paused = null; this.drawn = null; this.send("touch", {}); this.update(); (open ? this.ui.fold : this.ui.strip.querySelector("button:last-child"))?.focus(); }

  show(tab) {
    this.tab = tab; this.wish = null; this.select(null); this.row = null; this.notice = ""; this.drawn = null; this.scrolled = false; this.hovered = null;
    if (tab === "dag") this.linked();
    this.update();
  }

  showJob(job) {
    if (this.model.get("recorded")) { this.tell("In a recorded run a job is in front while it runs: move the scrubber there."); return; }
    this.job = job === this.synced.job ? null : job;
    this.opened = []; this.other = null; this.link = null; this.select(null); this.notice = ""; this.scrolled = false;
    if (this.job !== null) this.ask();
    this.update();
  }

  select(key, part = null) {
    this.node = key; this.part = part; this.notice = "";
    this.ui.card.hidden = true;
  }

  pick(node, event) {
    if (node.fold) {
      if (this.off) { this.tell("the kernel that could open this fold has ended"); return; }
      this.opened = [...this.opened, node.fold]; this.ask(); return;
    }
    const box = event.currentTarget.getBoundingClientRect(), part = event.detail ? partAt(node, (event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale) : null;
    const again = this.node === node.k && (part === this.part || part === null);
    this.select(again ? null : node.k, again ? null : part);
    const stage = Number(/^s(\d+)r/.exec(node.k)?.[1] ?? -1);
    this.link = again || part === null || this.stageNode(stage)?.k !== node.k ? null : { stage, part };
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
      const there = this.ui.tabs.filter((one) => !one.hidden), at = there.findIndex((one) => one.dataset.tab === this.tab);
      const next = there.at((at + (event.key === "ArrowLeft" ? -1 : 1)) % there.length);
      this.show(next.dataset.tab); next.focus(); own(event);
    } else if (event.target.matches?.(".sl-time") && (event.key === "ArrowLeft" || event.key === "ArrowRight" || event.key === "Enter")) {
      this.timeKey(event); own(event);
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
    if (this.wish === "" && (data.leads === "training" || (!data.counts.dag && data.counts.training))) this.wish = "training"; // and stays: tabs do not come and go by themselves
    if (this.wish in data.counts) this.tab = this.wish;
    if (!(this.tab in data.counts)) this.tab = "dag";
    for (const tab of u.tabs) {
      const key = tab.dataset.tab;
      tab.hidden = !(key in data.counts);
      say(tab, `${TABS[key]} ${count(data.counts[key] || 0)}`);
      tab.setAttribute("aria-selected", this.tab === key); tab.tabIndex = this.tab === key ? 0 : -1;
    }
    for (const tab of u.folds) tab.setAttribute("aria-expanded", tab.textContent === this.drawer);
    u.lecture.setAttribute("aria-pressed", this.lecture); u.pause.setAttribute("aria-pressed", Boolean(this.paused));
    this.jobs(data);
    this[this.tab](data);
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
    if (this.tab === "timeline") {
      const { states, items } = this.timeLegend(data.timeline), sig = states.join("") + items.map((one) => one.textContent).join();
      if (sig === this.drawerDrawn) return;
      this.drawerDrawn = sig;
      box.replaceChildren(...states.map((state) => el("span", {}, this.glyph(state), span(NAMES[state]))), ...items);
      return;
    }
    if (this.tab === "training") {
      if (this.drawerDrawn === "training") return;
      this.drawerDrawn = "training";
      const sample = (style) => drawing(16, 14, sv("rect", { x: 0.5, y: 0.5, width: 15, height: 13, style }));
      box.replaceChildren(...[[{ fill: ink("done") }, "a block: one completed clock"], [{ fill: `url(#${this.uid}-hatch)`, stroke: ink("edge") }, "hatched: time spent waiting for slower workers"]].map(([style, words]) => el("span", {}, sample(style), span(words))));
      return;
    }
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
    say(u.text, loud || this.notice || (this.tab === "cache" ? data.cache?.log : this.tab === "timeline" ? this.timeWords(data.timeline) : data[this.tab]?.foot || data.foot) || "");
    u.text.title = u.text.textContent;
    u.text.classList.toggle("sl-loud", Boolean(loud || data.error));
    say(u.behind, this.paused ? `Paused, ${plural(Math.max(0, this.synced.seq - this.paused.seq), "fact")} behind` : "");
    const [of, make] = this.tab === "cache" ? this.rowActions(data.cache) : this.tab === "dag" ? this.dagActions(data.dag) : this.tab === "training" ? this.trainActions(data.training) : ["", () => []];
    const key = `${of}|${Boolean(this.paused)}`;
    if (key !== u.actions.dataset.of) { u.actions.dataset.of = key; u.actions.replaceChildren(...make(), ...(this.paused ? [this.button("Resume", () => this.pause(false))] : [])); }
  }

  destroy() { this.stop.abort(); this.panel.remove(); }
}

// The methods of a view are written in a module for each thing it shows.
for (const part of [KernelMethods, DagMethods, CardMethods, TimelineMethods, CacheMethods, TrainingMethods]) {
  for (const [name, method] of Object.entries(Object.getOwnPropertyDescriptors(part.prototype))) {
    if (name === "constructor") continue;
    if (name in View.prototype) throw new Error(`two modules of the panel have a method ${name}`);
    Object.defineProperty(View.prototype, name, method);
  }
}

export default {
  render({ model, el: root }) {
    const view = new View(model, root);
    return () => view.destroy();
  },
};
