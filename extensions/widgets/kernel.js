// What goes to the kernel and comes back: commands are sent, acknowledged and answered; the picture waits for facts.

import { say } from "./dom.js";

const HELLO_MS = 3000;
const ACK_MS = 1000;
const SILENT_MS = 3000;

export class KernelMethods {
  listen() {
    const on = (name, act) => {
      this.model.on(name, act);
      this.stop.signal.addEventListener("abort", () => this.model.off(name, act));
    };
    on("change:model", () => {
      this.heard = performance.now();
      this.over = "";
      this.follow();
      this.update();
    });
    on("change:form", () => {
      this.unfolded = this.model.get("form") !== "strip";
      this.update();
    });
    on("change:alive", () => this.ended());
    on("msg:custom", (message) => this.receive(message));
    for (const name of ["comm:close", "comm_live_update", "destroy"]) on(name, () => this.ended(true));
    this.send("hello", {});
    this.after(HELLO_MS, () => {
      if (this.pending.size && !this.silence()) this.update();
    });
    const beat = setInterval(() => {
      if (this.silence() !== this.wasSilent) this.foot();
    }, 500);
    const look = () => {
      this.room = this.panel.clientWidth;
      this.theme();
      this.redraw();
    };
    // While a theme is changed, nothing may have its width.
    const watch = new MutationObserver(() => {
      look();
      requestAnimationFrame(look);
    });
    watch.observe(document.body, {
      attributes: true,
      attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"],
    });
    // A notebook builds cells out of sight: what was drawn without a width is drawn again when there is one.
    const room = new ResizeObserver(() => {
      const now = this.panel.clientWidth;
      if (now && Math.abs(now - (this.room || 0)) > 8) {
        this.room = now;
        this.theme();
        this.redraw();
      }
    });
    room.observe(this.panel);
    this.stop.signal.addEventListener("abort", () => {
      clearInterval(beat);
      watch.disconnect();
      room.disconnect();
      for (const t of this.timers) clearTimeout(t);
    });
  }

  ended(lost) {
    if (lost || this.model.get("alive") === false)
      this.over = "this run is over: its kernel has ended or was restarted";
    this.update();
  }

  silence() {
    const running = this.synced.running && !this.over && !this.model.get("recorded");
    const ms = performance.now() - this.heard;
    return running && ms > SILENT_MS ? Math.floor(ms / 1000) : 0;
  }

  send(cmd, args, what) {
    const id = ++this.number;
    this.pending.set(id, { cmd, what });
    try {
      this.model.send({ cmd, ...args, id });
    } catch {
      this.over = "this run is over: no way to its kernel";
    }
    if (what) {
      this.tell(`${what} ...`);
      this.after(ACK_MS, () => {
        if (this.pending.has(id) && !this.pending.get(id).heard)
          this.tell(
            `${what}: the kernel has not acknowledged this in 1 s. If it is busy, the notebook's Stop button interrupts it.`,
            true,
          );
      });
    }
    return id;
  }

  receive(message) {
    if (!message || typeof message !== "object") return;
    this.heard = performance.now();
    const asked = this.pending.get(message.id);
    if (message.type === "ack" && asked) {
      asked.heard = true;
      if (asked.what) this.tell(`${asked.what}: acknowledged`);
    } else if (message.type === "hello") this.pending.delete(message.id);
    else if (message.type === "snapshot") {
      this.pending.delete(message.id);
      if (message.id === this.wanted) {
        this.wanted = null;
        if (this.job !== null || this.opened.length) {
          this.other = message.model;
          this.update();
        }
      }
    } else if (message.type === "answer" && asked) {
      this.pending.delete(message.id);
      if (asked.into) {
        asked.into.lines = message.ok ? message.records : [message.error || "refused"];
        asked.into.bad = !message.ok;
        this.update();
        return;
      }
      this.tell(
        message.ok ? message.message || `${asked.what}: done` : `${asked.what}: ${message.error || "refused"}`,
        !message.ok,
      );
      this.update();
    }
  }

  look(cmd, args, key) {
    const into = { key, lines: [cmd === "peek" ? "..." : "computing ..."] };
    this.pending.get(this.send(cmd, args)).into = into;
    return into;
  }

  tell(text, loud) {
    this.notice = text;
    this.loud = Boolean(loud);
    this.foot();
    say(this.ui.live, text);
  }

  busy(cmd) {
    return [...this.pending.values()].some((asked) => asked.cmd === cmd);
  }

  follow() {
    const synced = this.synced;
    if (this.job !== null && !(synced.jobs || []).some((tab) => tab.job === this.job)) this.job = null;
    if (this.job === null && !this.opened.length) {
      this.other = null;
      return;
    }
    if (!this.wanted && !this.paused) this.ask();
  }

  ask() {
    this.paused = null;
    this.wanted = this.send("snapshot", { job: this.job, open: this.opened });
    this.after(HELLO_MS, () => {
      this.wanted = null;
    });
  }

  mainButton() {
    const { running, active, training } = this.synced;
    const runs = training?.active || [];
    if (active?.length) this.send("cancel", { jobs: active }, "Cancel");
    else if (runs.length) for (const run of runs) this.send("train-stop", { run }, "Stop training");
    else if (running) this.send("cancel", { jobs: [] }, "Cancel");
    else this.send("reset", {}, "Reset");
    this.update();
  }
}
