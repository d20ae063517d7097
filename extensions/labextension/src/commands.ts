/** The palette's entries. */

import { JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';

import { Link } from './link';
import { icon, SidePanel } from './sidepanel';

const CATEGORY = 'SparkLab';

export function addCommands(
  app: JupyterFrontEnd,
  link: Link,
  panel: SidePanel,
  notebooks: INotebookTracker,
  palette: ICommandPalette | null
): void {
  const add = (id: string, label: string, enabled: () => boolean, execute: () => unknown) => {
    app.commands.addCommand(id, { label, icon, isEnabled: enabled, execute });
    palette?.addItem({ command: id, category: CATEGORY });
  };
  const linked = () => link.status !== null;
  add('sparklab:show', 'Show the side panel', () => true, () => app.shell.activateById(panel.id));
  add('sparklab:cancel-all', 'Cancel all jobs', linked, () => panel.carryOut('cancel-all'));
  add('sparklab:freeze-and-save', 'Freeze the panels and save the notebook', linked, async () => {
    if (await panel.carryOut('freeze')) {
      await notebooks.currentWidget?.context.save();
    }
  });
  link.changed.connect(() => app.commands.notifyCommandChanged());
}
