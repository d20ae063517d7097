// What stands around the views of a panel: the strip, the tabs of jobs, the legend and the foot.

import { count, drawing, el, ink, plural, say, span, sv } from "./dom.js";
import { spark } from "./geometry.js";
import { EDGES, NAMES } from "./shapes.js";

export class FrameMethods {
  strip(data) {
    const s = data.strip || {};
    const box = this.ui.strip;
    const mode = `${data.running}|${s.state}|${this.off}|${this.busy("cancel")}`;
    if (box.dataset.mode !== mode) {
      box.dataset.mode = mode;
      box.replaceChildren();
      const open = this.button("Open", () => this.unfold(true), { "aria-label": "Open the panel" });
      this.parts = {
        text: el("span", { class: "sl-strip-text" }),
        time: el("span"),
        done: el("i"),
        run: el("i"),
        of: el("span"),
      };
      box.append(this.glyph(s.state || "w"), this.parts.text);
      if (data.running) {
        const stop = this.button(this.busy("cancel") ? "Cancelling" : "Cancel", () => this.mainButton(), {
          disabled: Boolean(this.over) || this.busy("cancel"),
        });
        this.parts.name = el("b");
        this.parts.where = el("span");
        this.parts.text.append(this.parts.name, this.parts.where);
        box.append(
          el(
            "div",
            { class: "sl-meter", role: "progressbar", "aria-label": "tasks", "aria-valuemin": 0 },
            this.parts.done,
            this.parts.run,
          ),
          this.parts.of,
          el("span", { class: "sl-space" }),
          this.parts.time,
          el("span", { class: "sl-mini" }, stop, open),
        );
      } else box.append(el("span", { class: "sl-space" }), open);
    }
    if (!data.running) {
      say(this.parts.text, data.head);
      return;
    }
    say(this.parts.name, s.name || data.head);
    say(this.parts.where, s.where ? `, ${s.where}` : "");
    const of = Math.max(1, s.total || 0);
    const meter = box.querySelector(".sl-meter");
    meter.setAttribute("aria-valuemax", of);
    meter.setAttribute("aria-valuenow", s.done || 0);
    this.parts.done.style.width = `${(100 * (s.done || 0)) / of}%`;
    this.parts.run.style.width = `${(100 * (s.running || 0)) / of}%`;
    this.parts.run.hidden = !s.running;
    say(this.parts.of, s.total ? `${count(s.done)}/${count(s.total)}` : "");
    const silent = this.silence();
    say(
      this.parts.time,
      this.over
        ? "this run is over"
        : silent
          ? `no word from the kernel for ${silent} s`
          : this.loud
            ? this.notice
            : s.time || "",
    );
  }

  jobs(data) {
    const tabs = data.jobs || [];
    const sig = JSON.stringify([tabs, data.job, this.job]);
    if (sig === this.jobsDrawn) return;
    this.jobsDrawn = sig;
    this.ui.jobs.replaceChildren(
      ...(tabs.length < 2 && !(tabs[0]?.n > 1)
        ? []
        : tabs.map((tab) =>
            this.button("", () => this.showJob(tab.job), {
              class: "sl-job",
              "aria-pressed": String(tab.job === data.job),
              title: tab.title,
            }),
          )),
    );
    [...this.ui.jobs.children].forEach((button, i) => {
      button.append(span(tabs[i].label));
      if (tabs[i].n > 1) button.append(spark(tabs[i].walls || []), span(`x ${count(tabs[i].n)}`));
    });
  }

  // One drawer for what is folded away: the legend, the log or the options.
  fold(data) {
    const box = this.ui.drawer;
    const log = data.log?.length ? data.log : ["Nothing has been lost, evicted or warned of."];
    box.hidden = !this.drawer;
    if (this.drawer === "Legend") {
      this.legend(data, box);
      return;
    }
    const sig = this.drawer === "Log" ? log.join("\n") : this.drawer;
    if (!sig || sig === this.drawerDrawn) return;
    this.drawerDrawn = sig;
    box.replaceChildren(
      ...(this.drawer === "Log"
        ? [el("div", { class: "sl-log", tabindex: "0" }, ...log.map((text) => el("div", { text })))]
        : [this.ui.lecture, this.ui.pause]),
    );
  }

  legend(data, box) {
    if (this.tab === "timeline") {
      const { states, items } = this.timeLegend(data.timeline);
      const sig = states.join("") + items.map((one) => one.textContent).join();
      if (sig === this.drawerDrawn) return;
      this.drawerDrawn = sig;
      box.replaceChildren(...states.map((state) => el("span", {}, this.glyph(state), span(NAMES[state]))), ...items);
      return;
    }
    if (this.tab === "training") {
      if (this.drawerDrawn === "training") return;
      this.drawerDrawn = "training";
      const sample = (style) => drawing(16, 14, sv("rect", { x: 0.5, y: 0.5, width: 15, height: 13, style }));
      box.replaceChildren(
        ...[
          [{ fill: ink("done") }, "a block: one completed clock"],
          [{ fill: `url(#${this.uid}-hatch)`, stroke: ink("edge") }, "hatched: time spent waiting for slower workers"],
        ].map(([style, words]) => el("span", {}, sample(style), span(words))),
      );
      return;
    }
    const cache = this.tab === "cache";
    const present = new Set((data.dag?.edges || []).map((edge) => (edge.sh < 0 ? 0 : edge.w)));
    const states = cache
      ? Object.keys(NAMES).filter((state) => data.cache.rows.some((row) => row.p.includes(state)))
      : [...data.legend];
    const widths = cache ? [] : EDGES.filter((_, i) => present.has(i));
    const sig = states.join("") + widths.join();
    if (sig === this.drawerDrawn) return;
    this.drawerDrawn = sig;
    box.replaceChildren(
      ...states.map((state) => el("span", {}, this.glyph(state), span(NAMES[state]))),
      ...widths.map(([name, width]) =>
        el(
          "span",
          {},
          drawing(
            26,
            14,
            sv("line", { x1: 0, x2: 26, y1: 7, y2: 7, "stroke-width": width, style: { stroke: ink("thick") } }),
          ),
          el("span", { text: name === "narrow" ? "narrow: no data moves" : `shuffle, ${name}` }),
        ),
      ),
    );
  }

  foot() {
    const data = this.data;
    const u = this.ui;
    const silent = this.silence();
    this.wasSilent = silent;
    if (!this.unfolded) {
      this.update();
      return;
    }
    const loud =
      this.over ||
      this.synced.over ||
      (silent && `no word from the kernel for ${silent} s`) ||
      (this.loud && this.notice);
    say(
      u.text,
      loud ||
        this.notice ||
        (this.tab === "cache"
          ? data.cache?.log
          : this.tab === "timeline"
            ? this.timeWords(data.timeline)
            : data[this.tab]?.foot || data.foot) ||
        "",
    );
    u.text.title = u.text.textContent;
    u.text.classList.toggle("sl-loud", Boolean(loud || data.error));
    say(
      u.behind,
      this.paused ? `Paused, ${plural(Math.max(0, this.synced.seq - this.paused.seq), "fact")} behind` : "",
    );
    const [of, make] =
      this.tab === "cache"
        ? this.rowActions(data.cache)
        : this.tab === "dag"
          ? this.dagActions(data.dag)
          : this.tab === "training"
            ? this.trainActions(data.training)
            : ["", () => []];
    const key = `${of}|${Boolean(this.paused)}`;
    if (key !== u.actions.dataset.of) {
      u.actions.dataset.of = key;
      u.actions.replaceChildren(...make(), ...(this.paused ? [this.button("Resume", () => this.pause(false))] : []));
    }
  }
}
