"""What the tooling tells the person in front of it."""

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from .os_packages import Missing

console = Console(highlight=False)


def say(text: str) -> None:
    """A line in rich's markup."""
    console.print(text, soft_wrap=True)


def quote(text: str) -> None:
    """What another program printed, as it is."""
    print(text.rstrip("\n"), flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Shows that something is going on, and afterwards how long it took (seconds)."""
    started = time.monotonic()
    # A terminal has room for one spinner: what goes on in a lane beside others is a line from the start.
    spins = console.is_terminal and threading.current_thread() is threading.main_thread()
    if not spins:
        say(f"{title} …")
    with console.status(f"{title} …") if spins else nullcontext():
        yield
    say(f"[green]✓[/] {title} [dim]{time.monotonic() - started:.1f} s[/]")


def run_logged(command: Sequence[str | Path], log: Path, **options) -> None:
    """Runs `command` with its output in `log`; the end of the log is the error message when it fails.

    Raises:
        Missing: when the command's exit code isn't 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    with open(log, "w") as output:
        code = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT, **options).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise Missing(f"{tail}\n\n{words[0]} ended with exit code {code}; the whole of what it said is in {log}.")
