// The bars of the Timeline: an attempt each, drawn in its row, pointed at and chosen.

import { count, ink, patch, rect, sv } from "./dom.js";
import { NAMES, arrow } from "./shapes.js";
import { EDGE, reach, secs } from "./timeline.js";

const NARROW = 8;
const FILLS = { d: "done", a: "re", f: "fg", l: "bg", r: "run", s: "bg" };
const ON = { d: "#fff", a: "#000", f: "var(--sl-bg)", r: "var(--sl-fg)", l: "var(--sl-fg)", s: "var(--sl-fg2)" };
const TRIES = { r: "a further attempt", c: "a second copy" };

export class BarMethods {
  // A glyph for what is no first attempt, an outline for a straggler; bars that stand as they stood are kept.
  drawBar(before, over, bar, box, on) {
    const [stage, part, , start, length, state, attempt, mark, times] = bar;
    // What was lost is never too small to be seen.
    if (state === "l" && box.wide < 8) {
      box.x -= 8 - box.wide;
      box.wide = 8;
    }
    const wide = Math.max(1.5, box.wide - (box.wide > 3 ? 1 : 0));
    const middle = box.x + wide / 2;
    const plain = on.time.stages.find((one) => one.id === stage);
    const again = attempt ? `, attempt ${attempt + 1}` : "";
    const ended = state === "d" ? "" : `, ${NAMES[state]}`;
    const late = times ? `, ${times < 20 ? times : count(Math.round(times))} x the median` : "";
    const copied = mark === "c" ? `, ${TRIES.c}` : "";
    const where = `stage ${stage}, task ${part}${again} on executor ${on.lane.ex}`;
    const text = `${where}: ${secs(length)}${ended}${late}${copied}`;
    const drawn = {
      stage,
      part,
      attempt: `${attempt}@${start}`,
      start,
      x: box.x,
      y: box.y,
      wide,
      high: box.high,
      text,
    };
    this.bars.push(drawn);
    const key = `${text}|${box.x.toFixed(2)}|${box.y}|${wide.toFixed(2)}|${box.high}`;
    const kept = before.get(key);
    const g = kept || sv("g", { "data-part": `${stage}:${part}`, "data-bar": true });
    this.kept.set(key, g);
    g.bar = drawn;
    const turned = state === "a" && wide >= NARROW && box.high >= 26 ? middle : 0; // where its arrow stands
    if (!kept) {
      this.fillBar(g, { text, state, stage, part, length, middle, wide, turned }, box);
      this.layers.work.append(g);
    }
    if (mark)
      over.append(
        sv(
          "g",
          {
            class: "sl-mark",
            transform: `translate(${wide > 40 ? box.x + 4 : middle - 6} ${box.y + (box.high >= 26 ? 4 : -6)})`,
          },
          rect(0.5, 0.5, 11, 11, { fill: ink("bg"), stroke: ink("fg") }),
          sv("text", {
            x: 6,
            y: 9.5,
            "text-anchor": "middle",
            text: mark === "c" ? "»" : String(Math.min(attempt + 1, 9)),
          }),
        ),
      );
    if (times) {
      over.append(
        rect(
          box.x - 0.5,
          box.y - 1.5,
          wide + 1,
          box.high + 3,
          { fill: "none", stroke: ink("fg") },
          { "stroke-width": 2 },
        ),
      );
      const at = box.x + ((state === "a" ? plain?.again : plain?.median) || 0) * on.scale;
      if (at < box.x + wide - 1 && !(turned && Math.abs(at - turned) < 10))
        over.append(
          sv("path", {
            class: "sl-median",
            d: `M${at} ${box.y + 1}V${box.y + box.high - (box.high >= 40 ? 17 : 1)}`,
            style: { stroke: state === "d" ? "#fff" : ink("fg") },
          }),
        );
      const said = on.named.get(`${stage}:${part}:${attempt}`);
      const room = said && reach(said);
      if (said && on.tall >= 40) {
        const left = Math.max(EDGE, Math.min(middle - room / 2, on.edge - room));
        const y = on.top - 6;
        if (!on.taken.some((one) => one.y === y && left < one.right && left + room > one.left)) {
          on.taken.push({ y, left, right: left + room });
          over.append(sv("text", { class: "sl-lane", x: left, y, text: said }));
        }
      }
    }
  }

  // Shape and colour by state, the stage's number inside where it fits.
  fillBar(g, { text, state, stage, part, length, middle, wide, turned }, box) {
    const lined = state !== "d" && state !== "f";
    g.append(sv("title", { text }));
    g.append(
      rect(
        box.x,
        box.y,
        wide,
        box.high,
        {
          fill: state === "r" ? `url(#${this.uid}-run)` : ink(FILLS[state] || "bg"),
          stroke: state === "l" ? ink("lost") : state === "s" ? ink("wait") : lined ? ink("edge") : "none",
        },
        { "stroke-width": lined ? (wide < 4 ? 0.5 : 1) : 0, "stroke-dasharray": state === "s" ? "2 2" : null },
      ),
    );
    if (state === "l" && wide >= 6) {
      const r = Math.min(5, wide / 2 - 1, box.high / 2 - 2);
      const cy = box.y + box.high / 2;
      g.append(
        sv("path", {
          d: `M${middle - r} ${cy - r}l${2 * r} ${2 * r}M${middle + r} ${cy - r}l${-2 * r} ${2 * r}`,
          "stroke-width": 2,
          style: { stroke: ink("lost"), fill: "none" },
        }),
      );
    }
    const few = `stage ${stage}, task ${part}, ${secs(length)}`;
    const label = [few, `${stage}: task ${part}`, String(stage)].find(
      (one) => wide >= (one.length > 3 ? reach(one) + 4 : one.length * 6.5 + 2),
    );
    const low = box.high >= 26 ? box.y + box.high - 7 : box.y + box.high / 2 + 4;
    const room = Math.min(wide - 2, (label?.length || 0) * 5.2 + 6);
    if (label && state === "r" && box.high >= 12)
      // Stripes would stand in the text.
      g.append(sv("g", {}, rect(middle - room / 2, low - 11, room, 15, { fill: ink("bg") })));
    if (label && box.high >= 12 && state !== "l")
      g.append(
        sv("text", {
          class: "sl-in",
          x: middle,
          y: low,
          "text-anchor": "middle",
          text: label,
          style: { fill: ON[state] || ink("fg") },
        }),
      );
    if (turned)
      g.append(
        sv(
          "g",
          { transform: `translate(${middle - Math.min(6, wide / 2)} ${box.y + 4})` },
          arrow(Math.min(12, wide), "#000"),
        ),
      );
  }

  hoverBar(at) {
    const bar = at ? at.bar : null;
    if (bar === this.hovered) return;
    this.hovered = bar;
    this.lightBar();
    this.foot();
  }

  // All attempts at the partition that is pointed at or was chosen, here or in the DAG.
  lightBar() {
    const bar = this.hovered || this.link;
    if (!this.bars || this.art?.parentNode !== this.ui.view) return;
    const all = bar ? this.bars.filter((one) => one.stage === bar.stage && one.part === bar.part) : [];
    patch(
      this.layers.lit,
      sv(
        "g",
        {},
        ...all.map((one) =>
          sv("rect", {
            class: "sl-pick",
            x: one.x - 2.5,
            y: one.y - 2.5,
            width: one.wide + 5,
            height: one.high + 5,
            rx: 2,
          }),
        ),
      ),
    );
  }

  chooseBar(bar) {
    this.link = { stage: bar.stage, part: bar.part, attempt: bar.attempt };
  }

  // The bar of the chosen partition: the attempt that was chosen here, or its last.
  linkedBar(bars) {
    const all = this.link ? bars.filter((one) => one.stage === this.link.stage && one.part === this.link.part) : [];
    return all.find((one) => one.attempt === this.link.attempt) || all.at(-1) || null;
  }
}
