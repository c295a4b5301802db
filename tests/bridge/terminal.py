"""``python -m bridge`` on a terminal, with a person's answer."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from .conftest import PATIENCE, Cli


def on_a_terminal(cli: Cli, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose standard input is a terminal.

    :param answer: what the person types, with its line end
    """
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    try:
        return subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            env=cli.environment,
            cwd=cli.folder,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    finally:
        os.close(ours)
        os.close(theirs)
