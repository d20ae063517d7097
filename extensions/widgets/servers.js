// What is folded away below the charts of training: stragglers by hand, the ring of servers, bytes before and after
// each filter.

import { bold, count, div, drawing, el, ink, plural, say, sizeText, span, sv } from "./dom.js";
import { INKS } from "./shapes.js";

const FOLDS = { slow: "Stragglers", ring: "Servers", filters: "Bytes by filter" };
const DELAYS = [20, 50, 200, 1000];
const RADIUS = 84;
const WIDE = 22;
const INNER = 56;
const INNER_WIDE = 12;
const PROMOTE_MS = 600;
const rate = (n) => (n >= 10 ? count(Math.round(n)) : n.toFixed(n ? 1 : 0));
const flat = (runs) => runs.flatMap(([server, n]) => Array(n).fill(server));

// A piece of a ring between two shares of the circle, which begins at the top.
function arc(from, to, radius, wide) {
  const at = (share, r) => {
    const turn = 2 * Math.PI * share;
    return `${(r * Math.sin(turn)).toFixed(2)} ${(-r * Math.cos(turn)).toFixed(2)}`;
  };
  const end = Math.min(to, from + 0.9999);
  const large = end - from > 0.5 ? 1 : 0;
  const inner = radius - wide;
  const there = `M${at(from, radius)}A${radius} ${radius} 0 ${large} 1 ${at(end, radius)}`;
  return `${there}L${at(end, inner)}A${inner} ${inner} 0 ${large} 0 ${at(from, inner)}z`;
}

export class ServerMethods {
  // Which sections there are and are open: what the controls are made for.
  openFolds(front) {
    return [
      this.section,
      (front.ring?.servers || []).map(([server]) => server),
      front.ring?.why,
      Boolean(front.filters.length),
    ].join("|");
  }

  foldWords(key, front) {
    const ring = front.ring;
    const before = front.filters[0]?.[1];
    const after = front.filters.at(-1)?.[2];
    if (key === "slow") return front.slowed.length ? `${FOLDS.slow} ${front.slowed.length}` : FOLDS.slow;
    if (key === "ring") return `${plural(ring.count, "server")}${ring.dead.length ? `, ${ring.dead.length} gone` : ""}`;
    return `${FOLDS.filters}${after ? `, ${(before / after).toFixed(1)} x less` : ""}`;
  }

  foldButtons(front) {
    const there = {
      slow: front.has_tau && front.clocks.length + front.lags.length > 0,
      ring: front.ring,
      filters: front.filters.length,
    };
    this.trained.folds = Object.keys(FOLDS)
      .filter((key) => there[key] || (key === "slow" && front.has_tau))
      .map((key) => [
        key,
        this.button(
          "",
          () => {
            this.section = this.section === key ? null : key;
            this.redraw();
            this.trained.section?.scrollIntoView({ block: "nearest" });
          },
          { class: "sl-fold", "data-act": `fold-${key}`, "aria-expanded": String(this.section === key) },
        ),
      ]);
    return this.trained.folds.map(([, button]) => button);
  }

  makeFolds(front, off) {
    const p = this.trained;
    p.section = null;
    if (this.section === "slow" && front.has_tau) p.section = this.makeSlow(front, off);
    if (this.section === "ring" && front.ring) p.section = this.makeRing(front, off);
    if (this.section === "filters" && front.filters.length) p.section = div("sl-fold-body");
    if (p.section) this.ui.body.style.height = "480px";
    return p.section ? [p.section] : [];
  }

  showFolds(front) {
    const p = this.trained;
    for (const [key, button] of p.folds)
      say(button, `${this.section === key ? "▾" : "▸"} ${this.foldWords(key, front)}`);
    if (!p.section) return;
    if (this.section === "slow")
      for (const [worker, button] of p.slow) {
        const late = front.slowed.find(([one]) => one === worker)?.[1];
        button.setAttribute("aria-pressed", String(Boolean(late)));
        say(button, late ? `worker ${worker}: +${late} ms` : `Slow worker ${worker}`);
      }
    else if (this.section === "ring") this.showRing(front.ring);
    else p.section.replaceChildren(this.filterBars(front.filters));
  }

  // --- stragglers by hand --------------------------------------------------------------------------------------

  makeSlow(front, off) {
    const p = this.trained;
    const few = front.workers <= 16;
    const choice = el(
      "select",
      {
        "aria-label": "Delay after each clock",
        disabled: off,
        onchange: (event) => {
          this.delay = Number(event.target.value);
        },
      },
      ...DELAYS.map((ms) => el("option", { value: ms, text: `${count(ms)} ms`, selected: ms === (this.delay || 200) })),
    );
    const turn = (worker) => {
      const late = this.data.training.front.slowed.some(([one]) => one === worker);
      const ms = late ? 0 : this.delay || 200;
      this.steer("slow", { run: front.run, worker, delay_ms: ms }, `%sparklab straggler ${worker} --delay ${ms}`);
    };
    const number = el("input", {
      type: "number",
      min: 0,
      max: front.workers - 1,
      value: 0,
      "aria-label": "Worker",
      disabled: off,
    });
    p.slow = few
      ? Array.from({ length: front.workers }, (_, worker) => [
          worker,
          this.button("", () => turn(worker), {
            disabled: off,
            "data-act": `slow${worker}`,
            title: `%sparklab straggler ${worker} --delay MS`,
          }),
        ])
      : [];
    return div(
      "sl-fold-body sl-slow",
      span("rests after each clock"),
      choice,
      ...(few
        ? p.slow.map(([, button]) => button)
        : [
            span("worker"),
            number,
            this.button("Slow it, or let it go", () => turn(Number(number.value)), {
              disabled: off,
              "data-act": "slow",
            }),
          ]),
    );
  }

  // --- the ring ------------------------------------------------------------------------------------------------

  makeRing(front, off) {
    const p = this.trained;
    const ring = front.ring;
    p.art = drawing(2 * RADIUS + 6, 2 * RADIUS + 6);
    p.rows = new Map();
    p.ringDrawn = null;
    p.art.setAttribute("viewBox", `${-RADIUS - 3} ${-RADIUS - 3} ${2 * RADIUS + 6} ${2 * RADIUS + 6}`);
    p.art.setAttribute("role", "img");
    p.art.removeAttribute("aria-hidden");
    const list = div("sl-servers");
    for (const [server] of ring.servers) {
      const row = { ranges: span(""), push: span(""), pull: span("") };
      const kill = this.button(
        `Kill server ${server}`,
        () => this.steer("kill-server", { run: front.run, server }, `%sparklab kill-server ${server}`),
        {
          disabled: off || Boolean(ring.why),
          "data-act": `kill${server}`,
          title: ring.why || `%sparklab kill-server ${server}`,
        },
      );
      const line = div(
        "sl-server",
        drawing(
          16,
          16,
          sv("rect", {
            x: 0.5,
            y: 0.5,
            width: 15,
            height: 15,
            style: { fill: this.serverInk(server), stroke: ink("edge") },
          }),
        ),
        bold(`server ${server}`),
        row.ranges,
        row.push,
        row.pull,
        kill,
      );
      for (const [name, on] of [
        ["pointerenter", server],
        ["pointerleave", null],
        ["focusin", server],
        ["focusout", null],
      ])
        line.addEventListener(name, () => this.lightServer(on));
      p.rows.set(server, row);
      list.append(line);
    }
    p.gone = el("p", { class: "sl-ring-words" });
    list.append(
      div(
        "sl-server-add",
        this.button("Add a server", () => this.steer("add-server", { run: front.run }, "%sparklab add-server"), {
          disabled: off,
          "data-act": "add-server",
          title: "%sparklab add-server",
        }),
        p.gone,
      ),
    );
    return div("sl-fold-body sl-ring-body", p.art, list);
  }

  serverInk(server) {
    return server < 0 ? ink("bg") : `url(#${this.uid}-server${server % INKS.length})`;
  }

  showRing(ring) {
    const p = this.trained;
    for (const [server, ranges, push, pull] of ring.servers) {
      const row = p.rows.get(server);
      if (!row) continue;
      say(row.ranges, plural(ranges, "range"));
      say(row.push, `${rate(push)} pushes/s`);
      say(row.pull, `${rate(pull)} pulls/s`);
    }
    const went = ring.dead.length
      ? `server ${ring.dead.join(", ")} gone; replicas took over ${plural(ring.promotions, "range")}. `
      : "";
    const inside = ring.replicas ? "its first replica" : "no replicas";
    const why = ring.why ? `No server may be killed: ${ring.why}.` : "";
    const rings = `Outer ring: who serves each of ${plural(ring.ranges, "range")}; inner: ${inside}. `;
    say(p.gone, went + rings + why);
    const sig = JSON.stringify([ring.epoch, ring.heads, ring.backs]);
    if (sig === p.ringDrawn) return;
    p.ringDrawn = sig;
    const all = ring.heads.reduce((sum, [, n]) => sum + n, 0) || 1;
    const art = p.art;
    art.querySelector(".sl-arcs")?.remove();
    const arcs = sv("g", { class: "sl-arcs" });
    const draw = (runs, radius, wide) => {
      let at = 0;
      for (const [server, n] of runs) {
        if (server >= 0 || radius === RADIUS)
          arcs.append(
            sv(
              "path",
              {
                d: arc(at / all, (at + n) / all, radius, wide),
                "data-server": server,
                "stroke-width": 0.8,
                "stroke-dasharray": server < 0 ? "2 2" : null,
                style: { fill: this.serverInk(server), stroke: ink(server < 0 ? "lost" : "edge") },
              },
              sv("title", { text: server < 0 ? "lost" : `server ${server}: ${plural(n, "range")}` }),
            ),
          );
        at += n;
      }
    };
    draw(ring.heads, RADIUS, WIDE);
    draw(ring.backs, INNER, INNER_WIDE);
    arcs.append(
      sv("text", {
        x: 0,
        y: -4,
        "text-anchor": "middle",
        class: "sl-num sl-strong",
        text: plural(ring.count, "server"),
      }),
      sv("text", { x: 0, y: 11, "text-anchor": "middle", class: "sl-num", text: `epoch ${ring.epoch}` }),
    );
    art.prepend(arcs);
    art.setAttribute(
      "aria-label",
      `Ring of ${ring.servers.map(([server, n]) => `server ${server}: ${plural(n, "range")}`).join(", ")}`,
    );
    this.promote(ring, all);
  }

  // Replicas that serve now rise from the inner ring to the outer one: once, when this view sees it happen.
  promote(ring, all) {
    const seen = this.ringSeen;
    this.ringSeen = { run: this.data.training.front.run, epoch: ring.epoch, promotions: ring.promotions };
    if (
      !seen ||
      seen.run !== this.ringSeen.run ||
      ring.promotions <= seen.promotions ||
      !ring.promoted.length ||
      matchMedia("(prefers-reduced-motion:reduce)").matches
    )
      return;
    const rising = sv("g", { class: "sl-promote" });
    const heads = flat(ring.heads);
    for (const [at] of ring.promoted)
      rising.append(
        sv("path", {
          d: arc(at / all, (at + 1) / all, RADIUS, WIDE),
          style: { fill: this.serverInk(heads[at]), stroke: ink("fg") },
        }),
      );
    this.trained.art.append(rising);
    this.after(PROMOTE_MS + 50, () => rising.remove());
  }

  lightServer(server) {
    for (const one of this.trained.art.querySelectorAll("[data-server]"))
      one.style.opacity = server === null || Number(one.dataset.server) === server ? "" : "0.25";
  }

  // --- the filters ---------------------------------------------------------------------------------------------

  // Before and after each filter, on a scale of powers of ten; what one leaves is what the next one gets.
  filterBars(filters) {
    const wide = Math.max(320, Math.min(900, this.chartRoom() - 8));
    const left = 176;
    const right = 130;
    const row = 24;
    const sizes = filters.flatMap(([, before, after]) => [before, Math.max(1, after)]);
    const [unit, size] = Math.max(...sizes) < 2 ** 20 ? ["KiB", 1024] : ["MiB", 2 ** 20];
    const log = (bytes) => Math.log10(Math.max(1, bytes) / size);
    const low = Math.max(-3, Math.floor(log(Math.min(...sizes))));
    const high = Math.max(low + 1, Math.ceil(log(Math.max(...sizes))));
    const x = (bytes) => left + ((wide - left - right) * (Math.max(low, log(bytes)) - low)) / (high - low);
    const height = 24 + filters.length * row;
    const art = sv("svg", {
      width: wide,
      height,
      class: "sl-train-art",
      role: "img",
      "aria-label": filters
        .map(([name, before, after]) => `${name}: ${sizeText(before)} before, ${sizeText(after)} after`)
        .join("; "),
    });
    art.append(sv("text", { x: 0, y: 11, text: "what workers send, log scale", class: "sl-num" }));
    for (let power = low; power <= high; power += Math.ceil((high - low) / 6))
      art.append(
        sv("path", { d: `M${x(size * 10 ** power)} 16V${height}`, style: { stroke: ink("cell") } }),
        sv("text", {
          x: x(size * 10 ** power),
          y: 11,
          "text-anchor": "middle",
          text: `${power < 0 ? (10 ** power).toFixed(-power) : count(10 ** power)}${power === high ? ` ${unit}` : ""}`,
          class: "sl-num",
        }),
      );
    filters.forEach(([name, before, after], i) => {
      const y = 16 + i * row + row / 2;
      const a = x(after);
      const b = x(before);
      const beside = b - a > 8;
      art.append(
        sv("text", { x: 0, y: y + 4, text: name, class: "sl-num sl-strong" }),
        sv("path", { d: `M${a} ${y}H${b}`, "stroke-width": 2.5, style: { stroke: ink("done") } }),
        sv("circle", { cx: a, cy: y, r: 5, style: { fill: ink("done") } }),
        sv("circle", { cx: b, cy: y, r: 4.5, "stroke-width": 2, style: { fill: ink("bg"), stroke: ink("done") } }),
        beside
          ? sv("text", {
              x: a - 9,
              y: y + 4,
              "text-anchor": "end",
              text: sizeText(after),
              class: "sl-num sl-strong sl-halo",
            })
          : null,
        sv("text", { x: b + 9, y: y + 4, text: sizeText(before), class: "sl-num sl-halo" }),
        sv("text", {
          x: wide - 4,
          y: y + 4,
          "text-anchor": "end",
          text: after ? `${(before / after).toFixed(1)} x less` : "nothing left",
          class: "sl-num sl-strong",
        }),
      );
    });
    return art;
  }

  chartRoom() {
    return ((this.ui.view.clientWidth || 994) - 32) / (this.lecture ? 1.2 : 1);
  }
}
