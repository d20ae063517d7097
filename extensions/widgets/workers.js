// The workers of a run: a bar of clocks for each between floor and bound, what part of its time it waited, or many as
// a histogram.

import { bold, count, drawing, el, ink, plural, span, sv } from "./dom.js";

export const BARS_WIDTH = 404;
const WORKER_BAR = 20;
const UNIT_MAX = 22;
const BAR_LEFT = 68;
const ZONE = 196;
const BEFORE = 3;
const SPARE = 8;
const WAIT_AT = 314;
const WAIT_WIDE = 46;

export class WorkerMethods {
  workerBars(front) {
    const idle =
      front.idle === null
        ? ""
        : `${front.blocked ? `${front.blocked} blocked now, ` : ""}mean ${front.idle} % of the time`;
    const title = el(
      "p",
      { class: "sl-where" },
      bold("Clock of each worker"),
      el("span", { class: "sl-space" }),
      span(idle),
    );
    if (front.lags.length) return [title, ...this.lagBars(front)];
    if (!front.clocks.length)
      return [
        title,
        el("p", {
          class: "sl-none",
          text: front.status === "running" ? "No worker has completed a clock yet." : "This strategy keeps no clocks.",
        }),
      ];
    return [title, this.clockBars(front)];
  }

  // A bar for each worker in blocks of one clock, from a little below the slowest to the bound.
  clockBars(front) {
    const n = front.clocks.length;
    const bar = n > 24 ? 8 : n > 8 ? Math.max(12, Math.floor(168 / n)) : WORKER_BAR;
    const named = bar >= 12;
    const slowed = new Map(front.slowed);
    const top = Math.max(...front.clocks);
    const from = Math.max(0, front.floor - BEFORE);
    const limit = front.has_tau && front.tau >= 0 ? front.floor + front.tau : null;
    const to = Math.max(limit === null ? 0 : limit + 1, top + 1, from + SPARE);
    const unit = Math.min(UNIT_MAX, ZONE / (to - from));
    const height = n * bar + 34;
    const at = (clock) => BAR_LEFT + (clock - from) * unit;
    const art = sv("svg", {
      width: BARS_WIDTH,
      height,
      class: "sl-train-art",
      role: "img",
      "aria-label": `${plural(n, "worker")}: slowest at clock ${front.floor}, fastest at ${top}, ${front.blocked} waiting`,
    });
    front.clocks.forEach((clock, worker) => {
      const y = 16 + worker * bar;
      const deep = bar - (bar > 14 ? 6 : 3);
      const low = y + deep / 2 + 4;
      const late = slowed.get(worker);
      if (named)
        art.append(
          sv("text", {
            x: 0,
            y: low,
            text: late ? `w${worker} +${count(late)} ms` : `worker ${worker}`,
            class: late ? "sl-num sl-strong" : "sl-num",
          }),
        );
      if (unit < 4)
        art.append(
          sv("rect", {
            x: BAR_LEFT,
            y,
            width: Math.max(1, at(clock) - BAR_LEFT),
            height: deep,
            style: { fill: ink("done") },
          }),
        );
      else
        for (let one = from; one < clock; one++)
          art.append(
            sv("rect", { x: at(one) + 0.5, y, width: unit - 1.2, height: deep, style: { fill: ink("done") } }),
          );
      if (front.waiting[worker])
        art.append(
          sv("text", {
            x: Math.max(at(clock), limit === null ? 0 : at(limit + 1)) + 5,
            y: low,
            text: named ? "blocked" : "",
            class: "sl-num sl-strong sl-halo",
          }),
        );
      if (!front.waited.length) return;
      const share = front.waited[worker];
      if (named)
        art.append(
          sv("rect", {
            x: WAIT_AT + 0.5,
            y: y + 0.5,
            width: WAIT_WIDE,
            height: deep - 1,
            style: { fill: "none", stroke: ink("wait") },
          }),
        );
      art.append(
        sv("rect", {
          x: WAIT_AT + 0.5,
          y: y + 0.5,
          width: (WAIT_WIDE * share) / 100,
          height: deep - 1,
          style: { fill: `url(#${this.uid}-hatch)`, stroke: ink("edge") },
        }),
      );
      if (named)
        art.append(
          sv("text", {
            x: BARS_WIDTH - 4,
            y: low,
            "text-anchor": "end",
            text: `${share.toFixed(0)} %`,
            class: "sl-num",
          }),
        );
    });
    const line = (clock, name, dash, anchor) =>
      art.append(
        sv("line", {
          x1: at(clock),
          x2: at(clock),
          y1: 10,
          y2: height - 15,
          "stroke-width": 1.5,
          "stroke-dasharray": dash,
          style: { stroke: ink("edge") },
        }),
        sv("text", { x: at(clock), y: height - 3, "text-anchor": anchor, text: name, class: "sl-num sl-strong" }),
      );
    const close = limit !== null && (limit + 1 - front.floor) * unit < 76;
    line(front.floor, `floor ${front.floor}`, "", close ? "end" : "middle");
    // Who has completed the last clock that the bound lets it begin waits here: no bar goes further.
    const waits = `waits at ${front.floor} + ${front.tau} + 1`;
    if (limit !== null) line(limit + 1, waits, "4 3", close ? "start" : "middle");
    if (front.waited.length) art.append(sv("text", { x: WAIT_AT, y: 10, text: "Blocked", class: "sl-num sl-strong" }));
    return art;
  }

  // Many workers: how far ahead of the slowest they are, and who the slowest are.
  lagBars(front) {
    const most = Math.max(...front.lags.map(([, n]) => n));
    const last = front.lags.at(-1)[0];
    const pitch = Math.min(26, (BARS_WIDTH - 12) / (last + 1));
    const base = 146;
    const bound = front.has_tau && front.tau >= 0 ? front.tau : null;
    const art = drawing(BARS_WIDTH, 178);
    const every = Math.ceil(22 / pitch);
    const ahead = front.lags.map(([lag, n]) => `${n} are ${lag} ahead`);
    const said = `${plural(front.workers, "worker")}: ${ahead.join(", ")}`;
    art.setAttribute("class", "sl-train-art");
    art.setAttribute("role", "img");
    art.setAttribute("aria-label", said.slice(0, 400));
    art.removeAttribute("aria-hidden");
    for (const [lag, n] of front.lags) {
      const h = Math.max(2, (116 * n) / most);
      const x = 4 + lag * pitch;
      art.append(
        sv("rect", { x, y: base - h, width: Math.max(1, pitch - 2), height: h, style: { fill: ink("done") } }),
      );
      if (pitch >= 20 || n === most)
        art.append(
          sv("text", {
            x: x + pitch / 2 - 1,
            y: base - h - 4,
            "text-anchor": "middle",
            text: count(n),
            class: "sl-num",
          }),
        );
    }
    for (let lag = 0; lag <= last; lag += every)
      art.append(
        sv("text", {
          x: 4 + lag * pitch + pitch / 2 - 1,
          y: base + 14,
          "text-anchor": "middle",
          text: String(lag),
          class: "sl-num",
        }),
      );
    art.append(
      sv("path", { d: `M0 ${base + 0.5}H${BARS_WIDTH - 8}`, style: { stroke: ink("wait") } }),
      sv("text", {
        x: 4,
        y: base + 29,
        text: `clocks ahead of the slowest, of ${plural(front.workers, "worker")}`,
        class: "sl-num",
      }),
    );
    // Behind those who have completed the last clock that the bound lets them begin.
    const limit = 4 + (bound + 2) * pitch;
    if (bound !== null && limit < BARS_WIDTH - 8)
      art.append(
        sv("path", {
          d: `M${limit - 1} 6V${base}`,
          "stroke-dasharray": "4 3",
          style: { stroke: ink("edge") },
        }),
        sv("text", { x: limit + 3, y: 14, text: `waits at ${bound} + 1`, class: "sl-num sl-strong" }),
      );
    return [
      art,
      el(
        "p",
        { class: "sl-slowest" },
        span("slowest: "),
        bold(front.slowest.map(([worker, clock]) => `worker ${worker} at ${count(clock)}`).join(", ")),
      ),
    ];
  }
}
