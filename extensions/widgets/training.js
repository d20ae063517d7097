// Training: the staleness bound under the reader's hand, the workers' clocks against it, and the loss it makes.

import { bold, div, drawing, el, ink, plural, shorten, span, sv } from "./dom.js";

const BOUNDS = [0, 1, 2, 4, 8, 16, 32, -1]; // -1: no bound
const BAR = 17, UNIT_MAX = 22, LEFT = 30, BEFORE = 3, SPARE = 8;
const CURVES = [["done", ""], ["lost", "6 3"], ["mem", "2 3"], ["re", "8 3 2 3"], ["run", "1 3"], ["thick", "12 4"]]; // colour and dash
const CHART = { h: 212, left: 42, right: 124, top: 10, foot: 34 }, BARS_WIDTH = 366, CHART_MAX = 560;

const nameOf = (tau) => (tau < 0 ? "∞" : String(tau));
const nearest = (tau) => (tau < 0 ? BOUNDS.length - 1 : BOUNDS.reduce((best, one, i) => (one >= 0 && Math.abs(one - tau) < Math.abs(BOUNDS[best] - tau) ? i : best), 0));
const trim = (number) => String(Number(number.toPrecision(3)));

export class TrainingMethods {
  training(data) {
    const t = data.training, u = this.ui, front = t.front;
    u.card.hidden = true;
    const asked = this.askedTau ?? null;
    if (asked !== null && (asked === front.tau || !t.active.includes(front.run))) this.askedTau = null;
    const sig = JSON.stringify([t, this.byUpdates, this.askedTau, this.off, this.lecture]);
    if (sig === this.drawn) return;
    this.drawn = sig; u.body.style.height = "422px";
    const focus = u.view.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    if (this.slider?.isConnected && this.sliding) { this.charts.replaceChildren(this.workerBars(front), this.lossChart(t)); return; } // a hand is on it
    this.charts = div("sl-train-charts", this.workerBars(front), this.lossChart(t));
    u.view.replaceChildren(div("sl-train", this.tauSlider(front), this.charts, this.steering(front)));
    if (focus) u.view.querySelector(`[data-act="${focus}"]`)?.focus();
  }

  tauSlider(front) {
    if (!front.has_tau) return el("p", { class: "sl-none", text: front.words });
    const off = this.off || !["running", "paused"].includes(front.status), shown = this.askedTau ?? front.tau;
    const range = el("input", {
      type: "range", min: 0, max: BOUNDS.length - 1, step: 1, disabled: off, "data-act": "tau", "aria-label": "tau, the staleness bound",
      "aria-valuetext": `${shown < 0 ? "no bound" : `tau ${shown}`}: ${front.words}`,
      oninput: (event) => { this.sliding = true; this.setTau(front.run, BOUNDS[event.target.value]); }, onchange: () => { this.sliding = false; this.redraw(); },
    });
    range.value = nearest(shown);
    this.slider = range;
    const ticks = BOUNDS.map((one, i) => el("button", { type: "button", class: "sl-tau", disabled: off, tabindex: -1, "aria-pressed": String(one === shown), "data-act": `tau${i}`, onclick: () => this.setTau(front.run, one) }, span(nameOf(one)), el("small", { text: i ? (i === BOUNDS.length - 1 ? "Async" : "") : "BSP" })));
    const waiting = this.askedTau !== null && this.askedTau !== undefined && this.askedTau !== front.tau;
    return div("sl-train-tau", el("div", { class: "sl-train-head" }, bold("tau"), el("span", { class: waiting ? "sl-pending" : "", text: waiting ? `asked for ${nameOf(this.askedTau)}, it is ${nameOf(front.tau)} until the kernel answers` : front.words })), range, div("sl-train-ticks", ...ticks));
  }

  setTau(run, tau) {
    if (tau === (this.askedTau ?? this.data.training.front.tau)) return;
    this.askedTau = tau;
    this.send("tau", { run, tau }, `%sparklab staleness ${tau < 0 ? "async" : tau}`);
    this.redraw();
  }

  // Beside the workers' bars where there is room, else below them.
  chartWidth() {
    const room = (this.ui.view.clientWidth || 994) - 32, beside = room - BARS_WIDTH - 24;
    return Math.min(CHART_MAX, beside >= 320 ? beside : Math.max(340, room - 8));
  }

  // A bar for each worker in blocks of one clock, from a little below the slowest to the bound.
  workerBars(front) {
    const box = div("sl-train-workers", el("p", { class: "sl-where" }, bold("clocks"), span(`floor ${front.floor}${front.idle === null ? "" : `, ${front.idle} % of the time spent waiting`}`)));
    if (front.lags.length) { box.append(this.lagBars(front)); return box; }
    if (!front.clocks.length) { box.append(el("p", { class: "sl-none", text: front.status === "running" ? "No worker has completed a clock yet." : "This strategy keeps no clocks." })); return box; }
    const top = Math.max(...front.clocks), from = Math.max(0, front.floor - BEFORE), limit = front.has_tau && front.tau >= 0 ? front.floor + front.tau : null;
    const to = Math.max(limit === null ? 0 : limit + 1, top + 1, from + SPARE), unit = Math.min(UNIT_MAX, Math.floor(330 / (to - from)) || 1), bar = front.clocks.length > 24 ? 8 : BAR;
    const width = LEFT + (to - from) * unit + 64, height = front.clocks.length * bar + 30, at = (clock) => LEFT + (clock - from) * unit;
    const art = sv("svg", { width, height, class: "sl-train-art", role: "img", "aria-label": `${plural(front.clocks.length, "worker")}: slowest at clock ${front.floor}, fastest at ${top}, ${front.blocked} waiting` });
    front.clocks.forEach((clock, worker) => {
      const y = 16 + worker * bar, deep = bar - 4;
      if (bar >= 14) art.append(sv("text", { x: 0, y: y + deep - 2, text: `w${worker}`, class: "sl-num" }));
      for (let one = from; one < clock; one++) art.append(sv("rect", { x: at(one) + 0.5, y, width: Math.max(1, unit - 1.5), height: deep, style: { fill: ink("done") } }));
      if (front.waiting[worker]) art.append(sv("rect", { x: at(clock), y, width: Math.max(4, (limit === null ? 1 : 1) * unit - 1), height: deep, style: { fill: `url(#${this.uid}-hatch)`, stroke: ink("edge") } }), bar >= 14 ? sv("text", { x: at(clock) + unit + 4, y: y + deep - 2, text: "waits", class: "sl-num" }) : null);
      if (front.waited.length && bar >= 14) art.append(sv("text", { x: width - 2, y: y + deep - 2, "text-anchor": "end", text: `${front.waited[worker].toFixed(0)} %`, class: "sl-num" }));
    });
    art.prepend(sv("defs", {}, sv("pattern", { id: `${this.uid}-hatch`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, sv("line", { x1: 0, y1: 0, x2: 0, y2: 5, "stroke-width": 2, style: { stroke: ink("re") } }))));
    const line = (clock, name, dash, anchor) => art.append(sv("line", { x1: at(clock), x2: at(clock), y1: 12, y2: height - 14, "stroke-width": 1.5, "stroke-dasharray": dash, style: { stroke: ink("edge") } }), sv("text", { x: at(clock), y: height - 3, "text-anchor": anchor, text: name, class: "sl-num" }));
    line(front.floor, "floor", "", limit !== null && limit - front.floor < 3 ? "end" : "middle");
    if (limit !== null) line(limit + 1, `bound ${front.floor} + ${front.tau}`, "4 3", limit - front.floor < 3 ? "start" : "middle");
    if (front.waited.length) art.append(sv("text", { x: width - 2, y: 10, "text-anchor": "end", text: "waited", class: "sl-num" }));
    box.append(art);
    return box;
  }

  // Many workers: how far ahead of the slowest they are, and who the slowest are.
  lagBars(front) {
    const most = Math.max(...front.lags.map(([, n]) => n)), pitch = Math.min(22, 380 / front.lags.length);
    const art = drawing(400, 150);
    front.lags.forEach(([lag, n], i) => {
      const h = Math.max(2, (110 * n) / most);
      art.append(sv("rect", { x: i * pitch, y: 120 - h, width: pitch - 2, height: h, style: { fill: ink("done") } }));
      if (pitch > 14) art.append(sv("text", { x: i * pitch + pitch / 2, y: 134, "text-anchor": "middle", text: String(lag), class: "sl-num" }));
    });
    art.append(sv("text", { x: 0, y: 148, text: "clocks ahead of the slowest", class: "sl-num" }));
    return div("", art, el("p", { class: "sl-where", text: `slowest: ${front.slowest.map(([worker, clock]) => `w${worker} at ${clock}`).join(", ")}` }));
  }

  lossChart(t) {
    const { h, left, right, top, foot } = CHART, w = this.chartWidth(), by = this.byUpdates ? 1 : 0, art = sv("svg", { width: w, height: h, class: "sl-train-art", role: "img", "aria-label": "Loss" });
    const toggle = (name, updates) => this.button(name, () => { this.byUpdates = updates; this.redraw(); }, { "aria-pressed": String(Boolean(this.byUpdates) === updates), "data-act": name });
    const box = div("sl-train-loss", el("p", { class: "sl-where" }, bold("loss"), span("against"), toggle("time", false), toggle("updates", true)));
    const all = t.curves.flatMap((curve) => curve.points);
    if (!all.length) { box.append(el("p", { class: "sl-none", text: "No loss has been reported yet." })); return box; }
    // The scale ends a little above where a curve began: one that runs away leaves the chart, and does not squeeze it.
    const high = Math.max(...t.curves.map((curve) => curve.points[0]?.[2] ?? 0)) * 1.08, low = Math.min(...all.map((point) => point[2]), high * 0.98), spread = Math.max(high - low, 1e-6);
    const far = Math.max(...all.map((point) => point[by]), 1e-9), x = (v) => left + ((w - left - right) * v) / far, y = (v) => top + (h - top - foot) * (1 - (v - low) / spread);
    art.append(sv("clipPath", { id: `${this.uid}-plot` }, sv("rect", { x: left, y: top - 4, width: w - left - right + 4, height: h - top - foot + 8 })));
    for (const share of [0, 0.5, 1]) {
      const value = low + spread * share;
      art.append(sv("line", { x1: left, x2: w - right, y1: y(value), y2: y(value), style: { stroke: ink("cell") } }), sv("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end", text: trim(value), class: "sl-num" }),
        sv("text", { x: x(far * share), y: h - foot + 14, "text-anchor": "middle", text: by ? compact(far * share) : `${trim(far * share)} s`, class: "sl-num" }));
    }
    const marks = []; // what was changed at about the same time shares a label
    for (const change of t.front.changes) {
      const at = x(Math.min(change[by], far)), before = marks.at(-1);
      art.append(sv("line", { x1: at, x2: at, y1: top, y2: h - foot, "stroke-dasharray": "2 2", style: { stroke: ink("edge") } }));
      if (before && at - before.at < 46) before.names = [...before.names, change[2]].slice(-2);
      else marks.push({ at, names: [change[2]] });
    }
    for (const { at, names } of marks) art.append(sv("text", { x: at, y: h - 4, "text-anchor": "middle", text: names.join(", "), class: "sl-num" }));
    const labels = [];
    t.curves.forEach((curve, i) => {
      if (!curve.points.length) return;
      // A curve that runs away ends where it leaves the chart.
      const out = curve.points.findIndex((point) => point[2] > high), points = out < 0 ? curve.points : curve.points.slice(0, out + 1);
      const [colour, dash] = CURVES[i % CURVES.length], last = points.at(-1), front = curve.run === t.front.run;
      art.append(sv("polyline", { points: points.map((point) => `${x(point[by]).toFixed(1)},${y(point[2]).toFixed(1)}`).join(" "), fill: "none", "stroke-width": front ? 2.5 : 1.5, "stroke-dasharray": dash, "clip-path": `url(#${this.uid}-plot)`, style: { stroke: ink(colour) } }));
      const at = { x: x(last[by]), y: Math.min(Math.max(top + 4, y(last[2])), h - foot - 2) };
      labels.push({ ...at, to: at.y, text: `${curve.diverged ? "diverged: " : ""}${curve.label}`, bold: front, colour });
    });
    labels.sort((a, b) => a.y - b.y).forEach((label, i) => { if (i) label.y = Math.max(label.y, labels[i - 1].y + 14); });
    const over = Math.max(0, (labels.at(-1)?.y ?? 0) - (h - foot - 2));
    for (const label of labels) {
      const at = label.y - over;
      art.append(sv("path", { d: `M${label.x + 2} ${label.to}L${w - right + 6} ${at}`, fill: "none", style: { stroke: ink("cell") } }),
        sv("text", { x: w - right + 10, y: at + 4, text: shorten(label.text, 21), class: "sl-num", style: { fontWeight: label.bold ? 600 : 400 } }, sv("title", { text: label.text })));
    }
    box.append(art);
    if (t.more) box.append(el("p", { class: "sl-none", text: `and ${plural(t.more, "earlier run")}` }));
    return box;
  }

  steering(front) {
    const off = this.off || !["running", "paused"].includes(front.status), paused = front.status === "paused";
    const rate = (by) => () => this.send("lr", { run: front.run, lr: front.lr * by }, `%sparklab train --lr ${trim(front.lr * by)}`);
    const act = (cmd, name) => this.button(name, () => this.send(cmd, { run: front.run }, `%sparklab train ${cmd.slice(6)}`), { disabled: off, "data-act": cmd });
    return div("sl-train-hand", span("learning rate"), bold(trim(front.lr)), this.button("÷ 2", rate(0.5), { disabled: off, "data-act": "half", "aria-label": "÷ 2: halve the learning rate" }), this.button("× 2", rate(2), { disabled: off, "data-act": "twice", "aria-label": "× 2: double the learning rate" }),
      el("span", { class: "sl-space" }), act(paused ? "train-resume" : "train-pause", paused ? "Resume" : "Pause"), act("train-stop", "Stop training"));
  }
}

function compact(number) { return number >= 1e6 ? `${trim(number / 1e6)}M` : number >= 1e3 ? `${trim(number / 1e3)}k` : trim(number); }
