// A box of the DAG: an RDD's partitions, each in its state, or a mosaic of many; and what is told of one.

import { axis, bold, count, drawing, el, ink, patch, place, put, px, rect, resolve, say, span, sv } from "./dom.js";
import { partAt } from "./geometry.js";
import { NAMES, SHORT, TINTS, WORST } from "./shapes.js";

const RING_MS = 600;
const RINGS_MAX = 24;

export class NodeMethods {
  box(node, dag) {
    const said = el("span", { class: "sl-sr" }); // what the shapes show, for those who hear the picture
    const button = el(
      "button",
      {
        type: "button",
        class: `sl-node${dag.lazy ? " sl-lazy" : ""}`,
        "data-key": node.k,
        tabindex: "-1",
        onclick: (event) =>
          this.pick(
            this.data.dag.nodes.find((n) => n.k === node.k),
            event,
          ),
        style: place(node.x, node.y, node.w, node.h),
        title: node.title,
        onmousemove: (event) => this.point(node.k, event),
      },
      el("span", { class: "sl-name", text: node.n }),
      el("span", { class: "sl-site", text: node.s }),
      said,
    );
    const [kind, gx, gy, columns, cell, pitchX, pitchY] = node.g;
    const held = { node: "", cells: [], say: said };
    if (kind === "squares" || kind === "grid" || kind === "small") {
      const art = drawing(node.w, node.h);
      for (let i = 0; i < node.p.length; i++) {
        const x = gx + (i % columns) * pitchX;
        const y = gy + Math.floor(i / columns) * pitchY;
        const use = this.cell("w", cell, x, y);
        held.cells.push(use);
        art.append(use);
        if (kind === "squares") art.append(sv("text", { x: x + cell / 2, y: y + cell + 11, text: String(i) }));
      }
      held.art = art;
      button.append(art);
    } else if (kind === "mosaic") {
      const rows = Math.ceil(node.p.length / columns);
      const ratio = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
      held.canvas = el("canvas", {
        width: columns * pitchX * ratio,
        height: rows * pitchY * ratio,
        style: place(gx - 1, gy - 1, columns * pitchX, rows * pitchY),
      });
      held.ratio = ratio;
      held.facts = el("div", { class: "sl-facts", "aria-hidden": "true" });
      held.calls = el("div");
      held.over = drawing(node.w, node.h);
      const per = node.bin > 1 ? `1 cell: ${count(node.bin)} partitions` : "100 partitions a row";
      button.append(
        held.canvas,
        held.facts,
        held.over,
        held.calls,
        axis(gx - 1, 22, "0"),
        axis(gx + 200, 22, per, "50%"),
        axis(gx + 399, 22, count(99 * node.bin), "100%"),
      );
      for (let row = 0; row < rows; row += 10)
        button.append(axis(gx - 9, gy + row * pitchY - 4, count(row * 100 * node.bin), "100%"));
    } else if (kind === "bar") {
      held.of = el("span", { class: "sl-ofbar" });
      held.art = drawing(node.w, node.h);
      button.append(held.of, held.art);
      if (node.fold) button.append(el("span", { class: "sl-open", text: "open" }));
    }
    this.shown.set(node.k, held);
    this.buttons.set(node.k, button);
    return button;
  }

  fill(node, near) {
    const held = this.shown.get(node.k);
    const button = this.buttons.get(node.k);
    button.classList.toggle("sl-dim", Boolean(near) && !near.has(node.k));
    button.setAttribute("aria-pressed", this.node === node.k);
    say(held.say, node.say);
    const was = held.node;
    const now = node.p;
    const picked = this.node === node.k ? this.part : null;
    if (held.cells.length) {
      const fresh = [];
      for (let i = 0; i < now.length; i++) {
        if (now[i] === was[i]) continue;
        const use = held.cells[i];
        const size = node.g[4];
        use.setAttribute("href", `#${this.uid}-${now[i] === "n" ? "w" : now[i]}${size}`);
        if (was) fresh.push(use);
        if (was && now[i] === "a")
          this.ring(held.art, Number(use.getAttribute("x")), Number(use.getAttribute("y")), size);
      }
      // A fade begins anew where the class is new, after one look.
      const again = fresh.filter((use) => use.classList.contains("sl-new"));
      for (const use of again) use.classList.remove("sl-new");
      if (again.length) void held.art.getBoundingClientRect();
      for (const use of fresh) use.classList.add("sl-new");
      held.pick?.remove();
      held.pick = null;
      if (picked !== null && held.cells[picked]) {
        const use = held.cells[picked];
        const size = node.g[4] + 5;
        held.pick = sv("rect", {
          class: "sl-pick",
          x: use.getAttribute("x") - 2.5,
          y: use.getAttribute("y") - 2.5,
          width: size,
          height: size,
          rx: 2,
        });
        held.art.append(held.pick);
      }
    } else if (held.canvas && (now !== was || held.was !== picked)) this.mosaic(node, held, was, picked);
    else if (held.of) this.proportions(node, held);
    held.node = now;
    held.was = picked;
  }

  ring(art, x, y, size) {
    const ring = sv("rect", { class: "sl-ring", x: x - 2, y: y - 2, width: size + 4, height: size + 4, rx: 3 });
    art.append(ring);
    this.after(RING_MS + 50, () => ring.remove());
  }

  // The colours of the states as a canvas takes them, asked for once a theme.
  fills() {
    const key = this.panel.className;
    if (this.tinted?.key !== key)
      this.tinted = {
        key,
        of: Object.fromEntries([..."wnsrdmkMlaf"].map((state) => [state, resolve(this.panel, TINTS[state] || "cell")])),
      };
    return this.tinted.of;
  }

  mosaic(node, held, was, picked) {
    const [, , , columns, cell, pitch] = node.g;
    const ctx = held.canvas.getContext("2d");
    const fills = this.fills();
    ctx.setTransform(held.ratio, 0, 0, held.ratio, 0, 0);
    for (let i = 0; i < node.p.length; i++) {
      if (was && was[i] === node.p[i]) continue;
      const x = (i % columns) * pitch;
      const y = Math.floor(i / columns) * pitch;
      const state = node.p[i];
      ctx.clearRect(x, y, pitch, pitch);
      ctx.fillStyle = fills[state] || fills.w;
      if (state === "s" || state === "k") {
        ctx.fillRect(x, y, cell, 1);
        ctx.fillRect(x, y + 2, cell, 1);
      } else ctx.fillRect(x, y, cell, cell);
    }
    const rows = [bold(node.of)];
    for (const [state, n] of node.tally
      .filter(([one]) => one !== "d")
      .sort((p, q) => WORST.indexOf(p[0]) - WORST.indexOf(q[0])))
      rows.push(el("div", {}, this.glyph(state), span(`${count(n)} ${SHORT[state] || NAMES[state]}`)));
    patch(held.facts, put(held.facts.cloneNode(), {}, rows.slice(0, 5)));
    this.callOut(node, held, fills, picked);
  }

  // A ring and a leader on each lost cell, and why: cells with one reason share a label. Of a great many, on the first.
  callOut(node, held, fills, picked) {
    const [, gx, gy, columns, , pitch] = node.g;
    const losts = node.losts || [];
    const lost = node.tally.find(([state]) => state === "l")?.[1] || 0;
    const ringed = losts.slice(0, lost > RINGS_MAX ? 3 : RINGS_MAX);
    const labels = [];
    const label = (part, title, why) => labels.push({ title, why, parts: [part] });
    ringed.forEach((part, i) => {
      const why = node.why?.[i] || "";
      const same = labels.find((one) => one.why === why);
      if (!same || (lost <= 3 && labels.length < 3)) label(part, `lost: ${count(part)}`, why);
      else same.parts.push(part);
    });
    for (const one of labels)
      if (one.parts.length > 1)
        one.title = `lost: ${one.parts.length === ringed.length ? count(lost) : one.parts.length}`;
    if (picked !== null && !ringed.includes(picked)) {
      const at = losts.indexOf(picked);
      label(
        picked,
        `${at < 0 ? "partition" : "lost"}: ${count(picked)}`,
        at < 0 ? NAMES[node.p[Math.floor(picked / node.bin)]] : node.why[at],
      );
    }
    held.over.replaceChildren();
    held.calls.replaceChildren();
    let free = gy - 8;
    for (const one of labels.slice(0, 4)) {
      const rows = one.parts.map((part) => gy + Math.floor(Math.floor(part / node.bin) / columns) * pitch);
      const at = Math.max(free, rows[0] - 7);
      free = at + 34;
      one.parts.forEach((part, i) => {
        const bin = Math.floor(part / node.bin);
        const x = gx + (bin % columns) * pitch;
        const y = rows[i];
        held.over.append(
          sv("path", {
            d: `M${x + 8} ${y + 1.5}H${gx + 404}L${gx + 410} ${at + 8}`,
            "stroke-width": one.parts.length > 3 ? 0.75 : 1.5,
            style: { stroke: ink("fg"), fill: "none" },
          }),
        );
      });
      one.parts.forEach((part, i) => {
        const bin = Math.floor(part / node.bin);
        const x = gx + (bin % columns) * pitch;
        const y = rows[i];
        held.over.append(
          rect(x - 4.5, y - 4.5, 12, 12, { fill: ink("bg"), stroke: ink("fg") }, { "stroke-width": 2 }),
          rect(x - 1.5, y - 1.5, 6, 6, { fill: fills[node.p[bin]] }),
        );
      });
      held.calls.append(
        el(
          "div",
          { class: "sl-call", style: { left: px(gx + 414), top: px(at) } },
          el("b", { text: one.title }),
          span(one.why),
        ),
      );
    }
  }

  // What the pointer is on: a partition's state, and why it was lost.
  point(key, event) {
    const node = this.data.dag.nodes.find((n) => n.k === key);
    const button = this.buttons.get(key);
    if (!node || !button) return;
    const box = button.getBoundingClientRect();
    const part = partAt(node, (event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale);
    const text = part === null ? node.title : `${node.title}, ${this.partition(node, part)}`;
    if (button.title !== text) button.title = text;
  }

  partition(node, part) {
    const state = node.p[Math.floor(part / node.bin)];
    const losses = this.lostWhy(node);
    const lost = losses.get([...losses.keys()].find((one) => one >= part && one < part + node.bin));
    const which =
      node.bin > 1 ? `partitions ${count(part)} to ${count(part + node.bin - 1)}` : `partition ${count(part)}`;
    const ran = node.bin === 1 ? this.ranAt(node, part) : "";
    return `${which}: ${NAMES[state]}${lost ? ` ${lost}` : ""}${ran ? `, ${ran}` : ""}`;
  }

  lostWhy(node) {
    const losts = node.losts?.length ? node.losts : [...node.p].flatMap((state, i) => (state === "l" ? [i] : []));
    return new Map((node.why || []).map((why, i) => [losts[i], why]));
  }

  proportions(node, held) {
    const sig = JSON.stringify([node.tally, node.of]);
    if (sig === held.sig) return;
    held.sig = sig;
    say(held.of, node.of);
    const [, x0, y] = node.g;
    const width = node.w - 17;
    const total = node.tally.reduce((sum, [, n]) => sum + n, 0) || 1;
    const art = held.art.cloneNode();
    art.append(rect(x0, y + 0.5, width, 10, { fill: ink("bg"), stroke: ink("wait") }));
    let x = x0;
    for (const [state, n] of node.tally) {
      const w = (n / total) * width;
      const fill =
        { r: `url(#${this.uid}-run)`, k: `url(#${this.uid}-disk)` }[state] || (TINTS[state] && ink(TINTS[state]));
      if (fill)
        art.append(
          sv("rect", {
            x,
            y: y + 0.5,
            width: Math.max(1, w),
            height: 10,
            style: { fill, stroke: ink("edge") },
            "stroke-width": state === "d" || state === "m" ? 0 : 0.7,
          }),
        );
      x += w;
    }
    patch(held.art, art);
  }
}
