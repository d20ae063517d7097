// The DAG: stages as frames, RDDs as nodes, partitions as shapes.

import { count, drawing, el, place, put, px, say, span, sv } from "./dom.js";
import { ancestors, route } from "./geometry.js";
import { STROKES } from "./shapes.js";

export class DagMethods {
  dagActions(dag) {
    if (dag?.nodes?.some((node) => node.losts?.length))
      return ["next", () => [this.button("Next lost", () => this.nextLost())]];
    if (this.opened.length)
      return [
        "folds",
        () => [
          this.button("Fold again", () => {
            this.opened = [];
            this.other = null;
            this.redraw();
            if (this.job !== null) this.ask();
          }),
        ],
      ];
    return ["", () => []];
  }

  nextLost() {
    const all = this.data.dag.nodes.flatMap((node) => (node.losts || []).map((part) => [node.k, part]));
    const at = all.findIndex(([key, part]) => key === this.node && part === this.part);
    const [key, part] = all[(at + 1) % all.length];
    this.select(key, part);
    const node = this.data.dag.nodes.find((n) => n.k === key);
    const why = this.lostWhy(node).get(part);
    this.notice = `lost: partition ${count(part)} of ${node.n}${why ? `, ${why}` : ""}`;
    this.update();
    this.buttons.get(key)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  dag(data) {
    const dag = data.dag;
    const u = this.ui;
    if (!dag || !dag.nodes.length) {
      u.card.hidden = true;
      if (this.drawn !== "empty") {
        this.drawn = "empty";
        u.view.replaceChildren(el("p", { class: "sl-none", text: data.empty || "No job has run in this cell." }));
      }
      return;
    }
    const sig = JSON.stringify([
      data.job,
      this.tab,
      dag.w,
      dag.h,
      dag.nodes.map((n) => [n.k, n.x, n.y, n.n, n.g, n.p.length]),
      dag.edges.length,
    ]);
    if (sig !== this.drawn) {
      this.drawn = sig;
      this.drawDag(dag);
    }
    const near = this.node !== null && dag.nodes.some((n) => n.k === this.node) ? ancestors(dag, this.node) : null;
    if (!near) {
      this.node = null;
      u.card.hidden = true;
      u.body.style.height = px(this.dagHigh);
    }
    for (const frame of dag.frames) {
      const box = this.frames.get(frame.k);
      say(box.firstChild, frame.t);
      box.classList.toggle("sl-dim", Boolean(near) && !dag.nodes.some((n) => n.f === frame.k && near.has(n.k)));
    }
    for (const node of dag.nodes) this.fill(node, near);
    dag.edges.forEach((edge, i) => {
      const g = this.edges[i];
      const lit = near && near.has(edge.a) && near.has(edge.b);
      g.classList.toggle("sl-lit", Boolean(lit));
      g.classList.toggle("sl-dim", Boolean(near) && !lit);
      if (edge.sh < 0) return;
      const width = STROKES[edge.w];
      const [line, tip, , bytes] = g.children;
      line.setAttribute("stroke-width", width);
      const [x, y] = edge.d[edge.d.length - 1];
      const back = width + 4;
      tip.setAttribute("d", `M${x - back} ${y - width / 2 - 3.5}L${x} ${y}L${x - back} ${y + width / 2 + 3.5}z`);
      line.setAttribute("d", route(edge.d, width + 3));
      if (bytes) say(bytes, edge.bytes);
    });
    if (near)
      this.card(
        dag.nodes.find((n) => n.k === this.node),
        dag,
        near,
      );
    if (data.running && !this.scrolled) this.chase(dag);
  }

  // While nobody has scrolled, the stage that runs stays in sight.
  chase(dag) {
    const at = dag.nodes.filter((node) => node.p.includes("r")).pop();
    const view = this.ui.view;
    if (!at || dag.w * this.scale + 32 <= view.clientWidth) return;
    const want = Math.max(0, (at.x + at.w) * this.scale + 48 - view.clientWidth);
    if (Math.abs(view.scrollLeft - want) > 8) {
      view.scrollLeft = want;
      requestAnimationFrame(() => {
        this.scrolled = false;
      });
    }
  }

  drawDag(dag) {
    const u = this.ui;
    const keep = this.sameJob === this.data.job ? [u.view.scrollLeft, u.view.scrollTop] : [0, 0];
    this.sameJob = this.data.job;
    const room = u.view.clientWidth - 32;
    const fits = Math.min(room / dag.w, 278 / dag.h);
    const least = this.lecture ? 1.25 : 1;
    // A small picture is drawn larger, never a large one smaller.
    this.scale = fits >= 1.1 ? Math.max(least, Math.min(1.3, fits)) : least;
    this.dagHigh = Math.min(480, Math.max(310, dag.h * this.scale + 34));
    if (this.node === null) u.body.style.height = px(this.dagHigh);
    const stage = el("div", {
      class: "sl-dag",
      style: { width: px(dag.w), height: px(dag.h) },
      role: "group",
      "aria-label": "Lineage: arrow keys go from node to node",
    });
    this.frames = new Map();
    this.buttons = new Map();
    this.shown = new Map();
    this.edges = [];
    for (const f of dag.frames) {
      const box = el(
        "div",
        { class: `sl-frame${dag.lazy ? " sl-lazy" : ""}`, style: place(f.x, f.y, f.w, f.h) },
        span(f.t),
      );
      this.frames.set(f.k, box);
      stage.append(box);
    }
    const lines = put(drawing(dag.w, dag.h), { class: "sl-edges" });
    for (const edge of dag.edges) {
      const g = sv("g", {});
      if (edge.sh < 0)
        g.append(
          sv("path", {
            class: "sl-thin",
            d: route(edge.d, 0),
            "stroke-width": 1.5,
            "stroke-dasharray": dag.lazy ? "4 3" : null,
          }),
        );
      else {
        const y = edge.d[0][1];
        g.append(sv("path", { d: route(edge.d, STROKES[edge.w] + 3) }), sv("path", { class: "sl-tip" }));
        if (edge.l)
          g.append(
            sv("text", { x: edge.lx, y: y - 13, text: `shuffle ${edge.sh}` }),
            sv("text", { x: edge.lx, y: y + 22, class: "sl-bytes", text: edge.bytes }),
          );
      }
      this.edges.push(g);
      lines.append(g);
    }
    stage.append(lines);
    for (const node of dag.nodes) stage.append(this.box(node, dag));
    this.buttons.get((dag.nodes.find((n) => n.k === this.node) || dag.nodes[dag.nodes.length - 1]).k).tabIndex = 0;
    stage.style.transform = this.scale > 1 ? `scale(${this.scale})` : "";
    u.view.replaceChildren(
      el("div", { class: "sl-fit", style: { width: px(dag.w * this.scale), height: px(dag.h * this.scale) } }, stage),
    );
    [u.view.scrollLeft, u.view.scrollTop] = keep;
    requestAnimationFrame(() => {
      this.scrolled = false;
    });
  }
}
