// Small geometry: the routes of edges, what lies under the pointer, which node is next.

import { drawing, sv } from "./dom.js";

// Level stretches, and an S where the height changes; the last `back` px belong to the arrow head.
export function route(points, back) {
  let [x, y] = points[0];
  let d = `M${x} ${y}`;
  points.slice(1).forEach(([nx, ny], i) => {
    const last = i === points.length - 2;
    const tx = last ? nx - back : nx;
    const mid = (x + tx) / 2;
    d += Math.abs(ny - y) < 0.5 ? `H${tx}` : `C${mid} ${y} ${mid} ${ny} ${tx} ${ny}`;
    x = tx;
    y = ny;
  });
  return d;
}

export function partAt(node, x, y) {
  const [kind, gx, gy, columns, , pitchX, pitchY] = node.g;
  if (kind === "none" || kind === "bar") return null;
  const column = Math.floor((x - gx + 1) / pitchX);
  const row = Math.floor((y - gy + 1) / pitchY);
  const at = row * columns + column;
  return column >= 0 && column < columns && row >= 0 && at < node.p.length ? at * (node.bin || 1) : null;
}

export function ancestors(dag, key) {
  const near = new Set([key]);
  const stack = [key];
  while (stack.length) {
    const at = stack.pop();
    for (const edge of dag.edges)
      if (edge.b === at && !near.has(edge.a)) {
        near.add(edge.a);
        stack.push(edge.a);
      }
  }
  return near;
}

export function neighbour(nodes, key, arrow) {
  const from = nodes.find((n) => n.k === key);
  const side = arrow === "ArrowLeft" || arrow === "ArrowRight";
  const sign = arrow === "ArrowRight" || arrow === "ArrowDown" ? 1 : -1;
  const mid = (n) => [n.x + n.w / 2, n.y + n.h / 2];
  const [fx, fy] = mid(from);
  let best = null;
  let least = Infinity;
  for (const n of nodes) {
    const [x, y] = mid(n);
    const along = (side ? x - fx : y - fy) * sign;
    const across = Math.abs(side ? y - fy : x - fx);
    const cost = along + 2 * across;
    if (along > 1 && cost < least) {
      best = n.k;
      least = cost;
    }
  }
  return best;
}

export function spark(walls) {
  const high = Math.max(...walls, 1e-9);
  const step = 40 / Math.max(1, walls.length - 1);
  return drawing(
    42,
    12,
    sv("polyline", {
      points: walls.map((w, i) => `${(1 + i * step).toFixed(1)},${(11 - (10 * w) / high).toFixed(1)}`).join(" "),
      "stroke-width": 1.2,
      style: { fill: "none", stroke: "currentColor" },
    }),
  );
}
