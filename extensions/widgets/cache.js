// The cache: a budget for each executor, a row for each persisted RDD.

import { bold, div, drawing, el, ink, plural, put, px, shorten, span, sv } from "./dom.js";
import { HELD } from "./shapes.js";

const EVICTED_MS = 2000;

export class CacheMethods {
  cache(data) {
    const cache = data.cache;
    const u = this.ui;
    u.card.hidden = true;
    this.noteEvictions(cache);
    const room = (u.view.clientWidth - 32) / (this.lecture ? 1.25 : 1);
    const narrow = room < 700;
    const sig = JSON.stringify([
      cache,
      this.byExecutor,
      this.row,
      this.part,
      [...this.evicted.keys()],
      this.off,
      narrow && room,
    ]);
    if (sig === this.drawn) return;
    const keep = [u.view.scrollLeft, u.view.scrollTop];
    const focus = document.activeElement?.dataset?.rdd;
    this.drawn = sig;
    u.body.style.height = "310px";
    const off = this.off;
    const box = div(narrow ? "sl-cache sl-narrow" : "sl-cache");
    for (const one of cache.budgets) box.append(this.budget(one, cache, off));
    if (!cache.rows.length) {
      u.view.replaceChildren(
        box,
        el(
          "p",
          { class: "sl-none" },
          span(cache.empty || "Nothing is cached. "),
          el("code", { text: cache.hint || "" }),
        ),
      );
      return;
    }
    const width = Math.max(...cache.rows.map((row) => (row.p.length > 60 ? 0 : row.p.length)));
    const dense = width > 24 && !this.lecture;
    const pitch = dense ? 20.5 : 25.5;
    const line = narrow ? Math.max(4, Math.floor((room - 268) / pitch)) : dense ? 30 : this.lecture ? 16 : 24;
    this.cells = narrow ? Math.max(20, Math.floor((room - 268) / 10)) : 60; // a row of a crowded RDD
    if (!narrow) box.style.minWidth = px(Math.max(760, 300 + Math.min(width, line) * pitch));
    box.append(
      div("sl-rule"),
      div("sl-row sl-top", span("partition"), this.numbers(Math.min(width, line), pitch), span("in memory")),
    );
    if (this.byExecutor)
      for (const one of cache.budgets.filter((b) => b.alive)) {
        box.append(el("p", { class: "sl-where", text: `executor ${one.ex}` }));
        for (const row of cache.rows)
          if (row.e.some((held) => held.split(" ").includes(String(one.ex))))
            box.append(this.cachedRow(row, line, pitch, String(one.ex)));
      }
    else for (const row of cache.rows) box.append(this.cachedRow(row, line, pitch));
    if (cache.more) box.append(el("p", { class: "sl-none", text: `and ${plural(cache.more, "more RDD")}` }));
    u.view.replaceChildren(box);
    if (narrow) u.body.style.height = px(Math.min(480, Math.max(310, box.offsetHeight + 32)));
    [u.view.scrollLeft, u.view.scrollTop] = keep;
    if (focus) u.view.querySelector(`.sl-rdd[data-rdd="${CSS.escape(focus)}"]`)?.focus();
  }

  noteEvictions(cache) {
    for (const row of cache.rows) {
      const was = (this.before || new Map()).get(row.rdd) || "";
      for (let i = 0; i < row.p.length && i < was.length; i++) {
        if (HELD.includes(was[i]) && row.p[i] === "w") {
          const key = `${row.rdd}:${i}`;
          this.evicted.set(key, 1);
          this.after(EVICTED_MS, () => {
            this.evicted.delete(key);
            if (this.tab === "cache") this.update();
          });
        }
      }
    }
    this.before = new Map(cache.rows.map((row) => [row.rdd, row.p]));
  }

  budget(one, cache, off) {
    const spilled = Math.max(...cache.budgets.map((b) => b.spilled));
    const whole = Math.max(one.budget, 0.001);
    const bar = el("div", { class: "sl-bar", style: { flexGrow: whole } });
    const bars = div("sl-bars", bar);
    if (!one.alive) bar.append(span(one.why || "lost"));
    for (const [name, mib] of one.parts)
      bar.append(
        el("span", {
          class: "sl-part",
          style: { width: `${(100 * mib) / whole}%` },
          title: `${name} ${mib.toFixed(1)} MiB`,
          text: mib / whole > 0.2 ? `${shorten(name, 18)} ${mib.toFixed(1)}` : mib / whole > 0.11 ? mib.toFixed(1) : "",
        }),
      );
    if (spilled > 0)
      bars.append(
        el(
          "div",
          { class: "sl-spill", style: { flex: `${Math.min(spilled, whole / 3)} 0 12px` } },
          one.spilled > 0
            ? el("div", {
                class: "sl-disk",
                style: { width: `${Math.max(6, (100 * one.spilled) / spilled)}%` },
                title: `${one.spilled.toFixed(1)} MiB on disk`,
              })
            : null,
        ),
      );
    const said = el("span", {}, bold(one.said[0]), span(one.said[1]));
    const kill = this.button(
      `Kill executor ${one.ex}`,
      () => this.send("kill-executor", { executor: one.ex }, `Kill executor ${one.ex}`),
      { disabled: off || !one.alive, title: `costs ${plural(one.live, "cached block")} that only it holds` },
    );
    return div(
      `sl-budget${one.alive ? "" : " sl-gone"}`,
      el("b", { text: `executor ${one.ex}` }),
      bars,
      el(
        "span",
        { class: "sl-of" },
        one.alive ? said : span("not running"),
        cache.kill ? span(plural(one.live, "block")) : null,
        cache.kill ? kill : null,
      ),
    );
  }

  numbers(n, pitch) {
    const art = drawing(n * pitch, 14);
    for (let i = 0; i < n; i++) art.append(sv("text", { class: "sl-num", x: 8 + i * pitch, y: 11, text: String(i) }));
    return art;
  }

  cachedRow(row, line, pitch, only) {
    const many = row.p.length > 60;
    const size = many ? 8 : 16;
    const step = many ? 10 : pitch;
    const columns = many ? this.cells : line;
    const high = many ? 10 : 35;
    const lines = Math.ceil(row.p.length / columns);
    const art = put(drawing(Math.min(columns, row.p.length) * step, lines * high), { class: "sl-hit" });
    const chosen = this.row === row.rdd;
    for (let i = 0; i < row.p.length; i++) {
      const x = (i % columns) * step;
      const y = Math.floor(i / columns) * high;
      if (only && !row.e[i]?.split(" ").includes(only)) {
        art.append(sv("circle", { cx: x + size / 2, cy: y + size / 2, r: 1, style: { fill: ink("wait") } }));
        continue;
      }
      art.append(this.cell(this.evicted.has(`${row.rdd}:${i}`) ? "o" : row.p[i], size, x, y));
      if (!many && row.e[i]) art.append(sv("text", { x: x + 8, y: y + 28, text: row.e[i] }));
      if (chosen && this.part === i)
        art.append(sv("rect", { class: "sl-pick", x: x - 2.5, y: y - 2.5, width: size + 5, height: size + 5, rx: 2 }));
    }
    art.addEventListener("click", (event) => {
      const box = art.getBoundingClientRect();
      const zoom = this.lecture ? 1.25 : 1;
      const i =
        Math.floor((event.clientY - box.top) / zoom / high) * columns +
        Math.floor((event.clientX - box.left) / zoom / step);
      if (i < row.p.length) {
        const again = chosen && this.part === i;
        this.row = again ? null : row.rdd;
        this.part = again ? null : i;
        this.notice = "";
        this.update();
      }
    });
    const name = el(
      "button",
      {
        type: "button",
        class: "sl-rdd",
        "data-rdd": row.rdd,
        "aria-pressed": String(chosen),
        title: row.full,
        onclick: () => {
          this.row = chosen ? null : row.rdd;
          this.part = null;
          this.notice = "";
          this.update();
        },
      },
      bold(row.n),
      el("i", { text: row.s }),
      span(row.level),
      el("span", { class: "sl-sr", text: `${row.of}; left and right choose a partition` }),
    );
    return div("sl-row", name, art, div("sl-sum", bold(row.memory), span(row.of)));
  }

  // What can be done with the chosen row, its cost before each button.
  rowActions(cache) {
    const row = cache?.rows.find((one) => one.rdd === this.row);
    const part = this.part;
    const disabled = this.off;
    if (!row)
      return cache?.rows.length && cache.budgets.length > 1
        ? [
            `by ${this.byExecutor}`,
            () => [
              this.button(this.byExecutor ? "By RDD" : "By executor", () => {
                this.byExecutor = !this.byExecutor;
                this.update();
              }),
            ],
          ]
        : ["", () => []];
    const held = part !== null && HELD.includes(row.p[part]);
    return [
      `row ${row.rdd} ${held ? part : ""} ${row.of} ${disabled}`,
      () => {
        const drop = `Drop ${shorten(row.full, 16)}[${part}]`;
        const all = `Unpersist ${shorten(row.full, 16)}`;
        return [
          ...(held
            ? [
                span(`1 partition, ${row.each[part]}`),
                this.button(drop, () => this.send("drop-partition", { rdd: row.rdd, partition: part }, drop), {
                  class: "sl-main",
                  disabled,
                }),
              ]
            : []),
          span(row.of),
          this.button(all, () => this.send("unpersist", { rdd: row.rdd }, all), { disabled }),
        ];
      },
    ];
  }
}
