// The Timeline: a lane for each executor in the cell's time, a row for each stage, what straggled and what was lost.

import { count, div, drawing, el, ink, patch, px, put, rect, span, sv } from "./dom.js";
import { NAMES, arrow } from "./shapes.js";

const STEP = 1.25, EDGE = 96, RIGHT = 12, TOP = 34, ROW = 20, NARROW = 8;
const FILLS = { d: "done", a: "re", f: "fg", l: "bg", r: "run", s: "bg" };
const ON = { d: "#fff", a: "#000", f: "var(--sl-bg)", r: "var(--sl-fg)", l: "var(--sl-fg)", s: "var(--sl-fg2)" };
const TRIES = { r: "a further attempt", c: "a second copy" };
const reach = (text) => text.length * 6 + 4; // of 11 px text, an upper estimate
const secs = (s) => (s < 0.0995 ? `${s.toFixed(3)} s` : s < 9.995 ? `${s.toFixed(2)} s` : `${s.toFixed(1)} s`);

export class TimelineMethods {
  timeline(data) {
    const time = data.timeline, u = this.ui;
    u.card.hidden = true;
    const width = Math.max(520, u.view.clientWidth - 32), zoom = this.lecture ? 1.25 : 1;
    const sig = JSON.stringify([time, width, this.lecture]);
    if (sig !== this.drawn) {
      this.drawn = sig;
      if (!time?.lanes.length || !data.jobs?.length) { u.body.style.height = "310px"; u.view.replaceChildren(el("p", { class: "sl-none", text: data.empty || "Nothing has run yet." })); return; }
      const high = this.drawTime(time, width / zoom);
      u.body.style.height = px(Math.min(480, Math.max(310, high * zoom + 34)));
      put(this.art, { width: width / zoom, height: high, viewBox: `0 0 ${width / zoom} ${high}`, style: { width: px(width), height: px(high * zoom) } });
    }
    this.lightBar();
  }

  // The drawing, in layers that stay while the job runs: what stands as it stood is not made or styled again.
  makeTime() {
    const art = put(drawing(0, 0), { class: "sl-time", tabindex: "0", role: "group", "aria-hidden": "false" }), layer = () => art.appendChild(sv("g", {}));
    this.art = art; this.kept = new Map(); this.layers = { under: layer(), work: layer(), over: layer(), lit: layer() };
    const at = (event) => event.target.closest?.("[data-bar]");
    art.addEventListener("pointermove", (event) => this.hoverBar(at(event)));
    art.addEventListener("pointerleave", () => this.hoverBar(null));
    // Not a click: while a job runs a bar may be drawn anew between a press and its release.
    art.addEventListener("pointerdown", (event) => { this.pressed = at(event)?.dataset.part; });
    art.addEventListener("pointerup", (event) => {
      const same = at(event)?.dataset.part === this.pressed && at(event);
      this.pressed = null;
      if (same) { this.chooseBar(same.bar); this.show("dag"); }
    });
    this.ui.view.replaceChildren(art);
  }

  // Where things stand: lanes, then a row for each stage, then the axis. Returns how high that is.
  drawTime(time, width) {
    if (this.art?.parentNode !== this.ui.view) this.makeTime();
    const lanes = time.lanes, tall = lanes.length <= 4 ? 40 : lanes.length <= 8 ? 26 : 16, gap = lanes.length <= 4 ? 20 : 8;
    // While it runs the axis grows in steps: what has ended stands still, and is not drawn again.
    const whole = Math.max(1e-3, time.to - time.from), shown = this.data.running ? STEP ** Math.ceil(Math.log(whole) / Math.log(STEP) - 1e-9) : whole;
    const inner = width - EDGE - RIGHT, scale = inner / shown, x = (s) => EDGE + (s - time.from) * scale;
    const named = new Map(time.named.map((one) => [`${one.stage}:${one.part}:${one.attempt}`, one.said]));
    const bottom = TOP + lanes.length * (tall + gap);
    let foot = bottom;
    const rows = time.stages.map((stage) => { const row = { stage, y: foot, ...roomOf(stage, x, width) }; foot += row.at === null ? ROW + 14 : ROW; return row; }), high = foot + 30;
    put(this.art, { "aria-label": `Timeline: ${time.said}. Left and right go from task to task, Enter shows its partition in the DAG.` });
    const art = sv("g", {}), over = sv("g", {}), taken = [], before = this.kept;
    this.bars = []; this.kept = new Map();
    lanes.forEach((lane, i) => {
      const y = TOP + i * (tall + gap);
      art.append(sv("text", { class: "sl-lane", x: 0, y: y + Math.min(14, tall - 3), text: `executor ${lane.ex}` }));
      if (tall >= 26) art.append(sv("text", { x: 0, y: y + 28, text: lane.slots === 1 ? "1 core" : `${lane.slots} cores` }));
      for (const [from, to] of lane.gone) {
        const left = x(from), right = x(to), text = `gone ${secs(to - from)}`, middle = y + tall / 2, room = right - left - 8 > reach(text);
        over.append(sv("path", { class: "sl-gone", d: room ? `M${left + 4} ${middle}H${(left + right) / 2 - reach(text) / 2}M${(left + right) / 2 + reach(text) / 2} ${middle}H${right - 3}` : `M${left + 3} ${middle}H${right - 2}` }),
          room ? sv("text", { x: (left + right) / 2, y: middle + 4, "text-anchor": "middle", text }) : null);
      }
      const band = (start, length, tip) => `M${x(start).toFixed(2)} ${y + tall}v${(-tip).toFixed(2)}h${Math.max(1, length * scale).toFixed(2)}v${tip.toFixed(2)}z`;
      const busy = lane.bands.map(([start, length, share]) => band(start, length, tall * share)), again = lane.bands.filter((one) => one[3] > 0);
      if (busy.length) art.append(sv("path", { class: "sl-band", d: busy.join(""), style: { fill: ink("done"), opacity: 0.45 } }));
      if (again.length) art.append(sv("path", { d: again.map(([start, length, share, part]) => band(start, length, tall * share * part)).join(""), "stroke-width": 0.5, style: { fill: ink("re"), stroke: ink("edge") } }));
      const row = tall / lane.rows;
      for (const bar of lane.bars) this.drawBar(before, over, bar, { x: x(bar[3]), y: y + bar[2] * row, wide: bar[4] * scale, high: row - (lane.rows > 1 ? 1 : 0) }, { lane, time, scale, named, taken, top: y, tall, edge: width - RIGHT });
    });
    for (const row of rows) this.drawStage(art, row, x);
    for (const kill of time.kills) this.drawKill(over, kill, x(kill.at), foot, width, taken);
    art.append(sv("path", { class: "sl-rail", d: `M${EDGE} ${foot + 6}H${width - RIGHT}` }));
    for (const at of ticks(time.from, time.from + shown, Math.floor(inner / 90))) {
      art.append(sv("path", { class: "sl-rail", d: `M${x(at)} ${foot + 6}v5` }), sv("text", { x: x(at), y: foot + 23, "text-anchor": "middle", text: `${Number(at.toPrecision(6))}${at === 0 ? " s" : ""}` }));
    }
    for (const [key, g] of before) if (!this.kept.has(key)) g.remove();
    patch(this.layers.under, art); patch(this.layers.over, over);
    return high;
  }

  // A glyph for what is no first attempt, an outline for a straggler; bars that stand as they stood are kept.
  drawBar(before, over, bar, box, on) {
    const [stage, part, , start, length, state, attempt, mark, times] = bar;
    if (state === "l" && box.wide < 8) { box.x -= 8 - box.wide; box.wide = 8; } // what was lost is never too small to be seen
    const wide = Math.max(1.5, box.wide - (box.wide > 3 ? 1 : 0)), middle = box.x + wide / 2, plain = on.time.stages.find((one) => one.id === stage);
    const text = `stage ${stage}, task ${part}${attempt ? `, attempt ${attempt + 1}` : ""} on executor ${on.lane.ex}: ${secs(length)}${state === "d" ? "" : `, ${NAMES[state]}`}${times ? `, ${times < 20 ? times : count(Math.round(times))} x the median` : ""}${TRIES[mark] && mark === "c" ? `, ${TRIES.c}` : ""}`;
    const drawn = { stage, part, attempt: `${attempt}@${start}`, start, x: box.x, y: box.y, wide, high: box.high, text };
    this.bars.push(drawn);
    const key = `${text}|${box.x.toFixed(2)}|${box.y}|${wide.toFixed(2)}|${box.high}`, kept = before.get(key), g = kept || sv("g", { "data-part": `${stage}:${part}`, "data-bar": true });
    this.kept.set(key, g); g.bar = drawn;
    const turned = state === "a" && wide >= NARROW && box.high >= 26 ? middle : 0; // where its arrow stands
    if (!kept) { this.fillBar(g, { text, state, stage, part, length, middle, wide, turned }, box); this.layers.work.append(g); }
    if (mark) over.append(sv("g", { class: "sl-mark", transform: `translate(${wide > 40 ? box.x + 4 : middle - 6} ${box.y + (box.high >= 26 ? 4 : -6)})` },
      rect(0.5, 0.5, 11, 11, { fill: ink("bg"), stroke: ink("fg") }), sv("text", { x: 6, y: 9.5, "text-anchor": "middle", text: mark === "c" ? "»" : String(Math.min(attempt + 1, 9)) })));
    if (times) {
      over.append(rect(box.x - 0.5, box.y - 1.5, wide + 1, box.high + 3, { fill: "none", stroke: ink("fg") }, { "stroke-width": 2 }));
      const at = box.x + ((state === "a" ? plain?.again : plain?.median) || 0) * on.scale;
      if (at < box.x + wide - 1 && !(turned && Math.abs(at - turned) < 10)) over.append(sv("path", { class: "sl-median", d: `M${at} ${box.y + 1}V${box.y + box.high - (box.high >= 40 ? 17 : 1)}`, style: { stroke: state === "d" ? "#fff" : ink("fg") } }));
      const said = on.named.get(`${stage}:${part}:${attempt}`), room = said && reach(said);
      if (said && on.tall >= 40) {
        const left = Math.max(EDGE, Math.min(middle - room / 2, on.edge - room)), y = on.top - 6;
        if (!on.taken.some((one) => one.y === y && left < one.right && left + room > one.left)) { on.taken.push({ y, left, right: left + room }); over.append(sv("text", { class: "sl-lane", x: left, y, text: said })); }
      }
    }
  }

  // Shape and colour by state, the stage's number inside where it fits.
  fillBar(g, { text, state, stage, part, length, middle, wide, turned }, box) {
    const lined = state !== "d" && state !== "f";
    g.append(sv("title", { text }));
    g.append(rect(box.x, box.y, wide, box.high, { fill: state === "r" ? `url(#${this.uid}-run)` : ink(FILLS[state] || "bg"), stroke: state === "l" ? ink("lost") : state === "s" ? ink("wait") : lined ? ink("edge") : "none" },
      { "stroke-width": lined ? (wide < 4 ? 0.5 : 1) : 0, "stroke-dasharray": state === "s" ? "2 2" : null }));
    if (state === "l" && wide >= 6) { const r = Math.min(5, wide / 2 - 1, box.high / 2 - 2), cy = box.y + box.high / 2; g.append(sv("path", { d: `M${middle - r} ${cy - r}l${2 * r} ${2 * r}M${middle + r} ${cy - r}l${-2 * r} ${2 * r}`, "stroke-width": 2, style: { stroke: ink("lost"), fill: "none" } })); }
    const few = `stage ${stage}, task ${part}, ${secs(length)}`, label = [few, `${stage}: task ${part}`, String(stage)].find((one) => wide >= (one.length > 3 ? reach(one) + 4 : one.length * 6.5 + 2));
    const low = box.high >= 26 ? box.y + box.high - 7 : box.y + box.high / 2 + 4;
    const room = Math.min(wide - 2, (label?.length || 0) * 5.2 + 6);
    if (label && state === "r" && box.high >= 12) g.append(sv("g", {}, rect(middle - room / 2, low - 11, room, 15, { fill: ink("bg") }))); // stripes would stand in the text
    if (label && box.high >= 12 && state !== "l") g.append(sv("text", { class: "sl-in", x: middle, y: low, "text-anchor": "middle", text: label, style: { fill: ON[state] || ink("fg") } }));
    if (turned) g.append(sv("g", { transform: `translate(${middle - Math.min(6, wide / 2)} ${box.y + 4})` }, arrow(Math.min(12, wide), "#000")));
  }

  // Its spans, apart those that recovered; what is to be said stands beside them, or below.
  drawStage(art, { stage, y, at }, x) {
    art.append(sv("text", { x: 0, y: y + 12, text: `stage ${stage.id}` }));
    for (const [from, to, again] of stage.spans) art.append(rect(x(from), y + 6, Math.max(2, x(to) - x(from)), 5, { fill: ink(again ? "re" : "done"), stroke: again ? ink("edge") : "none" }, { "stroke-width": again ? 0.6 : 0 }));
    art.append(sv("text", { class: "sl-halo", x: at ?? EDGE, y: y + (at === null ? 26 : 12), text: stage.said }));
  }

  drawKill(over, kill, x, foot, width, taken) {
    const room = reach(kill.said) * 1.04, left = x + 6 + room < width ? x + 6 : Math.max(EDGE, x - 6 - room);
    const y = taken.some((one) => one.y === 12 && left < one.right && left + room > one.left) ? 24 : 12;
    taken.push({ y, left, right: left + room });
    over.prepend(sv("path", { class: "sl-kill", d: `M${x} ${y - 9}V${foot}` })); over.append(sv("text", { class: "sl-lane", x: left, y, text: kill.said }));
  }

  // --- the pointer, the keys, and the way to the DAG ---------------------------------------------------------

  hoverBar(at) {
    const bar = at ? at.bar : null;
    if (bar === this.hovered) return;
    this.hovered = bar; this.lightBar(); this.foot();
  }

  // All attempts at the partition that is pointed at or was chosen, here or in the DAG.
  lightBar() {
    const bar = this.hovered || this.link;
    if (!this.bars || this.art?.parentNode !== this.ui.view) return;
    const all = bar ? this.bars.filter((one) => one.stage === bar.stage && one.part === bar.part) : [];
    patch(this.layers.lit, sv("g", {}, ...all.map((one) => sv("rect", { class: "sl-pick", x: one.x - 2.5, y: one.y - 2.5, width: one.wide + 5, height: one.high + 5, rx: 2 }))));
  }

  chooseBar(bar) { this.link = { stage: bar.stage, part: bar.part, attempt: bar.attempt }; }

  // The bar of the chosen partition: the attempt that was chosen here, or its last.
  linkedBar(bars) {
    const all = this.link ? bars.filter((one) => one.stage === this.link.stage && one.part === this.link.part) : [];
    return all.find((one) => one.attempt === this.link.attempt) || all.at(-1) || null;
  }

  // What the foot says: the task pointed at, or how many there are.
  timeWords(time) {
    const bar = this.hovered || this.linkedBar(this.bars || []);
    if (!bar) return time?.said || "";
    const node = this.stageNode(bar.stage);
    return bar.text + (node ? `; partition ${count(bar.part)} of ${node.full}` : "");
  }

  stageNode(stage) { return (this.data.dag?.nodes || []).filter((node) => node.k.startsWith(`s${stage}r`)).pop(); }

  timeKey(event) {
    const order = (this.bars || []).slice().sort((p, q) => p.start - q.start || p.y - q.y);
    if (!order.length) return;
    const at = order.indexOf(this.linkedBar(order));
    if (event.key === "Enter" && at >= 0) { this.show("dag"); return; }
    const next = order[event.key === "ArrowRight" ? (at + 1) % order.length : (at <= 0 ? order.length : at) - 1];
    this.chooseBar(next); this.lightBar(); this.foot(); this.ui.live.textContent = this.timeWords(this.data.timeline);
  }

  // The chosen partition's place in the DAG, or back.
  linked() {
    const node = this.link && this.stageNode(this.link.stage);
    if (!node || node.bin > 1 || this.link.part >= node.p.length) return;
    this.node = node.k; this.part = this.link.part;
  }

  // When the partition of a node ran: for its card and what the pointer says.
  ranAt(node, part) {
    const stage = Number(/^s(\d+)r/.exec(node.k)?.[1] ?? -1);
    if (part === null || this.stageNode(stage) !== node) return "";
    for (const lane of this.data.timeline?.lanes || []) for (const [number, one, , start, length] of lane.bars.slice().reverse()) if (number === stage && one === part) return `${secs(length)} on executor ${lane.ex}, at ${secs(start)}`;
    return "";
  }

  // The glyphs and lines that are present, for the legend.
  timeLegend(time) {
    const bars = time.lanes.flatMap((lane) => lane.bars), has = (mark) => bars.some((bar) => bar[7] === mark);
    const boxed = (text) => drawing(13, 13, rect(0.5, 0.5, 12, 12, { fill: ink("bg"), stroke: ink("fg") }), sv("text", { x: 6.5, y: 10.5, "text-anchor": "middle", text, style: { font: "600 10px var(--sl-ui)", fill: ink("fg") } }));
    const line = (d, style, more) => drawing(26, 14, sv("path", { d, style: { fill: "none", ...style }, ...more }));
    const items = [];
    if (has("r")) items.push([boxed("2"), "second attempt"]);
    if (has("c")) items.push([boxed("»"), "speculative copy"]);
    if (bars.some((bar) => bar[8])) items.push([drawing(26, 14, rect(1, 1, 24, 12, { fill: ink("done"), stroke: ink("fg") }, { "stroke-width": 2 }), sv("path", { class: "sl-median", d: "M11 2V12", style: { stroke: "#fff" } })), "straggler, dashes: the stage's median"]);
    if (time.lanes.some((lane) => lane.bands.length)) items.push([drawing(26, 14, rect(0, 4, 26, 10, { fill: ink("done"), opacity: 0.45 })), "how busy, of many tasks"]);
    if (time.kills.length) items.push([line("M13 0V14", { stroke: ink("lost") }, { "stroke-width": 2 }), "executor lost"]);
    return { states: "rdalfs".split("").filter((state) => bars.some((bar) => bar[5] === state)), items: items.map(([art, text]) => el("span", {}, art, span(text))) };
  }
}

// Where there is room beside a stage's spans for what is said of it; null where there is none.
function roomOf(stage, x, width) {
  const room = reach(stage.said) * 0.92, first = Math.min(...stage.spans.map(([from]) => x(from)), width), last = Math.max(...stage.spans.map(([, to]) => x(to)), EDGE);
  const inside = stage.spans.length > 1 && x(stage.spans[1][0]) - x(stage.spans[0][1]) > room + 12;
  return { at: last + 8 + room < width ? last + 8 : first - 8 - room > EDGE ? first - 8 - room : inside ? x(stage.spans[0][1]) + 6 : null };
}

// Round times, at most so many.
function ticks(from, to, most) {
  const rough = (to - from) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-6)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999), all = [];
  for (let n = Math.ceil(from / step - 1e-9); n * step <= to + 1e-9; n++) all.push(n * step);
  return all;
}
