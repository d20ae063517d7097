// The Timeline: a lane for each executor in the cell's time, a row for each stage, what straggled and what was lost.

import { count, drawing, el, ink, patch, put, px, rect, span, sv } from "./dom.js";

const STEP = 1.25;
export const EDGE = 96;
const RIGHT = 12;
const TOP = 34;
const ROW = 20;
export const reach = (text) => text.length * 6 + 4; // of 11 px text, an upper estimate
export const secs = (s) => (s < 0.0995 ? `${s.toFixed(3)} s` : s < 9.995 ? `${s.toFixed(2)} s` : `${s.toFixed(1)} s`);

export class TimelineMethods {
  timeline(data) {
    const time = data.timeline;
    const u = this.ui;
    u.card.hidden = true;
    const width = Math.max(520, u.view.clientWidth - 32);
    const zoom = this.lecture ? 1.25 : 1;
    const sig = JSON.stringify([time, width, this.lecture]);
    if (sig !== this.drawn) {
      this.drawn = sig;
      if (!time?.lanes.length || !data.jobs?.length) {
        u.body.style.height = "310px";
        u.view.replaceChildren(el("p", { class: "sl-none", text: data.empty || "Nothing has run yet." }));
        return;
      }
      const high = this.drawTime(time, width / zoom);
      u.body.style.height = px(Math.min(480, Math.max(310, high * zoom + 34)));
      put(this.art, {
        width: width / zoom,
        height: high,
        viewBox: `0 0 ${width / zoom} ${high}`,
        style: { width: px(width), height: px(high * zoom) },
      });
    }
    this.lightBar();
  }

  // The drawing, in layers that stay while the job runs: what stands as it stood is not made or styled again.
  makeTime() {
    const art = put(drawing(0, 0), { class: "sl-time", tabindex: "0", role: "group", "aria-hidden": "false" });
    const layer = () => art.appendChild(sv("g", {}));
    this.art = art;
    this.kept = new Map();
    this.layers = { under: layer(), work: layer(), over: layer(), lit: layer() };
    const at = (event) => event.target.closest?.("[data-bar]");
    art.addEventListener("pointermove", (event) => this.hoverBar(at(event)));
    art.addEventListener("pointerleave", () => this.hoverBar(null));
    // Not a click: while a job runs a bar may be drawn anew between a press and its release.
    art.addEventListener("pointerdown", (event) => {
      this.pressed = at(event)?.dataset.part;
    });
    art.addEventListener("pointerup", (event) => {
      const same = at(event)?.dataset.part === this.pressed && at(event);
      this.pressed = null;
      if (same) {
        this.chooseBar(same.bar);
        this.show("dag");
      }
    });
    this.ui.view.replaceChildren(art);
  }

  // Where things stand: lanes, then a row for each stage, then the axis. Returns how high that is.
  drawTime(time, width) {
    if (this.art?.parentNode !== this.ui.view) this.makeTime();
    const lanes = time.lanes;
    const tall = lanes.length <= 4 ? 40 : lanes.length <= 8 ? 26 : 16;
    const gap = lanes.length <= 4 ? 20 : 8;
    // While it runs the axis grows in steps: what has ended stands still, and is not drawn again.
    const whole = Math.max(1e-3, time.to - time.from);
    const shown = this.data.running ? STEP ** Math.ceil(Math.log(whole) / Math.log(STEP) - 1e-9) : whole;
    const inner = width - EDGE - RIGHT;
    const scale = inner / shown;
    const x = (s) => EDGE + (s - time.from) * scale;
    const named = new Map(time.named.map((one) => [`${one.stage}:${one.part}:${one.attempt}`, one.said]));
    const bottom = TOP + lanes.length * (tall + gap);
    let foot = bottom;
    const rows = time.stages.map((stage) => {
      const row = { stage, y: foot, ...roomOf(stage, x, width) };
      foot += row.at === null ? ROW + 14 : ROW;
      return row;
    });
    const high = foot + 30;
    put(this.art, {
      "aria-label": `Timeline: ${time.said}. Left and right go from task to task, Enter shows its partition in the DAG.`,
    });
    const art = sv("g", {});
    const over = sv("g", {});
    const taken = [];
    const before = this.kept;
    this.bars = [];
    this.kept = new Map();
    lanes.forEach((lane, i) => {
      const y = TOP + i * (tall + gap);
      art.append(sv("text", { class: "sl-lane", x: 0, y: y + Math.min(14, tall - 3), text: `executor ${lane.ex}` }));
      if (tall >= 26)
        art.append(sv("text", { x: 0, y: y + 28, text: lane.slots === 1 ? "1 core" : `${lane.slots} cores` }));
      for (const [from, to] of lane.gone) {
        const left = x(from);
        const right = x(to);
        const text = `gone ${secs(to - from)}`;
        const middle = y + tall / 2;
        const room = right - left - 8 > reach(text);
        const centre = (left + right) / 2;
        const half = reach(text) / 2;
        const around = `M${left + 4} ${middle}H${centre - half}M${centre + half} ${middle}H${right - 3}`;
        over.append(
          sv("path", { class: "sl-gone", d: room ? around : `M${left + 3} ${middle}H${right - 2}` }),
          room ? sv("text", { x: centre, y: middle + 4, "text-anchor": "middle", text }) : null,
        );
      }
      const band = (start, length, tip) => {
        const long = Math.max(1, length * scale);
        return `M${x(start).toFixed(2)} ${y + tall}v${(-tip).toFixed(2)}h${long.toFixed(2)}v${tip.toFixed(2)}z`;
      };
      const busy = lane.bands.map(([start, length, share]) => band(start, length, tall * share));
      const again = lane.bands.filter((one) => one[3] > 0);
      if (busy.length)
        art.append(sv("path", { class: "sl-band", d: busy.join(""), style: { fill: ink("done"), opacity: 0.45 } }));
      if (again.length)
        art.append(
          sv("path", {
            d: again.map(([start, length, share, part]) => band(start, length, tall * share * part)).join(""),
            "stroke-width": 0.5,
            style: { fill: ink("re"), stroke: ink("edge") },
          }),
        );
      const row = tall / lane.rows;
      for (const bar of lane.bars)
        this.drawBar(
          before,
          over,
          bar,
          { x: x(bar[3]), y: y + bar[2] * row, wide: bar[4] * scale, high: row - (lane.rows > 1 ? 1 : 0) },
          { lane, time, scale, named, taken, top: y, tall, edge: width - RIGHT },
        );
    });
    for (const row of rows) this.drawStage(art, row, x);
    for (const kill of time.kills) this.drawKill(over, kill, x(kill.at), foot, width, taken);
    art.append(sv("path", { class: "sl-rail", d: `M${EDGE} ${foot + 6}H${width - RIGHT}` }));
    for (const at of ticks(time.from, time.from + shown, Math.floor(inner / 90))) {
      art.append(
        sv("path", { class: "sl-rail", d: `M${x(at)} ${foot + 6}v5` }),
        sv("text", {
          x: x(at),
          y: foot + 23,
          "text-anchor": "middle",
          text: `${Number(at.toPrecision(6))}${at === 0 ? " s" : ""}`,
        }),
      );
    }
    for (const [key, g] of before) if (!this.kept.has(key)) g.remove();
    patch(this.layers.under, art);
    patch(this.layers.over, over);
    return high;
  }

  // Its spans, apart those that recovered; what is to be said stands beside them, or below.
  drawStage(art, { stage, y, at }, x) {
    art.append(sv("text", { x: 0, y: y + 12, text: `stage ${stage.id}` }));
    for (const [from, to, again] of stage.spans)
      art.append(
        rect(
          x(from),
          y + 6,
          Math.max(2, x(to) - x(from)),
          5,
          { fill: ink(again ? "re" : "done"), stroke: again ? ink("edge") : "none" },
          { "stroke-width": again ? 0.6 : 0 },
        ),
      );
    art.append(sv("text", { class: "sl-halo", x: at ?? EDGE, y: y + (at === null ? 26 : 12), text: stage.said }));
  }

  drawKill(over, kill, x, foot, width, taken) {
    const room = reach(kill.said) * 1.04;
    const left = x + 6 + room < width ? x + 6 : Math.max(EDGE, x - 6 - room);
    const y = taken.some((one) => one.y === 12 && left < one.right && left + room > one.left) ? 24 : 12;
    taken.push({ y, left, right: left + room });
    over.prepend(sv("path", { class: "sl-kill", d: `M${x} ${y - 9}V${foot}` }));
    over.append(sv("text", { class: "sl-lane", x: left, y, text: kill.said }));
  }

  // --- the pointer, the keys, and the way to the DAG ---------------------------------------------------------

  // What the foot says: the task pointed at, or how many there are.
  timeWords(time) {
    const bar = this.hovered || this.linkedBar(this.bars || []);
    if (!bar) return time?.said || "";
    const node = this.stageNode(bar.stage);
    return bar.text + (node ? `; partition ${count(bar.part)} of ${node.full}` : "");
  }

  stageNode(stage) {
    return (this.data.dag?.nodes || []).filter((node) => node.k.startsWith(`s${stage}r`)).pop();
  }

  timeKey(event) {
    const order = (this.bars || []).slice().sort((p, q) => p.start - q.start || p.y - q.y);
    if (!order.length) return;
    const at = order.indexOf(this.linkedBar(order));
    if (event.key === "Enter" && at >= 0) {
      this.show("dag");
      return;
    }
    const next = order[event.key === "ArrowRight" ? (at + 1) % order.length : (at <= 0 ? order.length : at) - 1];
    this.chooseBar(next);
    this.lightBar();
    this.foot();
    this.ui.live.textContent = this.timeWords(this.data.timeline);
  }

  // The chosen partition's place in the DAG, or back.
  linked() {
    const node = this.link && this.stageNode(this.link.stage);
    if (!node || node.bin > 1 || this.link.part >= node.p.length) return;
    this.node = node.k;
    this.part = this.link.part;
  }

  // When the partition of a node ran: for its card and what the pointer says.
  ranAt(node, part) {
    const stage = Number(/^s(\d+)r/.exec(node.k)?.[1] ?? -1);
    if (part === null || this.stageNode(stage) !== node) return "";
    for (const lane of this.data.timeline?.lanes || [])
      for (const [number, one, , start, length] of lane.bars.slice().reverse())
        if (number === stage && one === part) return `${secs(length)} on executor ${lane.ex}, at ${secs(start)}`;
    return "";
  }

  // The glyphs and lines that are present, for the legend.
  timeLegend(time) {
    const bars = time.lanes.flatMap((lane) => lane.bars);
    const has = (mark) => bars.some((bar) => bar[7] === mark);
    const boxed = (text) =>
      drawing(
        13,
        13,
        rect(0.5, 0.5, 12, 12, { fill: ink("bg"), stroke: ink("fg") }),
        sv("text", {
          x: 6.5,
          y: 10.5,
          "text-anchor": "middle",
          text,
          style: { font: "600 10px var(--sl-ui)", fill: ink("fg") },
        }),
      );
    const line = (d, style, more) => drawing(26, 14, sv("path", { d, style: { fill: "none", ...style }, ...more }));
    const items = [];
    if (has("r")) items.push([boxed("2"), "second attempt"]);
    if (has("c")) items.push([boxed("»"), "speculative copy"]);
    if (bars.some((bar) => bar[8]))
      items.push([
        drawing(
          26,
          14,
          rect(1, 1, 24, 12, { fill: ink("done"), stroke: ink("fg") }, { "stroke-width": 2 }),
          sv("path", { class: "sl-median", d: "M11 2V12", style: { stroke: "#fff" } }),
        ),
        "straggler, dashes: the stage's median",
      ]);
    if (time.lanes.some((lane) => lane.bands.length))
      items.push([
        drawing(26, 14, rect(0, 4, 26, 10, { fill: ink("done"), opacity: 0.45 })),
        "how busy, of many tasks",
      ]);
    if (time.kills.length)
      items.push([line("M13 0V14", { stroke: ink("lost") }, { "stroke-width": 2 }), "executor lost"]);
    return {
      states: "rdalfs".split("").filter((state) => bars.some((bar) => bar[5] === state)),
      items: items.map(([art, text]) => el("span", {}, art, span(text))),
    };
  }
}

// Where there is room beside a stage's spans for what is said of it; null where there is none.
function roomOf(stage, x, width) {
  const room = reach(stage.said) * 0.92;
  const first = Math.min(...stage.spans.map(([from]) => x(from)), width);
  const last = Math.max(...stage.spans.map(([, to]) => x(to)), EDGE);
  const inside = stage.spans.length > 1 && x(stage.spans[1][0]) - x(stage.spans[0][1]) > room + 12;
  return {
    at:
      last + 8 + room < width
        ? last + 8
        : first - 8 - room > EDGE
          ? first - 8 - room
          : inside
            ? x(stage.spans[0][1]) + 6
            : null,
  };
}

// Round times, at most so many.
function ticks(from, to, most) {
  const rough = (to - from) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-6)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const all = [];
  for (let n = Math.ceil(from / step - 1e-9); n * step <= to + 1e-9; n++) all.push(n * step);
  return all;
}
