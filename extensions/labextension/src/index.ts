/** The plugins: each asks only for the parts of JupyterLab it cannot do without. */

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';

import { addCommands } from './commands';
import { magicLines } from './highlight';
import { Link } from './link';
import { SidePanel } from './sidepanel';
import { statusItem } from './status';

const beside: JupyterFrontEndPlugin<void> = {
  id: 'sparklab-labextension:beside',
  description: 'The side panel, the status item and the commands.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ICommandPalette, IStatusBar, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    statusBar: IStatusBar | null,
    restorer: ILayoutRestorer | null
  ) => {
    const link = new Link(notebooks);
    const panel = new SidePanel(link);
    app.shell.add(panel, 'right', { rank: 600 });
    restorer?.add(panel, panel.id);
    addCommands(app, link, panel, notebooks, palette);
    statusBar?.registerStatusItem('sparklab-labextension:status', {
      item: statusItem(link, () => app.shell.activateById(panel.id)),
      align: 'left',
      rank: 60,
      isActive: () => link.status !== null,
      activeStateChanged: link.changed
    });
  }
};

const highlight: JupyterFrontEndPlugin<void> = {
  id: 'sparklab-labextension:highlight',
  description: 'Lines that begin with %sparklab or %%sparklab, in the colours of the theme.',
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  activate: (_app: JupyterFrontEnd, editors: IEditorExtensionRegistry) => {
    editors.addExtension({
      name: 'sparklab-labextension:highlight',
      factory: () => ({ instance: () => magicLines, reconfigure: () => null })
    });
  }
};

export default [beside, highlight];
