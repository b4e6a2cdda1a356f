"""The command line: one command a file, thin skins over the functions that code calls too.

Nothing here imports torch before a command runs, so `--help` is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave: 0 done, 1 it failed while running, 2 the input was wrong."""
    from gantlet.cli.app import run

    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))
