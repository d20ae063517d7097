/** The status item: one line about the context of the notebook in front; a click opens the side panel. */

import { Widget } from '@lumino/widgets';

import { Link, Status } from './link';

export function statusItem(link: Link, open: () => void): Widget {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'sparklab-status';
  button.title = 'Open the SparkLab side panel';
  button.addEventListener('click', open);
  const item = new Widget();
  item.node.append(button);
  const draw = () => {
    button.textContent = link.status === null ? '' : line(link.status);
  };
  link.changed.connect(draw);
  draw();
  return item;
}

function line(status: Status): string {
  const alive = status.executors.filter(executor => executor.alive).length;
  const running = status.jobs.filter(job => job.status === 'running');
  const tasks = running.reduce((sum, job) => [sum[0] + job.done, sum[1] + job.of], [0, 0]);
  const work = running.length ? `${tasks[0]}/${tasks[1]} tasks` : status.state;
  return `SparkLab: ${alive} executor${alive === 1 ? '' : 's'}, ${work}`;
}
