"""Text files that hold settings: ``.env``, and files with one secret each.

It imports nothing else of ours, because it is loaded into Odoo too.
"""

from __future__ import annotations

import stat
from pathlib import Path

#: Most bytes of such a file. A longer one is another file, named by mistake.
MOST_BYTES = 64 * 1024
_UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SAVE_AS = "Save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)."


class UnreadableFile(ValueError):
    """A file with settings that cannot be used. The message names it and what to do, and quotes none of its text."""


def read_text(path: Path) -> str:
    """The text of a file with settings, without a byte order mark.

    :raises FileNotFoundError: there is no file
    :raises UnreadableFile:
    """
    shown = path.absolute()
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise UnreadableFile(
                f"{shown} is a directory, not a file. Docker makes one where a file to mount is missing: remove it, "
                "and create the file."
            )
        if not stat.S_ISREG(kind):
            # To open a FIFO waits for a writer, perhaps for ever.
            raise UnreadableFile(f"{shown} is no ordinary file. Write the text into a file.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise UnreadableFile(f"{shown} is a link to a file that does not exist.") from None
        raise
    except OSError as error:
        raise UnreadableFile(
            f"{shown} cannot be read ({error.strerror}). Let the user of this program read it."
        ) from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"{shown} is larger than {MOST_BYTES // 1024} KB: is it another file?")
    return _decoded(content, shown)


def _decoded(content: bytes, shown: Path) -> str:
    if content.startswith(_UTF_16_OR_32) or b"\0" in content:
        raise UnreadableFile(f"{shown} is in UTF-16, or is no text. {_SAVE_AS}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(f"{shown} is not in UTF-8 (line {line}; Latin-1 perhaps). {_SAVE_AS}") from None
