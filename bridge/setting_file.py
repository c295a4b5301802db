"""Text files that hold settings: ``.env``, and files with one secret each.

Of ours it imports sentences only, because it is loaded into Odoo too.
"""

from __future__ import annotations

import stat
from pathlib import Path

from .contract.sentences import sentence

#: Most bytes of such a file. A longer one is another file, named by mistake.
MOST_BYTES = 64 * 1024
_UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SAVE_AS = sentence("Save it as UTF-8 (in PowerShell: Out-File -Encoding utf8).")


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
                sentence(
                    "%(file)s is a directory, not a file. Docker makes one where a file to mount is missing: remove "
                    "it, and create the file.",
                    file=shown,
                )
            )
        if not stat.S_ISREG(kind):
            # To open a FIFO waits for a writer, perhaps for ever.
            raise UnreadableFile(sentence("%(file)s is no ordinary file. Write the text into a file.", file=shown))
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise UnreadableFile(sentence("%(file)s is a link to a file that does not exist.", file=shown)) from None
        raise
    except OSError as error:
        raise UnreadableFile(
            sentence(
                "%(file)s cannot be read (%(error)s). Let the user of this program read it.",
                file=shown,
                error=error.strerror,
            )
        ) from None
    if len(content) > MOST_BYTES:
        raise UnreadableFile(
            sentence("%(file)s is larger than %(size)s KB: is it another file?", file=shown, size=MOST_BYTES // 1024)
        )
    return _decoded(content, shown)


def _decoded(content: bytes, shown: Path) -> str:
    if content.startswith(_UTF_16_OR_32) or b"\0" in content:
        raise UnreadableFile(sentence("%(file)s is in UTF-16, or is no text. %(advice)s", file=shown, advice=_SAVE_AS))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(
            sentence(
                "%(file)s is not in UTF-8 (line %(line)s, Latin-1 perhaps). %(advice)s",
                file=shown,
                line=line,
                advice=_SAVE_AS,
            )
        ) from None
