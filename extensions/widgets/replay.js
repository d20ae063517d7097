// A recorded run in the same pixels: the panel's own view, drawn from pictures that were computed before, and a
// scrubber. A step is one fact with its sentence. Nothing here speaks to a kernel.

import { div, el, keep, plural, say } from "./dom.js";
import { View } from "./panel.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 5, 10];
const GAP_S = 1; // longer waits between two facts are shown as this long
const FRAME_MS = 100; // at most ten pictures a second, as live
const MARKS = { job: "a job starts", stage: "a stage ends", kill: "an executor is lost", tau: "tau is changed" };

// What `old` becomes by `change`; `old` is left as it is, so that every picture can be kept and shares what is equal.
export function patched(old, change) {
  for (const [path, ...rest] of change) old = patchedAt(old, path, 0, rest);
  return old;
}

function patchedAt(old, path, depth, rest) {
  if (depth === path.length)
    return rest.length === 1 ? rest[0] : old.slice(0, rest[0]) + rest[1] + old.slice(rest[0] + rest[1].length);
  const copy = Array.isArray(old) ? [...old] : { ...old };
  copy[path[depth]] = patchedAt(old[path[depth]], path, depth + 1, rest);
  return copy;
}

// A cell's recorded run: the picture after any number of steps, computed once and kept.
export class Chapter {
  constructor({ label, first, steps }) {
    this.label = label;
    this.steps = steps;
    this.pictures = [first];
    let shown = 0;
    this.times = [
      0,
      ...steps.map(([, t], i) => {
        shown += i ? Math.min(GAP_S, Math.max(0, t - steps[i - 1][1])) : 0;
        return shown;
      }),
    ];
  }

  get length() {
    return this.steps.length;
  }

  picture(at) {
    while (this.pictures.length <= at)
      this.pictures.push(patched(this.pictures.at(-1), this.steps[this.pictures.length - 1][4]));
    return this.pictures[at];
  }
}

// Stands where a synced model stands under a live view.
class Recorded {
  constructor() {
    this.state = { tab: "", form: "panel", alive: true, recorded: true, model: {} };
    this.handlers = new Map();
  }
  get(key) {
    return this.state[key];
  }
  send() {
    /* there is nobody to hear */
  }
  on(name, act) {
    this.handlers.set(name, [...(this.handlers.get(name) || []), act]);
  }
  off(name, act) {
    this.handlers.set(
      name,
      (this.handlers.get(name) || []).filter((one) => one !== act),
    );
  }
  show(model) {
    this.state.model = model;
    for (const act of this.handlers.get("change:model") || []) act();
  }
}

export class Player {
  // `pace_s`: seconds that a run of any length takes; 0 plays it as fast as it was. `speed`: one of SPEEDS, 0: not at
  // once.
  constructor(root, { title, made, chapters }, { pace_s = 0, speed = 0, chapter = chapters.length - 1 } = {}) {
    this.chapters = chapters.map((one) => new Chapter(one));
    this.speed = speed || 1;
    this.at = 0;
    this.timer = 0;
    this.pace_s = pace_s;
    this.model = new Recorded();
    this.build(root, title, made);
    this.open(chapter);
    if (pace_s || speed) {
      this.go(0);
      this.play(true);
    }
  }

  build(root, title, made) {
    const button = (text, name, act) =>
      el("button", { type: "button", text, "aria-label": name, title: name, onclick: act });
    const choose = (options, act, name) =>
      el(
        "select",
        { "aria-label": name, onchange: (event) => act(Number(event.target.value)) },
        ...options.map((text, i) => el("option", { value: i, text })),
      );
    this.ui = {
      cell: choose(
        this.chapters.map((one) => one.label),
        (i) => this.open(i),
        "Cell",
      ),
      view: div("sl-replay-view"),
      ticks: div("sl-replay-ticks"),
      text: el("span", { class: "sl-replay-text", "aria-live": "polite" }),
      where: el("span", { class: "sl-replay-where" }),
      range: el("input", {
        type: "range",
        min: 0,
        step: 1,
        "aria-label": "Step of the recorded run",
        oninput: (event) => {
          this.play(false);
          this.go(Number(event.target.value));
        },
      }),
      playing: button("Play", "Play or pause (Space)", () => this.play(!this.timer)),
      speed: choose(
        SPEEDS.map((speed) => `${speed}x`),
        (i) => {
          this.speed = SPEEDS[i];
          if (this.timer) {
            this.play(false);
            this.play(true);
          }
        },
        "Speed",
      ),
    };
    const u = this.ui;
    u.speed.value = SPEEDS.indexOf(this.speed);
    u.cell.hidden = this.chapters.length < 2;
    this.root = el(
      "section",
      { class: "sl-replay", tabindex: "0", "aria-label": "A recorded run" },
      div(
        "sl-replay-ribbon",
        el("b", { text: "Recorded" }),
        u.cell,
        el("span", { text: [title, made].filter(Boolean).join(", ") }),
      ),
      u.view,
      div(
        "sl-replay-bar",
        button("|◀", "First step (Home)", () => this.step(-Infinity)),
        button("◀", "One step back (left arrow)", () => this.step(-1)),
        u.playing,
        button("▶", "One step on (right arrow)", () => this.step(1)),
        button("▶|", "Last step (End)", () => this.step(Infinity)),
        div("sl-replay-scrub", u.ticks, u.range),
        u.speed,
      ),
      div("sl-replay-said", u.text, u.where),
    );
    root.append(this.root);
    this.root.addEventListener("focusin", (event) => keep(event.target));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.view = new View(this.model, u.view);
  }

  open(number) {
    this.play(false);
    this.chapter = this.chapters[number];
    const u = this.ui;
    const of = this.chapter.length;
    u.cell.value = number;
    u.range.max = of;
    u.ticks.replaceChildren(
      ...this.chapter.steps.flatMap(([, , text, mark], i) =>
        mark
          ? [
              el("i", {
                "data-mark": mark,
                title: `${MARKS[mark] || mark}: ${text}`,
                style: { left: `${(100 * (i + 1)) / of}%` },
              }),
            ]
          : [],
      ),
    );
    this.go(of);
  }

  go(at) {
    this.at = Math.max(0, Math.min(this.chapter.length, at));
    const u = this.ui;
    const step = this.chapter.steps[this.at - 1];
    this.model.show(this.chapter.picture(this.at));
    u.range.value = this.at;
    const text = step ? step[2] : "before the first fact";
    u.range.setAttribute("aria-valuetext", `step ${this.at}: ${text}`);
    say(u.text, text);
    const begun = this.chapter.steps[0]?.[1] ?? 0;
    say(
      u.where,
      `step ${this.at} of ${plural(this.chapter.length, "fact")}${step ? `, ${(step[1] - begun).toFixed(2)} s` : ""}`,
    );
  }

  step(by) {
    this.play(false);
    this.go(Number.isFinite(by) ? this.at + by : by < 0 ? 0 : this.chapter.length);
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = 0;
    this.ui.text.setAttribute("aria-live", on ? "off" : "polite"); // a reader would be talked down by a run at play
    say(this.ui.playing, on ? "Pause" : "Play");
    if (!on) return;
    if (this.at >= this.chapter.length) this.go(0);
    const { times } = this.chapter;
    const whole = times.at(-1) || 0.001;
    const rate = this.pace_s ? whole / this.pace_s : 1;
    let shown = times[this.at];
    let last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      shown += ((now - last) / 1000) * this.speed * rate;
      last = now;
      let at = this.at;
      while (at < this.chapter.length && times[at + 1] <= shown) at++;
      if (at !== this.at) this.go(at);
      if (at >= this.chapter.length) this.play(false);
    }, FRAME_MS);
  }

  key(event) {
    if (
      event.target.matches("select, .sl-node, .sl-tab, .sl-rdd") ||
      (event.target.matches("button") && event.key === " ")
    )
      return;
    const act = {
      " ": () => this.play(!this.timer),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.step(-Infinity),
      End: () => this.step(Infinity),
    }[event.key];
    if (act) {
      act();
      event.preventDefault();
      event.stopPropagation();
    }
  }

  destroy() {
    this.play(false);
    this.view.destroy();
    this.root.remove();
  }
}

export default {
  render({ model, el: root }) {
    let player = null;
    const heard = (message, buffers) => {
      if (message?.type !== "recording" || player) return;
      const bytes = buffers[0];
      player = new Player(root, JSON.parse(new TextDecoder().decode(bytes.buffer ? bytes : new Uint8Array(bytes))), {
        pace_s: model.get("pace_s"),
        speed: model.get("speed"),
      });
    };
    model.on("msg:custom", heard);
    model.send({ cmd: "hello" });
    return () => {
      model.off("msg:custom", heard);
      player?.destroy();
    };
  },
};
