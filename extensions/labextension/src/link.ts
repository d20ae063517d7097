/**
 * The link to the kernel of the notebook in front.
 *
 * `%load_ext sparklab` leaves a comm in the kernel that nobody has to open; a front end finds it by `comm_info` and
 * speaks to it. So a kernel without sparklab is never asked for anything it does not know, and a page that is loaded
 * again finds the same comm. While the main thread is busy, the question and the commands travel by a subshell.
 */

import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';

export const TARGET = 'sparklab.side';

export interface Executor {
  executor: number;
  alive: boolean;
  running: number;
  cached: number;
  used_bytes: number;
  budget_bytes: number;
}

export interface Job {
  job: number;
  name: string;
  cell: string;
  status: string;
  done: number;
  of: number;
}

export interface Stored {
  name: string;
  cached: number;
  of: number;
  memory_bytes: number;
  disk_bytes: number;
}

/** What the kernel says of its context; null stands for "no sparklab in this kernel". */
export interface Status {
  state: string;
  title: string;
  executors: Executor[];
  jobs: Job[];
  stored: Stored[];
  panel: string | null;
}

interface Answer {
  ok: boolean;
  message: string;
}

const ANSWER_MS = 10_000;
const PATIENCE_MS = 300;

type Comms = Record<string, unknown>;

export class Link {
  constructor(notebooks: INotebookTracker) {
    this._notebooks = notebooks;
    notebooks.currentChanged.connect(() => this._follow());
    this._follow();
  }

  /** Emitted when `status` is another. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get status(): Status | null {
    return this._status;
  }

  /** Whether the kernel has been asked and has not answered: it may be busy. */
  get asking(): boolean {
    return this._looking;
  }

  /** The notebook that is followed. */
  get notebook(): NotebookPanel | null {
    return this._notebook;
  }

  /** What the kernel answers to a command; it rejects where nothing answers within ten seconds. */
  send(cmd: string): Promise<Answer> {
    const comm = this._comm;
    if (comm === null) {
      return Promise.reject(new Error('no sparklab in this kernel: run %load_ext sparklab'));
    }
    const id = ++this._sent;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this._waiting.delete(id);
        reject(new Error(`the kernel has not answered ${cmd} for ${ANSWER_MS / 1000} s; Jupyter's Stop always works`));
      }, ANSWER_MS);
      this._waiting.set(id, answer => {
        clearTimeout(timer);
        resolve(answer);
      });
      comm.send({ cmd, id });
    });
  }

  private _follow(): void {
    const notebook = this._notebooks.currentWidget;
    if (notebook === this._notebook) {
      return;
    }
    this._notebook?.sessionContext.kernelChanged.disconnect(this._kernelChanged, this);
    this._notebook?.sessionContext.statusChanged.disconnect(this._statusChanged, this);
    this._notebook = notebook;
    notebook?.sessionContext.kernelChanged.connect(this._kernelChanged, this);
    notebook?.sessionContext.statusChanged.connect(this._statusChanged, this);
    this._kernelChanged();
  }

  private _kernelChanged(): void {
    this._forget();
    void this._look();
  }

  private _statusChanged(_sender: unknown, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
      this._forget();
    } else if (status === 'idle' && this._comm === null) {
      // A cell has ended, and it may have been the one that loads sparklab.
      void this._look();
    }
  }

  private _forget(): void {
    if (this._comm !== null) {
      this._comm.onMsg = () => undefined;
      this._comm.onClose = () => undefined;
      this._comm = null;
    }
    this._waiting.clear();
    this._set(null);
  }

  private async _look(): Promise<void> {
    const kernel = this._notebook?.sessionContext.session?.kernel;
    if (!kernel || this._looking) {
      return;
    }
    this._looking = true;
    this._changed.emit();
    try {
      await kernel.info;
      const reply = await asked(kernel);
      const found = Object.keys(reply)[0];
      if (found !== undefined && kernel === this._notebook?.sessionContext.session?.kernel) {
        this._speak(kernel, found);
      }
    } catch {
      // The kernel went while it was asked; its next status asks again.
    } finally {
      this._looking = false;
      this._changed.emit();
    }
    if (this._comm === null && kernel !== this._notebook?.sessionContext.session?.kernel) {
      void this._look(); // another kernel has come meanwhile
    }
  }

  private _speak(kernel: Kernel.IKernelConnection, id: string): void {
    const comm = kernel.hasComm(id) ? this._comm : kernel.createComm(TARGET, id);
    if (comm === null) {
      return;
    }
    this._comm = comm;
    comm.onMsg = message => this._heard(message.content.data as Record<string, unknown>);
    comm.onClose = () => this._forget();
    comm.send({ cmd: 'hello', id: 0 });
  }

  private _heard(data: Record<string, unknown>): void {
    if (data.type === 'status') {
      this._set(data.status as Status | null);
    } else if (data.type === 'answer' && typeof data.id === 'number') {
      const resolve = this._waiting.get(data.id);
      this._waiting.delete(data.id);
      resolve?.({ ok: data.ok === true, message: String(data.message) });
    }
  }

  private _set(status: Status | null): void {
    this._status = status;
    this._changed.emit();
  }

  private _notebooks: INotebookTracker;
  private _notebook: NotebookPanel | null = null;
  private _comm: Kernel.IComm | null = null;
  private _status: Status | null = null;
  private _looking = false;
  private _sent = 0;
  private _waiting = new Map<number, (answer: Answer) => void>();
  private _changed = new Signal<this, void>(this);
}

/** The comms of sparklab in `kernel`, also while its main thread is busy. */
async function asked(kernel: Kernel.IKernelConnection): Promise<Comms> {
  const straight = comms(kernel);
  // A kernel that is idle now may have been sent the next cell before our question.
  const first = await Promise.race([straight, new Promise<null>(resolve => setTimeout(resolve, PATIENCE_MS, null))]);
  if (first !== null || !kernel.supportsSubshells) {
    return first ?? straight;
  }
  // A connection of our own, so that its subshell carries nothing else.
  const asker = kernel.clone({ handleComms: false });
  try {
    const made = await asker.requestCreateSubshell({}).done;
    asker.subshellId = made.content.subshell_id;
    return await Promise.race([straight, comms(asker)]);
  } finally {
    if (asker.subshellId) {
      await asker.requestDeleteSubshell({ subshell_id: asker.subshellId }).done;
    }
    asker.dispose();
  }
}

async function comms(asker: Kernel.IKernelConnection): Promise<Comms> {
  const reply = await asker.requestCommInfo({ target_name: TARGET });
  return reply.content.status === 'ok' ? reply.content.comms : {};
}
