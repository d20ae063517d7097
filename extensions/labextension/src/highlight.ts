/** `%sparklab` and `%%sparklab` lines in the theme's colours: the Python grammar takes them for operators. */

import { RangeSetBuilder } from '@codemirror/state';
import { Decoration, DecorationSet, EditorView, ViewPlugin, ViewUpdate } from '@codemirror/view';

const LINE = /^\s*%%?sparklab\b.*$/;
const PARTS = /(%%?sparklab)|(--?[A-Za-z][\w-]*)|("[^"]*"|'[^']*')|(\d+(?:\.\d+)?)\b|([^\s]+)/g;
const CLASSES = ['magic', 'option', 'string', 'number', 'word'];

const marks = CLASSES.map(name => Decoration.mark({ class: `sparklab-${name}` }));

function decorated(view: EditorView): DecorationSet {
  const built = new RangeSetBuilder<Decoration>();
  for (const { from, to } of view.visibleRanges) {
    for (let position = from; position <= to; ) {
      const line = view.state.doc.lineAt(position);
      if (LINE.test(line.text)) {
        for (const part of line.text.matchAll(PARTS)) {
          const kind = part.slice(1).findIndex(group => group !== undefined);
          const start = line.from + part.index;
          built.add(start, start + part[0].length, marks[kind]);
        }
      }
      position = line.to + 1;
    }
  }
  return built.finish();
}

export const magicLines = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet;

    constructor(view: EditorView) {
      this.decorations = decorated(view);
    }

    update(update: ViewUpdate): void {
      if (update.docChanged || update.viewportChanged) {
        this.decorations = decorated(update.view);
      }
    }
  },
  { decorations: plugin => plugin.decorations }
);
