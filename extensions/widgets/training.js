// Training: the staleness bound under the reader's hand, the workers' clocks against it, and the loss it makes.
// Controls are made once and kept: a picture that is drawn ten times a second must not take a button from under a
// finger.

import { bold, div, el, ink, plural, say, shorten, span, sv } from "./dom.js";
import { ServerMethods } from "./servers.js";
import { BARS_WIDTH, WorkerMethods } from "./workers.js";

const BOUNDS = [0, 1, 2, 4, 8, 16, 32, -1]; // -1: no bound
const CURVES = [
  ["done", ""],
  ["lost", "6 3"],
  ["mem", "2 3"],
  ["re", "8 3 2 3"],
  ["run", "1 3"],
  ["thick", "12 4"],
]; // colour and dash
const CHART = { h: 226, left: 42, right: 116, top: 10, foot: 34 };
const CHART_MAX = 640;
const AT_WORK = ["running", "paused"];

const nameOf = (tau) => (tau < 0 ? "∞" : String(tau));
const nearest = (tau) =>
  tau < 0
    ? BOUNDS.length - 1
    : BOUNDS.reduce((best, one, i) => (one >= 0 && Math.abs(one - tau) < Math.abs(BOUNDS[best] - tau) ? i : best), 0);
const trim = (number) => String(Number(number.toPrecision(3)));
const compact = (number) =>
  number >= 1e6 ? `${trim(number / 1e6)}M` : number >= 1e3 ? `${trim(number / 1e3)}k` : trim(number);

// Round values between low and high, about `wanted` of them.
function rounds(low, high, wanted) {
  const raw = (high - low) / wanted;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((one) => one * size >= raw) * size;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step)
    found.push(Number(at.toPrecision(10)));
  return found;
}

export class TrainingMethods {
  training(data) {
    const t = data.training;
    const front = t.front;
    const u = this.ui;
    u.card.hidden = true;
    if (this.asked?.run !== front.run || this.asked.tau === front.tau || !t.active.includes(front.run))
      this.asked = null;
    const width = u.view.clientWidth;
    const off = this.off || !AT_WORK.includes(front.status);
    const made = JSON.stringify([
      front.run,
      front.has_tau,
      front.status,
      off,
      this.lecture,
      front.workers,
      this.openFolds(front),
      width,
    ]);
    if (made !== this.drawn) {
      this.drawn = made;
      this.told = null;
      this.makeTraining(t, off);
    }
    const sig = JSON.stringify([t, this.byUpdates, this.asked]);
    if (sig === this.told) return;
    this.told = sig;
    const p = this.trained;
    this.showTau(front);
    p.workers.replaceChildren(...this.workerBars(front));
    say(p.rate, trim(front.lr));
    p.times.forEach((button, i) => button.setAttribute("aria-pressed", String(Boolean(this.byUpdates) === Boolean(i))));
    p.chart.replaceChildren(...this.lossChart(t));
    this.showFolds(front);
  }

  makeTraining(t, off) {
    const u = this.ui;
    const front = t.front;
    const p = (this.trained = { off, workers: div("sl-train-workers"), chart: div(""), rate: bold("") });
    const focus = u.view.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    // Charts that stand below each other need more.
    u.body.style.height = this.lecture || this.chartRoom() < BARS_WIDTH + 344 ? "480px" : "422px";
    const toggle = (name, updates) =>
      this.button(
        name,
        () => {
          this.byUpdates = updates;
          this.update();
        },
        { "data-act": name },
      );
    p.times = [toggle("time", false), toggle("updates", true)];
    const loss = div(
      "sl-train-loss",
      el("p", { class: "sl-where" }, bold("Loss"), el("span", { class: "sl-space" }), span("against"), ...p.times),
      p.chart,
    );
    const folds = this.makeFolds(front, off);
    u.view.replaceChildren(
      div(
        "sl-train",
        this.tauSlider(front, off),
        div("sl-train-charts", p.workers, loss),
        this.steering(front, off),
        ...folds,
      ),
    );
    if (focus) u.view.querySelector(`[data-act="${focus}"]`)?.focus();
  }

  // --- the bound -----------------------------------------------------------------------------------------------

  tauSlider(front, off) {
    const p = this.trained;
    if (!front.has_tau) {
      p.slider = null;
      return el("p", { class: "sl-where", text: front.words });
    }
    p.slider = el("input", {
      type: "range",
      min: 0,
      max: BOUNDS.length - 1,
      step: 1,
      disabled: off,
      "data-act": "tau",
      "aria-label": "tau, the staleness bound",
      oninput: (event) => {
        this.sliding = true;
        this.setTau(front.run, BOUNDS[event.target.value]);
      },
      onchange: () => {
        this.sliding = false;
        this.told = null;
        this.update();
      },
    });
    p.words = el("span");
    p.ticks = BOUNDS.map((one, i) =>
      el(
        "button",
        {
          type: "button",
          class: "sl-tau",
          disabled: off,
          tabindex: -1,
          title: one < 0 ? "%sparklab staleness async" : `%sparklab staleness ${one}`,
          "data-act": `tau${i}`,
          onclick: () => this.setTau(front.run, one),
        },
        span(nameOf(one)),
        el("small", { text: i ? (i === BOUNDS.length - 1 ? "Async" : "") : "BSP" }),
      ),
    );
    return div(
      "sl-train-tau",
      el("div", { class: "sl-train-head" }, bold("tau"), p.words),
      p.slider,
      div("sl-train-ticks", ...p.ticks),
    );
  }

  showTau(front) {
    const p = this.trained;
    if (!p.slider) return;
    const shown = this.asked ? this.asked.tau : front.tau;
    const waits = shown !== front.tau;
    if (!this.sliding) p.slider.value = nearest(shown);
    p.slider.style.setProperty("--sl-at", `${(100 * p.slider.value) / (BOUNDS.length - 1)}%`);
    p.slider.setAttribute("aria-valuetext", `${shown < 0 ? "no bound" : `tau ${shown}`}: ${front.words}`);
    say(
      p.words,
      waits ? `asked for ${nameOf(shown)}, it is ${nameOf(front.tau)} until the kernel answers` : front.words,
    );
    p.words.className = waits ? "sl-pending" : "";
    p.ticks.forEach((tick, i) => tick.setAttribute("aria-pressed", String(BOUNDS[i] === shown)));
  }

  setTau(run, tau) {
    const front = this.data.training.front;
    if (tau === (this.asked ? this.asked.tau : front.tau)) return;
    this.asked = { run, tau };
    this.steer("tau", { run, tau }, `%sparklab staleness ${tau < 0 ? "async" : tau}`);
    this.update();
  }

  // Sends a command, and leaves the line that does the same in the foot, to be copied.
  steer(cmd, args, line) {
    this.line = line;
    this.send(cmd, args, line);
  }

  trainActions(training) {
    const front = training?.front;
    const line =
      this.line || (front?.has_tau ? `%sparklab staleness ${front.tau < 0 ? "async" : front.tau}` : "%sparklab train");
    return [
      line,
      () => {
        const copy = this.button("Copy", () => this.copy(line, copy), { title: "The line that does the same" });
        return [el("code", { class: "sl-line", text: line }), copy];
      },
    ];
  }

  // --- the loss ------------------------------------------------------------------------------------------------

  // Beside the workers' bars where there is room, else below them.
  chartWidth() {
    const room = this.chartRoom();
    const beside = room - BARS_WIDTH - 24;
    return Math.min(CHART_MAX, beside >= 320 ? beside : Math.max(320, room - 8));
  }

  lossChart(t) {
    const { h, left, right, top, foot } = CHART;
    const w = this.chartWidth();
    const by = this.byUpdates ? 1 : 0;
    const all = t.curves.flatMap((curve) => curve.points);
    if (!all.length) return [el("p", { class: "sl-none", text: "No loss has been reported yet." })];
    const newest = t.curves.find((curve) => curve.run === t.front.run)?.points.at(-1);
    const art = sv("svg", {
      width: w,
      height: h,
      class: "sl-train-art",
      role: "img",
      "aria-label": `Loss of ${plural(t.curves.length, "run")}${newest ? `, the newest at ${trim(newest[2])}` : ""}`,
    });
    // The scale ends a little above where a curve began: one that runs away leaves the chart, and does not squeeze it.
    const high = Math.max(...t.curves.map((curve) => curve.points[0]?.[2] ?? 0)) * 1.04;
    const low = Math.min(...all.map((point) => point[2]), high * 0.98);
    const spread = Math.max(high - low, 1e-6);
    const far = Math.max(...all.map((point) => point[by]), 1e-9);
    const x = (v) => left + ((w - left - right) * v) / far;
    const y = (v) => top + (h - top - foot) * (1 - (v - low) / spread);
    art.append(
      sv(
        "clipPath",
        { id: `${this.uid}-plot` },
        sv("rect", { x: left, y: top - 4, width: w - left - right + 4, height: h - top - foot + 8 }),
      ),
    );
    for (const value of rounds(low, high, 4))
      art.append(
        sv("line", { x1: left, x2: w - right, y1: y(value), y2: y(value), style: { stroke: ink("cell") } }),
        sv("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end", text: String(value), class: "sl-num" }),
      );
    for (const value of rounds(0, far, Math.max(2, Math.min(5, Math.floor((w - left - right) / 70)))))
      art.append(
        sv("path", { d: `M${x(value)} ${h - foot}v4`, style: { stroke: ink("wait") } }),
        sv("text", {
          x: x(value),
          y: h - foot + 15,
          "text-anchor": "middle",
          text: by ? compact(value) : `${value}${value ? "" : " s"}`,
          class: "sl-num",
        }),
      );
    art.append(sv("path", { d: `M${left} ${h - foot}H${w - right}`, style: { stroke: ink("wait") } }));
    this.changeMarks(art, t.front.changes, by, (v) => x(Math.min(v, far)), top, h, foot);
    const labels = [];
    t.curves.forEach((curve, i) => {
      if (!curve.points.length) return;
      // A curve that runs away ends where it leaves the chart, with a word.
      const out = curve.points.findIndex((point) => point[2] > high);
      const points = out < 0 ? curve.points : curve.points.slice(0, out + 1);
      const [colour, dash] = CURVES[i % CURVES.length];
      const last = points.at(-1);
      const front = curve.run === t.front.run;
      art.append(
        sv("polyline", {
          points: points.map((point) => `${x(point[by]).toFixed(1)},${y(point[2]).toFixed(1)}`).join(" "),
          fill: "none",
          "stroke-width": front ? 2.5 : 1.5,
          "stroke-dasharray": dash,
          "clip-path": `url(#${this.uid}-plot)`,
          style: { stroke: ink(colour) },
        }),
      );
      const at = { x: x(last[by]), y: Math.min(Math.max(top + 4, y(last[2])), h - foot - 2) };
      const text = curve.diverged
        ? `${curve.short}: diverged`
        : front
          ? `${curve.short} ${trim(last[2])}`
          : curve.short;
      if (curve.diverged)
        art.append(
          sv("path", {
            d: `M${at.x - 4} ${at.y - 4}l8 8M${at.x + 4} ${at.y - 4}l-8 8`,
            "stroke-width": 2,
            style: { stroke: ink(colour) },
          }),
        );
      else art.append(sv("circle", { cx: at.x, cy: at.y, r: front ? 3.5 : 2.5, style: { fill: ink(colour) } }));
      labels.push({ ...at, to: at.y, text, full: curve.label, bold: front });
    });
    labels
      .sort((a, b) => a.y - b.y)
      .forEach((label, i) => {
        if (i) label.y = Math.max(label.y, labels[i - 1].y + 14);
      });
    const over = Math.max(0, (labels.at(-1)?.y ?? 0) - (h - foot - 2));
    for (const label of labels) {
      const at = label.y - over;
      art.append(
        sv("path", {
          d: `M${label.x + 6} ${label.to}L${w - right + 6} ${at}`,
          fill: "none",
          style: { stroke: ink("wait") },
          "stroke-width": 0.6,
        }),
        sv(
          "text",
          {
            x: w - right + 10,
            y: at + 4,
            text: shorten(label.text, 18),
            class: label.bold ? "sl-num sl-strong" : "sl-num",
          },
          sv("title", { text: label.full }),
        ),
      );
    }
    return [art, t.more ? el("p", { class: "sl-none", text: `and ${plural(t.more, "earlier run")}` }) : ""];
  }

  // What a hand changed, as vertical marks named at the foot; what was changed at about the same time shares a name.
  changeMarks(art, changes, by, x, top, h, foot) {
    const marks = [];
    for (const change of changes) {
      const at = x(change[by]);
      const before = marks.at(-1);
      art.append(
        sv("line", {
          x1: at,
          x2: at,
          y1: top,
          y2: h - foot,
          "stroke-dasharray": "2 2",
          style: { stroke: ink("edge") },
        }),
      );
      if (before && at - before.at < 58) before.names = [...before.names, change[2]].slice(-2);
      else marks.push({ at, names: [change[2]] });
    }
    for (const { at, names } of marks)
      art.append(
        sv("text", { x: Math.max(at, 30), y: h - 4, "text-anchor": "middle", text: names.join(", "), class: "sl-num" }),
      );
  }

  // --- the hand ------------------------------------------------------------------------------------------------

  steering(front, off) {
    const paused = front.status === "paused";
    const rate = (by, name, key) =>
      this.button(
        name,
        () => {
          const lr = Number(trim(this.data.training.front.lr * by));
          this.steer("lr", { run: front.run, lr }, `%sparklab train --lr ${lr}`);
        },
        {
          disabled: off,
          "data-act": key,
          "aria-label": `${name}: ${by < 1 ? "halve" : "double"} the learning rate`,
          title: "%sparklab train --lr RATE",
        },
      );
    const act = (cmd, name) =>
      this.button(name, () => this.steer(cmd, { run: front.run }, `%sparklab train ${cmd.slice(6)}`), {
        disabled: off,
        "data-act": cmd,
        title: `%sparklab train ${cmd.slice(6)}`,
      });
    return div(
      "sl-train-hand",
      span("learning rate"),
      this.trained.rate,
      rate(0.5, "÷ 2", "half"),
      rate(2, "× 2", "twice"),
      ...this.foldButtons(front),
      el("span", { class: "sl-space" }),
      act(paused ? "train-resume" : "train-pause", paused ? "Resume" : "Pause"),
      act("train-stop", "Stop training"),
    );
  }
}

for (const part of [WorkerMethods, ServerMethods]) {
  for (const name of Object.getOwnPropertyNames(part.prototype))
    if (name !== "constructor")
      Object.defineProperty(TrainingMethods.prototype, name, Object.getOwnPropertyDescriptor(part.prototype, name));
}
