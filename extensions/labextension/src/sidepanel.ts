/** The side panel: the newest live panel of the kernel in front, and tables of what its context holds. */

import { IRenderMime, MimeModel } from '@jupyterlab/rendermime';
import { LabIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { Panel, Widget } from '@lumino/widgets';

import { Link, Status } from './link';

const VIEW = 'application/vnd.jupyter.widget-view+json';

export const icon = new LabIcon({
  name: 'sparklab:icon',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="16">' +
    '<g class="jp-icon3" fill="#616161"><path d="M3 3.2h7v1.2H3zM3 11.6h7v1.2H3z"/>' +
    '<path d="M1 1.5h4.4v4.6H1zM1 9.9h4.4v4.6H1zM6.6 1.5H11v4.6H6.6zM6.6 9.9H11v4.6H6.6z"/>' +
    '<circle cx="13.2" cy="8" r="2.3"/></g></svg>'
});

export class SidePanel extends Panel {
  constructor(link: Link) {
    super();
    this.id = 'sparklab-side-panel';
    this.title.icon = icon;
    this.title.caption = 'SparkLab: the context of the notebook in front';
    this.addClass('sparklab-side');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'SparkLab');
    this._link = link;
    this._head = element('div', 'sparklab-side-head');
    this._said = element('div', 'sparklab-side-said');
    this._said.setAttribute('aria-live', 'polite');
    this._tables = element('div', 'sparklab-side-tables');
    this._view = new Panel();
    this._view.addClass('sparklab-side-view');
    const top = new Widget();
    top.node.append(this._head, this._buttons(), this._said);
    const bottom = new Widget({ node: this._tables });
    this.addWidget(top);
    this.addWidget(this._view);
    this.addWidget(bottom);
    link.changed.connect(() => this._draw(), this);
    this._draw();
  }

  /** The kernel's answer to `cmd` stands in the panel. */
  async carryOut(cmd: string): Promise<boolean> {
    this._said.textContent = 'asked…';
    try {
      const answer = await this._link.send(cmd);
      this._said.textContent = answer.message;
      return answer.ok;
    } catch (error) {
      this._said.textContent = error instanceof Error ? error.message : String(error);
      return false;
    }
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._draw();
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._show(null);
  }

  private _buttons(): HTMLElement {
    const row = element('div', 'sparklab-side-buttons');
    this._cancel = button('Cancel all jobs', () => void this.carryOut('cancel-all'));
    this._freeze = button('Freeze', () => void this.carryOut('freeze'));
    this._freeze.title = 'Leave each live panel as a picture that a saved notebook keeps';
    row.append(this._cancel, this._freeze);
    return row;
  }

  private _draw(): void {
    const status = this._link.status;
    this._cancel.disabled = !status?.jobs.some(job => job.status === 'running');
    this._freeze.disabled = status === null;
    if (status === null) {
      this._head.textContent = !this._link.notebook
        ? 'Open a notebook, then in a cell: %load_ext sparklab'
        : this._link.asking
          ? 'The kernel has not answered yet: it is busy. Stop works at any time.'
          : 'This kernel has no sparklab. In a cell: %load_ext sparklab';
      this._said.textContent = '';
      this._tables.replaceChildren();
      this._show(null);
      return;
    }
    this._head.textContent = status.title;
    // A view that nobody sees would be drawn all the same, ten times a second.
    this._show(this.isVisible ? status.panel : null);
    this._tables.replaceChildren(...tables(status));
  }

  /** A second view of the widget `model`, drawn by the very module that draws it under its cell. */
  private _show(model: string | null): void {
    if (model === this._model) {
      return;
    }
    this._model = model;
    while (this._view.widgets.length) {
      this._view.widgets[0].dispose();
    }
    const rendermime = this._link.notebook?.content.rendermime;
    if (model === null || rendermime === undefined) {
      return;
    }
    const data = { [VIEW]: { version_major: 2, version_minor: 1, model_id: model } };
    if (rendermime.preferredMimeType(data, 'any') !== VIEW) {
      return;
    }
    const renderer: IRenderMime.IRenderer = rendermime.createRenderer(VIEW);
    this._view.addWidget(renderer);
    renderer.renderModel(new MimeModel({ data, trusted: true })).catch(() => {
      // The panel froze in the meantime; the next status names another, or none.
      renderer.dispose();
    });
  }

  private _link: Link;
  private _head: HTMLElement;
  private _said: HTMLElement;
  private _tables: HTMLElement;
  private _view: Panel;
  private _cancel!: HTMLButtonElement;
  private _freeze!: HTMLButtonElement;
  private _model: string | null = null;
}

function tables(status: Status): HTMLElement[] {
  const running = (n: number) => (n ? `${n} running` : 'idle');
  return [
    table(
      'Jobs',
      ['job', 'cell', 'tasks', ''],
      status.jobs.map(job => [`${job.job} ${job.name}`, job.cell, `${job.done}/${job.of}`, job.status]),
      'No job has run yet.'
    ),
    table(
      'Executors',
      ['', '', 'cached', 'of the budget'],
      status.executors.map(executor => [
        String(executor.executor),
        executor.alive ? running(executor.running) : 'dead',
        String(executor.cached),
        `${sizeText(executor.used_bytes)} of ${sizeText(executor.budget_bytes)}`
      ]),
      'No executor yet.'
    ),
    table(
      'Cache',
      ['RDD', 'partitions', 'memory', 'disk'],
      status.stored.map(stored => [
        stored.name,
        `${stored.cached}/${stored.of}`,
        sizeText(stored.memory_bytes),
        sizeText(stored.disk_bytes)
      ]),
      'Nothing is cached: rdd.persist() keeps what an action computes.'
    )
  ];
}

function table(caption: string, heads: string[], rows: string[][], empty: string): HTMLElement {
  const section = element('section', '');
  const title = element('h3', '');
  title.textContent = caption;
  section.append(title);
  if (rows.length === 0) {
    const nothing = element('p', '');
    nothing.textContent = empty;
    section.append(nothing);
    return section;
  }
  const made = document.createElement('table');
  made.setAttribute('aria-label', caption);
  const head = made.createTHead().insertRow();
  for (const text of heads) {
    const cell = document.createElement('th');
    cell.textContent = text;
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) {
      line.insertCell().textContent = text;
    }
  }
  section.append(made);
  return section;
}

// As size_text in sparklab/quantities.py writes it.
function sizeText(bytes: number): string {
  if (bytes >= 2 ** 30) {
    return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  }
  if (bytes >= 2 ** 20 / 10) {
    return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  }
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(0)} KiB` : `${bytes} B`;
}

function element(tag: string, name: string): HTMLElement {
  const made = document.createElement(tag);
  if (name) {
    made.className = name;
  }
  return made;
}

function button(text: string, act: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'jp-mod-styled jp-mod-minimal';
  made.textContent = text;
  made.addEventListener('click', act);
  return made;
}
