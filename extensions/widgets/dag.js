// The DAG: stages as frames, RDDs as nodes, partitions as shapes.

import { axis, bold, count, div, drawing, el, ink, patch, place, put, px, rect, resolve, say, span, sv } from "./dom.js";
import { ancestors, partAt, route } from "./geometry.js";
import { NAMES, SHORT, STROKES, TINTS, WORST } from "./shapes.js";

const RING_MS = 600, RINGS_MAX = 24;

export class DagMethods {
  dagActions(dag) {
    if (dag?.nodes?.some((node) => node.losts?.length)) return ["next", () => [this.button("Next lost", () => this.nextLost())]];
    if (this.opened.length) return ["folds", () => [this.button("Fold again", () => { this.opened = []; this.other = null; this.redraw(); if (this.job !== null) this.ask(); })]];
    return ["", () => []];
  }

  nextLost() {
    const all = this.data.dag.nodes.flatMap((node) => (node.losts || []).map((part) => [node.k, part]));
    const at = all.findIndex(([key, part]) => key === this.node && part === this.part);
    const [key, part] = all[(at + 1) % all.length];
    this.select(key, part); const node = this.data.dag.nodes.find((n) => n.k === key), why = this.lostWhy(node).get(part);
    this.notice = `lost: partition ${count(part)} of ${node.n}${why ? `, ${why}` : ""}`; this.update();
    this.buttons.get(key)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  dag(data) {
    const dag = data.dag, u = this.ui;
    if (!dag || !dag.nodes.length) {
      u.card.hidden = true;
      if (this.drawn !== "empty") { this.drawn = "empty"; u.view.replaceChildren(el("p", { class: "sl-none", text: data.empty || "No job has run in this cell." })); }
      return;
    }
    const sig = JSON.stringify([data.job, this.tab, dag.w, dag.h, dag.nodes.map((n) => [n.k, n.x, n.y, n.n, n.g, n.p.length]), dag.edges.length]);
    if (sig !== this.drawn) { this.drawn = sig; this.drawDag(dag); }
    const near = this.node !== null && dag.nodes.some((n) => n.k === this.node) ? ancestors(dag, this.node) : null;
    if (!near) { this.node = null; u.card.hidden = true; u.body.style.height = px(this.dagHigh); }
    for (const frame of dag.frames) { const box = this.frames.get(frame.k); say(box.firstChild, frame.t); box.classList.toggle("sl-dim", Boolean(near) && !dag.nodes.some((n) => n.f === frame.k && near.has(n.k))); }
    for (const node of dag.nodes) this.fill(node, near);
    dag.edges.forEach((edge, i) => {
      const g = this.edges[i], lit = near && near.has(edge.a) && near.has(edge.b);
      g.classList.toggle("sl-lit", Boolean(lit)); g.classList.toggle("sl-dim", Boolean(near) && !lit);
      if (edge.sh < 0) return;
      const width = STROKES[edge.w], [line, tip, , bytes] = g.children;
      line.setAttribute("stroke-width", width);
      const [x, y] = edge.d[edge.d.length - 1], back = width + 4;
      tip.setAttribute("d", `M${x - back} ${y - width / 2 - 3.5}L${x} ${y}L${x - back} ${y + width / 2 + 3.5}z`);
      line.setAttribute("d", route(edge.d, width + 3));
      if (bytes) say(bytes, edge.bytes);
    });
    if (near) this.card(dag.nodes.find((n) => n.k === this.node), dag, near, data);
    if (data.running && !this.scrolled) this.chase(dag);
  }

  // While nobody has scrolled, the stage that runs stays in sight.
  chase(dag) {
    const at = dag.nodes.filter((node) => node.p.includes("r")).pop(), view = this.ui.view;
    if (!at || dag.w * this.scale + 32 <= view.clientWidth) return;
    const want = Math.max(0, (at.x + at.w) * this.scale + 48 - view.clientWidth);
    if (Math.abs(view.scrollLeft - want) > 8) { view.scrollLeft = want; requestAnimationFrame(() => { this.scrolled = false; }); }
  }

  drawDag(dag) {
    const u = this.ui, keep = this.sameJob === this.data.job ? [u.view.scrollLeft, u.view.scrollTop] : [0, 0];
    this.sameJob = this.data.job;
    const room = u.view.clientWidth - 32, fits = Math.min(room / dag.w, 278 / dag.h), least = this.lecture ? 1.25 : 1;
    this.scale = fits >= 1.1 ? Math.max(least, Math.min(1.3, fits)) : least; // a small picture is drawn larger, never a large one smaller
    this.dagHigh = Math.min(480, Math.max(310, dag.h * this.scale + 34));
    if (this.node === null) u.body.style.height = px(this.dagHigh);
    const stage = el("div", { class: "sl-dag", style: { width: px(dag.w), height: px(dag.h) }, role: "group", "aria-label": "Lineage: arrow keys go from node to node" });
    this.frames = new Map(); this.buttons = new Map(); this.shown = new Map(); this.edges = [];
    for (const f of dag.frames) {
      const box = el("div", { class: `sl-frame${dag.lazy ? " sl-lazy" : ""}`, style: place(f.x, f.y, f.w, f.h) }, span(f.t));
      this.frames.set(f.k, box); stage.append(box);
    }
    const lines = put(drawing(dag.w, dag.h), { class: "sl-edges" });
    for (const edge of dag.edges) {
      const g = sv("g", {});
      if (edge.sh < 0) g.append(sv("path", { class: "sl-thin", d: route(edge.d, 0), "stroke-width": 1.5, "stroke-dasharray": dag.lazy ? "4 3" : null }));
      else {
        const y = edge.d[0][1];
        g.append(sv("path", { d: route(edge.d, STROKES[edge.w] + 3) }), sv("path", { class: "sl-tip" }));
        if (edge.l) g.append(sv("text", { x: edge.lx, y: y - 13, text: `shuffle ${edge.sh}` }), sv("text", { x: edge.lx, y: y + 22, class: "sl-bytes", text: edge.bytes }));
      }
      this.edges.push(g); lines.append(g);
    }
    stage.append(lines);
    for (const node of dag.nodes) stage.append(this.box(node, dag));
    this.buttons.get((dag.nodes.find((n) => n.k === this.node) || dag.nodes[dag.nodes.length - 1]).k).tabIndex = 0;
    stage.style.transform = this.scale > 1 ? `scale(${this.scale})` : "";
    u.view.replaceChildren(el("div", { class: "sl-fit", style: { width: px(dag.w * this.scale), height: px(dag.h * this.scale) } }, stage));
    [u.view.scrollLeft, u.view.scrollTop] = keep;
    requestAnimationFrame(() => { this.scrolled = false; });
  }

  box(node, dag) {
    const said = el("span", { class: "sl-sr" }); // what the shapes show, for those who hear the picture
    const button = el("button", {
      type: "button", class: `sl-node${dag.lazy ? " sl-lazy" : ""}`, "data-key": node.k, tabindex: "-1", onclick: (event) => this.pick(this.data.dag.nodes.find((n) => n.k === node.k), event),
      style: place(node.x, node.y, node.w, node.h), title: node.title, onmousemove: (event) => this.point(node.k, event),
    }, el("span", { class: "sl-name", text: node.n }), el("span", { class: "sl-site", text: node.s }), said);
    const [kind, gx, gy, columns, cell, pitchX, pitchY] = node.g, held = { node: "", cells: [], say: said };
    if (kind === "squares" || kind === "grid" || kind === "small") {
      const art = drawing(node.w, node.h);
      for (let i = 0; i < node.p.length; i++) {
        const x = gx + (i % columns) * pitchX, y = gy + Math.floor(i / columns) * pitchY, use = this.cell("w", cell, x, y);
        held.cells.push(use); art.append(use);
        if (kind === "squares") art.append(sv("text", { x: x + cell / 2, y: y + cell + 11, text: String(i) }));
      }
      held.art = art; button.append(art);
    } else if (kind === "mosaic") {
      const rows = Math.ceil(node.p.length / columns), ratio = Math.max(1, Math.min(3, window.devicePixelRatio || 1));
      held.canvas = el("canvas", { width: columns * pitchX * ratio, height: rows * pitchY * ratio, style: place(gx - 1, gy - 1, columns * pitchX, rows * pitchY) });
      held.ratio = ratio; held.facts = el("div", { class: "sl-facts", "aria-hidden": "true" }); held.calls = el("div"); held.over = drawing(node.w, node.h);
      const per = node.bin > 1 ? `1 cell: ${count(node.bin)} partitions` : "100 partitions a row";
      button.append(held.canvas, held.facts, held.over, held.calls, axis(gx - 1, 22, "0"), axis(gx + 200, 22, per, "50%"), axis(gx + 399, 22, count(99 * node.bin), "100%"));
      for (let row = 0; row < rows; row += 10) button.append(axis(gx - 9, gy + row * pitchY - 4, count(row * 100 * node.bin), "100%"));
    } else if (kind === "bar") {
      held.of = el("span", { class: "sl-ofbar" }); held.art = drawing(node.w, node.h);
      button.append(held.of, held.art);
      if (node.fold) button.append(el("span", { class: "sl-open", text: "open" }));
    }
    this.shown.set(node.k, held); this.buttons.set(node.k, button);
    return button;
  }

  fill(node, near) {
    const held = this.shown.get(node.k), button = this.buttons.get(node.k);
    button.classList.toggle("sl-dim", Boolean(near) && !near.has(node.k));
    button.setAttribute("aria-pressed", this.node === node.k);
    say(held.say, node.say);
    const was = held.node, now = node.p, picked = this.node === node.k ? this.part : null;
    if (held.cells.length) {
      const fresh = [];
      for (let i = 0; i < now.length; i++) {
        if (now[i] === was[i]) continue;
        const use = held.cells[i], size = node.g[4];
        use.setAttribute("href", `#${this.uid}-${now[i] === "n" ? "w" : now[i]}${size}`);
        if (was) fresh.push(use);
        if (was && now[i] === "a") this.ring(held.art, Number(use.getAttribute("x")), Number(use.getAttribute("y")), size);
      }
      const again = fresh.filter((use) => use.classList.contains("sl-new")); // a fade begins anew where the class is new, after one look
      for (const use of again) use.classList.remove("sl-new");
      if (again.length) void held.art.getBoundingClientRect();
      for (const use of fresh) use.classList.add("sl-new");
      held.pick?.remove(); held.pick = null;
      if (picked !== null && held.cells[picked]) { const use = held.cells[picked], size = node.g[4] + 5; held.pick = sv("rect", { class: "sl-pick", x: use.getAttribute("x") - 2.5, y: use.getAttribute("y") - 2.5, width: size, height: size, rx: 2 }); held.art.append(held.pick); }
    } else if (held.canvas && (now !== was || held.was !== picked)) this.mosaic(node, held, was, picked);
    else if (held.of) this.proportions(node, held);
    held.node = now; held.was = picked;
  }

  ring(art, x, y, size) {
    const ring = sv("rect", { class: "sl-ring", x: x - 2, y: y - 2, width: size + 4, height: size + 4, rx: 3 });
    art.append(ring); this.after(RING_MS + 50, () => ring.remove());
  }

  // The colours of the states as a canvas takes them, asked for once a theme.
  fills() {
    const key = this.panel.className;
    if (this.tinted?.key !== key) this.tinted = { key, of: Object.fromEntries([..."wnsrdmkMlaf"].map((state) => [state, resolve(this.panel, TINTS[state] || "cell")])) };
    return this.tinted.of;
  }

  mosaic(node, held, was, picked) {
    const [, gx, gy, columns, cell, pitch] = node.g, ctx = held.canvas.getContext("2d"), fills = this.fills();
    ctx.setTransform(held.ratio, 0, 0, held.ratio, 0, 0);
    for (let i = 0; i < node.p.length; i++) {
      if (was && was[i] === node.p[i]) continue;
      const x = (i % columns) * pitch, y = Math.floor(i / columns) * pitch, state = node.p[i];
      ctx.clearRect(x, y, pitch, pitch); ctx.fillStyle = fills[state] || fills.w;
      if (state === "s" || state === "k") { ctx.fillRect(x, y, cell, 1); ctx.fillRect(x, y + 2, cell, 1); } else ctx.fillRect(x, y, cell, cell);
    }
    const rows = [bold(node.of)];
    for (const [state, n] of node.tally.filter(([one]) => one !== "d").sort((p, q) => WORST.indexOf(p[0]) - WORST.indexOf(q[0]))) rows.push(el("div", {}, this.glyph(state), span(`${count(n)} ${SHORT[state] || NAMES[state]}`)));
    patch(held.facts, put(held.facts.cloneNode(), {}, rows.slice(0, 5)));
    this.callOut(node, held, fills, picked);
  }

  // A ring and a leader on each lost cell, and why: cells with one reason share a label. Of a great many, on the first.
  callOut(node, held, fills, picked) {
    const [, gx, gy, columns, , pitch] = node.g, losts = node.losts || [];
    const lost = node.tally.find(([state]) => state === "l")?.[1] || 0, ringed = losts.slice(0, lost > RINGS_MAX ? 3 : RINGS_MAX);
    const labels = [], label = (part, title, why) => labels.push({ title, why, parts: [part] });
    ringed.forEach((part, i) => {
      const why = node.why?.[i] || "", same = labels.find((one) => one.why === why);
      if (!same || (lost <= 3 && labels.length < 3)) label(part, `lost: ${count(part)}`, why); else same.parts.push(part);
    });
    for (const one of labels) if (one.parts.length > 1) one.title = `lost: ${one.parts.length === ringed.length ? count(lost) : one.parts.length}`;
    if (picked !== null && !ringed.includes(picked)) {
      const at = losts.indexOf(picked);
      label(picked, `${at < 0 ? "partition" : "lost"}: ${count(picked)}`, at < 0 ? NAMES[node.p[Math.floor(picked / node.bin)]] : node.why[at]);
    }
    held.over.replaceChildren(); held.calls.replaceChildren();
    let free = gy - 8;
    for (const one of labels.slice(0, 4)) {
      const rows = one.parts.map((part) => gy + Math.floor(Math.floor(part / node.bin) / columns) * pitch), at = Math.max(free, rows[0] - 7);
      free = at + 34;
      one.parts.forEach((part, i) => {
        const bin = Math.floor(part / node.bin), x = gx + (bin % columns) * pitch, y = rows[i];
        held.over.append(sv("path", { d: `M${x + 8} ${y + 1.5}H${gx + 404}L${gx + 410} ${at + 8}`, "stroke-width": one.parts.length > 3 ? 0.75 : 1.5, style: { stroke: ink("fg"), fill: "none" } }));
      });
      one.parts.forEach((part, i) => {
        const bin = Math.floor(part / node.bin), x = gx + (bin % columns) * pitch, y = rows[i];
        held.over.append(rect(x - 4.5, y - 4.5, 12, 12, { fill: ink("bg"), stroke: ink("fg") }, { "stroke-width": 2 }), rect(x - 1.5, y - 1.5, 6, 6, { fill: fills[node.p[bin]] }));
      });
      held.calls.append(el("div", { class: "sl-call", style: { left: px(gx + 414), top: px(at) } }, el("b", { text: one.title }), span(one.why)));
    }
  }

  // What the pointer is on: a partition's state, and why it was lost.
  point(key, event) {
    const node = this.data.dag.nodes.find((n) => n.k === key), button = this.buttons.get(key);
    if (!node || !button) return;
    const box = button.getBoundingClientRect(), part = partAt(node, (event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale);
    const text = part === null ? node.title : `${node.title}, ${this.partition(node, part)}`;
    if (button.title !== text) button.title = text;
  }

  partition(node, part) {
    const state = node.p[Math.floor(part / node.bin)], losses = this.lostWhy(node);
    const lost = losses.get([...losses.keys()].find((one) => one >= part && one < part + node.bin));
    const which = node.bin > 1 ? `partitions ${count(part)} to ${count(part + node.bin - 1)}` : `partition ${count(part)}`;
    const ran = node.bin === 1 ? this.ranAt(node, part) : "";
    return `${which}: ${NAMES[state]}${lost ? ` ${lost}` : ""}${ran ? `, ${ran}` : ""}`;
  }

  lostWhy(node) { const losts = node.losts?.length ? node.losts : [...node.p].flatMap((state, i) => (state === "l" ? [i] : [])); return new Map((node.why || []).map((why, i) => [losts[i], why])); }

  proportions(node, held) {
    const sig = JSON.stringify([node.tally, node.of]);
    if (sig === held.sig) return;
    held.sig = sig; say(held.of, node.of);
    const [, x0, y] = node.g, width = node.w - 17, total = node.tally.reduce((sum, [, n]) => sum + n, 0) || 1;
    const art = held.art.cloneNode(); art.append(rect(x0, y + 0.5, width, 10, { fill: ink("bg"), stroke: ink("wait") }));
    let x = x0;
    for (const [state, n] of node.tally) {
      const w = (n / total) * width, fill = { r: `url(#${this.uid}-run)`, k: `url(#${this.uid}-disk)` }[state] || (TINTS[state] && ink(TINTS[state]));
      if (fill) art.append(sv("rect", { x, y: y + 0.5, width: Math.max(1, w), height: 10, style: { fill, stroke: ink("edge") }, "stroke-width": state === "d" || state === "m" ? 0 : 0.7 }));
      x += w;
    }
    patch(held.art, art);
  }
}
