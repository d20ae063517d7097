// The side card of the selected RDD: what it is, its first records, what can be done with it and at what cost.

import { count, div, el, say, shorten, span } from "./dom.js";
import { HELD } from "./shapes.js";

export class CardMethods {
  card(node, dag, near) {
    const card = this.ui.card;
    const cut = [...new Set(dag.edges.filter((e) => e.sh >= 0 && near.has(e.a) && near.has(e.b)).map((e) => e.sh))];
    const counted = ([name]) => name === "Records" || name === "Bytes"; // first: they are what a cache is about
    const part = this.part;
    const facts = node.facts.filter(counted);
    const above = [...near.values()].filter((k) => k !== node.k).map((k) => dag.nodes.find((n) => n.k === k).n);
    const names = [...new Set(above)].map((name) => {
      const n = above.filter((one) => one === name).length;
      return n > 1 ? `${n} x ${name}` : name;
    });
    const shown = names.length > 5 ? [...names.slice(0, 5), `${names.length - 5} more`] : names;
    if (part !== null)
      facts.push([
        `[${count(part)}]`,
        node.bin > 1 ? `in a cell of ${count(node.bin)}` : this.partition(node, part).replace(/^.*?: /, ""),
      ]);
    const held =
      part !== null &&
      node.bin === 1 &&
      (HELD + "a").includes(node.p[part]) &&
      node.acts?.some((one) => one.cmd === "drop-partition");
    const key = `${node.rdd}:${part}`;
    if (!held) this.peeked = null;
    else if (this.peeked?.key !== key && !this.off)
      this.peeked = this.look("peek", { rdd: node.rdd, partition: part }, key);
    for (const [name, one] of [
      [`First of [${part}]`, this.peeked],
      ["Sample", this.sampled?.key === node.rdd && this.sampled],
    ])
      if (one) facts.push([name, one.lines.length ? one.lines : ["no records"], one.bad]);
    facts.push(
      [
        "Built from",
        [
          shown.length ? shown.join(", ") : "its own data",
          cut.length ? `cut at shuffle ${cut.join(", ")}` : "no shuffle",
        ].join("; "),
      ],
      ...node.facts.filter((one) => !counted(one)),
    );
    const sig = JSON.stringify([
      node.k,
      node.title,
      facts,
      part,
      node.acts,
      node.p[part],
      this.off,
      this.busy("sample"),
      [...this.pending.values()].filter((one) => one.what).length,
    ]);
    card.hidden = false;
    if (sig === this.cardDrawn) return;
    this.cardDrawn = sig;
    const source = (e) => dag.nodes.find((n) => n.k === e.a).tally;
    const skipped = (tally) => tally.length === 1 && tally[0][0] === "s";
    const first = cut.filter((sh) => dag.edges.some((e) => e.sh === sh && !e.bytes && !skipped(source(e))));
    const list = el("dl");
    const act = div("sl-act");
    const off = this.off;
    for (const [name, value, bad] of facts)
      list.append(
        el("dt", { text: name }),
        Array.isArray(value)
          ? el("dd", { class: bad ? "sl-bad" : "sl-records" }, ...value.map((text) => el("div", { text, title: text })))
          : el("dd", { text: value }),
      );
    let code = node.code;
    for (const one of node.acts || []) {
      const args = { ...one.args };
      let label = one.label;
      let cost = one.cost;
      if (one.cmd === "drop-partition") {
        const index = part !== null && (HELD + "a").includes(node.p[part]) ? part : one.args.partition;
        args.partition = index;
        label = `Drop ${shorten(node.full, 12)}[${count(index)}]`;
        code = one.code.replace(/\d+$/, index);
      }
      const sample = one.cmd === "sample";
      if (sample && first.length) cost += `, runs shuffle ${first.join(", ")} first`;
      act.append(
        span(cost),
        this.button(
          label,
          () => {
            if (!sample) this.send(one.cmd, args, label);
            else {
              this.sampled = this.look("sample", args, node.rdd);
              this.update();
            }
          },
          { class: one.main ? "sl-main" : null, disabled: off || (sample && this.busy("sample")) },
        ),
      );
    }
    const copy = this.button("Copy", () => this.copy(code, copy));
    card.replaceChildren(
      el("h3", { text: node.full }, span(node.s)),
      this.button(
        "×",
        () => {
          this.select(null);
          this.update();
        },
        { class: "sl-x", "aria-label": "Close the card" },
      ),
      list,
      act,
      code ? div("sl-copy", el("code", { text: code }), copy) : null,
    );
    // A card that needs more room than the picture gets it, up to what any body may have; what a reader chose moves
    // nothing twice.
    const body = this.ui.body;
    const high = Math.max(this.dagHigh, parseFloat(body.style.height) || 0);
    body.style.height = `${Math.min(480, Math.max(high, high + list.scrollHeight - list.clientHeight))}px`;
    if (list.scrollHeight > list.clientHeight) list.tabIndex = 0; // the keys can scroll what a wheel can
  }

  async copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.previousSibling);
      const chosen = window.getSelection();
      chosen.removeAllRanges();
      chosen.addRange(range);
      say(button, "Selected");
    }
    this.after(1500, () => say(button, "Copy"));
  }
}
