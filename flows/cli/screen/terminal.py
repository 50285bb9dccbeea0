"""The terminal: standard output for what was asked, standard error for the rest."""

import os
import sys

from rich.console import Console


class Terminal(Console):
    """Standard output, whose reader may have seen enough (`| head`): no reason to fail."""

    def on_broken_pipe(self) -> None:
        """Writes into nothing from then on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Terminal(highlight=False, soft_wrap=True)
err = Console(stderr=True)
