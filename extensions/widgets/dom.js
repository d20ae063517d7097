// Making elements: text is always set as text, never as HTML.

export const SVG = "http://www.w3.org/2000/svg";
export const WIDTH = 1101; // of "Stage 2, 24 tasks, 0.09 s" at 100 px, as the kernel reckons
export const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ","); // toLocaleString takes longer than the drawing
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

// As size_text in sparklab/quantities.py writes it.
export function sizeText(bytes) {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  if (bytes >= 2 ** 20 / 10) return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(0)} KiB` : `${bytes} B`;
}

export function put(node, attrs, kids) {
  for (const [key, value] of Object.entries(attrs || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const kid of kids || []) if (kid) node.append(kid);
  return node;
}
export const el = (tag, attrs, ...kids) => put(document.createElement(tag), attrs, kids);
export const div = (name, ...kids) => el("div", { class: name }, ...kids);
export const bold = (text) => el("b", { text });
export const span = (text) => el("span", { text });
export const sv = (tag, attrs, ...kids) => put(document.createElementNS(SVG, tag), attrs, kids);
export const drawing = (width, height, ...kids) => sv("svg", { width, height, "aria-hidden": "true" }, ...kids);
export const ink = (name) => `var(--sl-${name})`;
export const px = (n) => `${Math.round(n * 100) / 100}px`;
export const rect = (x, y, width, height, style, more) => sv("rect", { x, y, width, height, style, ...more });
export const place = (x, y, w, h) => ({ left: px(x), top: px(y), width: px(w), height: px(h) });
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// `was` becomes what `now` is by the least change: each new element is held against all of a notebook's style rules.
export function patch(was, now) {
  for (const { name } of [...was.attributes]) if (!now.hasAttribute(name)) was.removeAttribute(name);
  for (const { name, value } of now.attributes) if (was.getAttribute(name) !== value) was.setAttribute(name, value);
  const kids = [...now.childNodes];
  kids.forEach((kid, i) => {
    const old = was.childNodes[i];
    if (!old) was.append(kid);
    else if (old.nodeName !== kid.nodeName) old.replaceWith(kid);
    else if (kid.nodeType === 3) {
      if (old.data !== kid.data) old.data = kid.data;
    } else patch(old, kid);
  });
  while (was.childNodes.length > kids.length) was.lastChild.remove();
}

// JupyterLab takes a key for a shortcut of the notebook's before its target has seen it, unless the target says no.
const KEYED = "input, select, .sl-node, .sl-rdd, .sl-time, .sl-tab[role=tab], .sl-replay, .sl-replay button";
export function keep(target) {
  if (target.matches?.(KEYED)) target.setAttribute("data-lm-suppress-shortcuts", "true");
}

// A notebook has shortcuts of its own.
export function own(event) {
  event.preventDefault();
  event.stopPropagation();
}

export function axis(x, y, text, back = "0") {
  return el("span", {
    class: "sl-axis",
    "aria-hidden": "true",
    text,
    style: { left: px(x), top: px(y), transform: `translateX(-${back})` },
  });
}

// Positions come from Helvetica's widths: a much wider font of the notebook's is not taken.
export function wide(family) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `100px ${family}`;
  return pen.measureText("Stage 2, 24 tasks, 0.09 s").width > WIDTH * 1.06;
}

export function shorten(text, length) {
  return text.length <= length
    ? text
    : `${text.slice(0, Math.ceil((length - 1) / 2))}…${text.slice(-Math.floor((length - 1) / 2))}`;
}

export function resolve(panel, name) {
  const probe = el("span", { style: { color: ink(name) } });
  panel.append(probe);
  const got = getComputedStyle(probe).color;
  probe.remove();
  return got;
}
