// The panel of a cell: folds what the kernel sends into pictures, and sends what the reader clicks. It draws only
// what facts say; selection, scroll and open folds belong to this view. Text is always set as text, never as HTML.

import { BarMethods } from "./bars.js";
import { CacheMethods } from "./cache.js";
import { CardMethods } from "./card.js";
import { DagMethods } from "./dag.js";
import { count, div, drawing, el, keep, own, say, sv, wide } from "./dom.js";
import { FrameMethods } from "./frame.js";
import { neighbour, partAt } from "./geometry.js";
import { KernelMethods } from "./kernel.js";
import { NodeMethods } from "./node.js";
import { definitions } from "./shapes.js";
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
    // Shown once there is something for it, unless the reader has chosen another; "": what the headline is about.
    this.wish = model.get("tab");
    this.tab = this.wish in TABS ? this.wish : "dag";
    this.unfolded = model.get("form") !== "strip";
    this.job = null; // null follows the newest job
    this.opened = [];
    this.other = null; // the snapshot of another job or of open folds, this view's own
    this.node = null;
    this.part = null;
    this.row = null;
    this.link = this.hovered = null; // the stage's partition that was chosen, the bar that is pointed at
    this.pending = new Map();
    this.number = Math.floor(Math.random() * 2 ** 40); // every view hears every answer, and knows its own by number
    this.peeked = this.sampled = null; // records that this view's reader asked for
    this.over = "";
    this.notice = "";
    this.heard = performance.now();
    this.evicted = new Map();
    this.timers = new Set();
    this.scrolled = false;
    this.drawer = "";
    this.lecture = false;
    this.paused = null; // the open fold, and what the reader chose for this view
    this.build(root);
    this.listen();
    this.update();
  }

  after(ms, what) {
    const t = setTimeout(() => {
      this.timers.delete(t);
      what();
    }, ms);
    this.timers.add(t);
    return t;
  }

  cell(state, size, x = 0, y = 0) {
    return sv("use", { href: `#${this.uid}-${state === "n" ? "w" : state}${size}`, x, y });
  }
  glyph(state, size = 13) {
    return drawing(size, size, this.cell(state, size));
  }

  button(text, act, more) {
    return el("button", { type: "button", text, onclick: act, ...more });
  }

  build(root) {
    const tab = (key, name) =>
      this.button(name, () => this.show(key), { class: "sl-tab", role: "tab", "data-tab": key });
    this.ui = {
      strip: div("sl-strip"),
      head: el("span", { class: "sl-head-text", role: "heading", "aria-level": "3" }),
      main: this.button("Cancel", () => this.mainButton(), { class: "sl-stop" }),
      fold: this.button("Close", () => this.unfold(false), { title: "Back to one line" }),
      tabs: Object.entries(TABS).map(([key, name]) => tab(key, name)),
      jobs: el("div", { class: "sl-jobs", role: "group", "aria-label": "Jobs" }),
      folds: ["Legend", "Log", "Options"].map((name) =>
        this.button(
          name,
          () => {
            this.drawer = this.drawer === name ? "" : name;
            this.update();
          },
          { class: "sl-tab" },
        ),
      ),
      view: el("div", { class: "sl-view", role: "tabpanel", tabindex: "-1" }),
      card: el("aside", { class: "sl-card", hidden: true, "aria-label": "The selected RDD" }),
      text: el("span", { class: "sl-foot-text" }),
      actions: el("span", { class: "sl-mini" }),
      behind: el("b"),
      drawer: el("div", { class: "sl-legend", hidden: true }),
      lecture: this.button("Lecture mode", () => {
        this.lecture = !this.lecture;
        this.redraw();
      }),
      pause: this.button("Pause", () => this.pause(!this.paused), { title: "Only the picture stops" }),
      live: el("div", { class: "sl-sr", "aria-live": "polite" }),
    };
    const u = this.ui;
    u.full = el(
      "div",
      {},
      div("sl-head", u.head, u.fold, u.main),
      div(
        "sl-tabs",
        el("div", { class: "sl-views", role: "tablist", "aria-label": "Views" }, ...u.tabs),
        u.jobs,
        ...u.folds,
      ),
      div("sl-body", u.view, u.card),
      u.drawer,
      div("sl-foot", u.text, u.behind, u.actions),
    );
    u.body = u.full.querySelector(".sl-body");
    this.panel = el(
      "section",
      { class: "sl-panel", "aria-label": "sparklab" },
      definitions(this.uid),
      u.strip,
      u.full,
      u.live,
    );
    root.append(this.panel);
    u.view.addEventListener("scroll", () => {
      this.scrolled = true;
    });
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

  get synced() {
    return this.model.get("model") || {};
  }

  get off() {
    return Boolean(this.over || this.synced.over || this.model.get("recorded"));
  }

  // What is on show: the newest job as synced or as it stood at a pause, or this view's own snapshot.
  get data() {
    const synced = this.paused || this.synced;
    return this.other
      ? {
          ...synced,
          dag: this.other.dag,
          timeline: this.other.timeline,
          job: this.other.job,
          legend: this.other.legend,
          counts: { ...this.other.counts, cache: synced.counts.cache },
        }
      : synced;
  }

  // --- what the reader chooses ---------------------------------------------------------------------------------

  pause(on) {
    this.paused = on ? this.synced : null;
    this.update();
  }

  unfold(open) {
    this.unfolded = open;
    this.paused = null;
    this.drawn = null;
    this.send("touch", {});
    this.update();
    (open ? this.ui.fold : this.ui.strip.querySelector("button:last-child"))?.focus();
  }

  show(tab) {
    this.tab = tab;
    this.chosen();
    this.select(null);
    this.row = null;
    this.notice = "";
    this.drawn = null;
    this.scrolled = false;
    this.hovered = null;
    if (tab === "dag") this.linked();
    this.update();
  }

  // The reader looks at something: no tab comes in front by itself any more.
  chosen() {
    this.wish = null;
  }

  showJob(job) {
    if (this.model.get("recorded")) {
      this.tell("In a recorded run a job is in front while it runs: move the scrubber there.");
      return;
    }
    this.chosen();
    this.job = job === this.synced.job ? null : job;
    this.opened = [];
    this.other = null;
    this.link = null;
    this.select(null);
    this.notice = "";
    this.scrolled = false;
    if (this.job !== null) this.ask();
    this.update();
  }

  select(key, part = null) {
    this.node = key;
    this.part = part;
    this.notice = "";
    this.ui.card.hidden = true;
  }

  pick(node, event) {
    this.chosen();
    if (node.fold) {
      if (this.off) {
        this.tell("the kernel that could open this fold has ended");
        return;
      }
      this.opened = [...this.opened, node.fold];
      this.ask();
      return;
    }
    const box = event.currentTarget.getBoundingClientRect();
    const part = event.detail
      ? partAt(node, (event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale)
      : null;
    const again = this.node === node.k && (part === this.part || part === null);
    this.select(again ? null : node.k, again ? null : part);
    const stage = Number(/^s(\d+)r/.exec(node.k)?.[1] ?? -1);
    this.link = again || part === null || this.stageNode(stage)?.k !== node.k ? null : { stage, part };
    this.update();
    if (!again)
      this.ui.view.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    if (event.key === "Escape" && this.node !== null) {
      const at = this.node;
      this.select(null);
      this.update();
      this.buttons?.get(at)?.focus();
      event.stopPropagation();
      return;
    }
    const from = event.target.closest?.(".sl-node");
    if (from && event.key.startsWith("Arrow")) {
      const next = neighbour(this.data.dag.nodes, from.dataset.key, event.key);
      if (next) {
        for (const [k, b] of this.buttons) b.tabIndex = k === next ? 0 : -1;
        this.buttons.get(next).focus();
      }
      own(event);
    } else if (
      event.target.matches?.(".sl-tab[role=tab]") &&
      (event.key === "ArrowLeft" || event.key === "ArrowRight")
    ) {
      const there = this.ui.tabs.filter((one) => !one.hidden);
      const at = there.findIndex((one) => one.dataset.tab === this.tab);
      const next = there.at((at + (event.key === "ArrowLeft" ? -1 : 1)) % there.length);
      this.show(next.dataset.tab);
      next.focus();
      own(event);
    } else if (
      event.target.matches?.(".sl-time") &&
      (event.key === "ArrowLeft" || event.key === "ArrowRight" || event.key === "Enter")
    ) {
      this.timeKey(event);
      own(event);
    } else if (event.target.matches?.(".sl-rdd") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const row = (this.data.cache.rows || []).find((one) => String(one.rdd) === event.target.dataset.rdd);
      if (row) {
        const by = event.key === "ArrowLeft" ? -1 : 1;
        this.row = row.rdd;
        this.part = ((this.part ?? -by) + by + row.p.length) % row.p.length;
        this.update();
      }
      own(event);
    } else if (from || event.target.matches?.(".sl-rdd")) {
      event.stopPropagation(); // a notebook's own shortcuts stay away
    }
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  update() {
    const data = this.data;
    const u = this.ui;
    if (!data.head) return;
    u.strip.hidden = this.unfolded;
    u.full.hidden = !this.unfolded;
    this.panel.classList.toggle("sl-lecture", this.lecture);
    if (!this.unfolded) {
      this.strip(data);
      return;
    }
    u.fold.hidden = this.model.get("form") !== "strip";
    say(u.head, (u.head.title = data.head));
    const stopping = this.busy("cancel");
    say(u.main, this.synced.running ? (stopping ? "Cancelling" : "Cancel") : "Reset");
    u.main.disabled = this.off || stopping || this.busy("reset");
    u.main.title = this.synced.running ? "Cancel the jobs of this cell" : data.reset || "";
    // It stays then: tabs do not come and go by themselves.
    if (this.wish === "" && (data.leads === "training" || (!data.counts.dag && data.counts.training)))
      this.wish = "training";
    if (this.wish in data.counts) this.tab = this.wish;
    if (!(this.tab in data.counts)) this.tab = "dag";
    for (const tab of u.tabs) {
      const key = tab.dataset.tab;
      tab.hidden = !(key in data.counts);
      say(tab, `${TABS[key]} ${count(data.counts[key] || 0)}`);
      tab.setAttribute("aria-selected", this.tab === key);
      tab.tabIndex = this.tab === key ? 0 : -1;
    }
    for (const tab of u.folds) tab.setAttribute("aria-expanded", tab.textContent === this.drawer);
    u.lecture.setAttribute("aria-pressed", this.lecture);
    u.pause.setAttribute("aria-pressed", Boolean(this.paused));
    this.jobs(data);
    this[this.tab](data);
    this.fold(data);
    this.foot();
    if (data.summary !== this.said && !data.running) {
      this.said = data.summary;
      say(u.live, data.summary);
    }
  }

  redraw() {
    this.drawn = null;
    this.update();
  }

  destroy() {
    this.stop.abort();
    this.panel.remove();
  }
}

// The methods of a view are written in a module for each thing it shows.
for (const part of [
  KernelMethods,
  FrameMethods,
  DagMethods,
  NodeMethods,
  CardMethods,
  TimelineMethods,
  BarMethods,
  CacheMethods,
  TrainingMethods,
]) {
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
