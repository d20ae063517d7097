"""``python -m sparklab``: the commands that need no notebook."""

from __future__ import annotations

import sys

from sparklab.commands import main

if __name__ == "__main__":
    sys.exit(main())
