// The shapes of a partition's states: each a shape, a colour and a border, told apart in grey as well.

import { ink, rect, sv } from "./dom.js";

export const NAMES = {
  w: "waiting",
  r: "running",
  d: "done",
  m: "cached in memory",
  k: "cached on disk",
  M: "cached, two copies",
  l: "lost",
  a: "recomputed",
  s: "skipped",
  f: "failed",
  n: "not run yet (lazy)",
};
export const SHORT = { m: "in memory", k: "on disk", M: "in two copies" };
export const TINTS = { r: "run", d: "done", m: "mem", k: "mem", M: "mem", l: "lost", a: "re", f: "fg" };
export const HELD = "mkM";
export const WORST = "flarkmMwsdn"; // what a crowded picture must not hide, first
export const STROKES = [0, 2.5, 6, 9, 13];
export const EDGES = [
  ["narrow", 1.5],
  ["< 1 MiB", 2.5],
  ["< 10 MiB", 6],
  ["< 100 MiB", 9],
  ["100 MiB and more", 13],
];

// The turned arrow of what was computed again.
export function arrow(size, colour) {
  const path = (d) => sv("path", { d, "stroke-width": size < 14 ? 1.7 : 1.4, style: { fill: "none", stroke: colour } });
  return sv(
    "g",
    { transform: `translate(${size * 0.02} ${size * 0.02}) scale(${size / 12})` },
    path("M8.9 4.1A3.5 3.5 0 1 0 9.4 7.2"),
    path("M9.5 1.3V4.6H6.2"),
  );
}

export function shape(state, size, uid) {
  const c = size / 2;
  const w = size - 1;
  const box = (fill, stroke, more) => rect(0.5, 0.5, w, w, { fill, stroke }, more);
  const dot = (r) => sv("circle", { cx: c, cy: c, r, style: { fill: ink("mem") } });
  const path = (d, stroke, width) => sv("path", { d, "stroke-width": width, style: { fill: "none", stroke } });
  const bg = ink("bg");
  const mem = ink("mem");
  const lost = ink("lost");
  const fg = ink("fg");
  const edge = ink("edge");
  switch (state) {
    case "r":
      return [box(`url(#${uid}-run)`, edge)];
    case "d":
      return [box(ink("done"), ink("done"))];
    case "m":
      return [box(bg, mem), dot(size * 0.27)];
    case "k":
      return [box(`url(#${uid}-disk)`, mem)];
    case "M":
      return [
        box(bg, mem),
        rect(3, 3, size - 6, size - 6, { fill: size < 10 ? mem : "none", stroke: mem }),
        size < 10 ? null : dot(size * 0.17),
      ];
    case "l": {
      const i = size * 0.24;
      return [
        box(bg, lost),
        path(`M${i} ${i}L${size - i} ${size - i}M${size - i} ${i}L${i} ${size - i}`, lost, size < 10 ? 1.6 : 2.4),
      ];
    }
    case "a":
      return [box(ink("re"), edge), arrow(size, "#000")];
    case "s":
      return [box("none", ink("wait"), { "stroke-dasharray": "2 2" })];
    case "f":
      return [
        box(fg, fg),
        rect(c - size * 0.075, size * 0.2, size * 0.15, size * 0.38, { fill: bg }),
        rect(c - size * 0.075, size * 0.66, size * 0.15, size * 0.15, { fill: bg }),
      ];
    case "o":
      return [
        rect(
          size * 0.28,
          size * 0.28,
          size * 0.44,
          size * 0.44,
          { fill: "none", stroke: mem },
          { "stroke-width": 1.5 },
        ),
      ];
    default:
      return [box(bg, ink("wait"))];
  }
}

// Servers of a ring: a colour and a pattern each, so that grey tells them apart.
export const INKS = [
  ["done", ""],
  ["re", "M0 6L6 0"],
  ["run", "M0 3H6"],
  ["mem", "M2 3h2"],
  ["thick", "M3 0V6"],
  ["cell", "M0 6L6 0M0 0L6 6"],
];

export function definitions(uid) {
  const stripe = sv(
    "pattern",
    { id: `${uid}-run`, width: 5.2, height: 5.2, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    sv("rect", { width: 5.2, height: 5.2, style: { fill: ink("bg") } }),
    sv("rect", { width: 3, height: 5.2, style: { fill: ink("run") } }),
  );
  const lines = sv(
    "pattern",
    { id: `${uid}-disk`, width: 4, height: 3.5, patternUnits: "userSpaceOnUse" },
    sv("rect", { width: 4, height: 3.5, style: { fill: ink("bg") } }),
    sv("rect", { width: 4, height: 1.7, style: { fill: ink("mem") } }),
  );
  const symbols = [];
  for (const state of "wrdmkMlasfo")
    for (const size of [20, 16, 13, 8])
      symbols.push(sv("g", { id: `${uid}-${state}${size}` }, ...shape(state, size, uid)));
  const hatch = sv(
    "pattern",
    { id: `${uid}-hatch`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    sv("line", { x1: 0, y1: 0, x2: 0, y2: 5, "stroke-width": 2.4, style: { stroke: ink("edge") } }),
  );
  const servers = INKS.map(([colour, d], i) =>
    sv(
      "pattern",
      { id: `${uid}-server${i}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
      sv("rect", { width: 6, height: 6, style: { fill: ink(colour) } }),
      d ? sv("path", { d, "stroke-width": 1.6, style: { stroke: ink("edge") } }) : null,
    ),
  );
  return sv(
    "svg",
    { class: "sl-defs", "aria-hidden": "true" },
    sv("defs", {}, stripe, lines, hatch, ...servers, ...symbols),
  );
}
