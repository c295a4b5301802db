"""Where the bridge's settings stand: the environment, a file ``.env``, and files that hold one secret each.

An operator's mistake must not leave a setting at its default without a word. So a name that is no setting's, a name
that stands twice, and a file that cannot be used are refused.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from . import setting_name
from .errors import ConfigurationError
from .setting_file import UnreadableFile, read_text
from .setting_name import FILE_SUFFIX
from .setting_value import fault_of, strip_value

PREFIX = "BRIDGE_"
ENV_FILE = ".env"
ENVIRONMENT = "the environment"


def env_file() -> Path | None:
    """The ``.env`` of the working directory; ``None`` if there is none."""
    file = Path.cwd() / ENV_FILE
    return file if os.path.lexists(file) else None


def require_usable(file: Path) -> None:
    """Refuse a file of which the library would skip a part: a variable in it would have its default instead.

    :raises ConfigurationError: names the file and the line
    """
    try:
        bindings = list(parse_stream(StringIO(read_text(file))))
    except FileNotFoundError:
        return
    except UnreadableFile as error:
        raise ConfigurationError(str(error)) from None
    if faults := [f"{file.absolute()}: {fault}" for fault in _faults_of_lines(bindings)]:
        raise ConfigurationError("\n".join(faults))


def _faults_of_lines(bindings: list[Binding]) -> Iterator[str]:
    seen: dict[str, Binding] = {}
    names = {binding.key for binding in bindings} | os.environ.keys()
    for binding in bindings:
        line = binding.original.line + _blank_lines(binding)
        is_ours = setting_name.plain(binding.key or "").startswith(PREFIX)
        if binding.error or (is_ours and binding.value is None):
            yield f"line {line} is not NAME=VALUE, or its quotes are not closed"
        elif is_ours and binding.key and binding.value:
            name = setting_name.plain(binding.key)
            if (first := seen.setdefault(name, binding)).value != binding.value:
                where = f"lines {first.original.line + _blank_lines(first)} and {line}"
                yield f"{name} has two values, in {where}. Delete one of them."
            for part in parse_variables(binding.value):
                if isinstance(part, Variable) and part.default is None and part.name not in names:
                    yield f"{name} uses ${{{part.name}}}, which is not set (line {line})"


def _blank_lines(binding: Binding) -> int:
    """Lines before the binding's own: the parser counts those that are empty to the next binding."""
    text = binding.original.string
    return text[: len(text) - len(text.lstrip())].count("\n")


def merge(
    environment: Mapping[str, str], file: Mapping[str, str | None], settings: Collection[str], secrets: Collection[str]
) -> dict[str, str | None]:
    """The variables of ours by their names in small letters, without what stands around their values.

    An empty variable is not set. The environment takes precedence over the file.

    :param settings: names of all variables
    :param secrets: those of them whose value may stand in a file of its own
    :raises ConfigurationError: names all variables that are unknown, stand twice, or cannot be what was meant
    """
    faults: list[str] = []
    files = {name + FILE_SUFFIX: name for name in secrets}
    merged: dict[str, str] = {}
    # The file first, so that the environment overrides it.
    for place, variables in ((str(Path.cwd() / ENV_FILE), file), (ENVIRONMENT, environment)):
        own = _own(variables, {*settings, *files}, place, faults)
        for variable, name in files.items():
            if {variable, name} <= own.keys():
                faults.append(f"{name} and {variable} are both set in {place}. Keep one of them.")
            elif variable in own:
                merged.pop(name, None)
            elif name in own:
                merged.pop(variable, None)
        merged |= own
    for variable, name in files.items():
        if variable in merged:
            merged[name] = _of_file(variable, Path(merged.pop(variable)), name, faults)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return {name.lower(): text for name, text in merged.items()}


def _own(variables: Mapping[str, str | None], known: Collection[str], place: str, faults: list[str]) -> dict[str, str]:
    """Those of ``variables`` that are ours and not empty."""
    own: dict[str, str] = {}
    for written, value in variables.items():
        name, text = setting_name.plain(written), strip_value(value or "")
        if setting_name.is_of_a_service(name, text):
            continue
        if name not in known:
            faults += _fault_of_name(name, known, place)
        elif not text:
            continue
        elif fault := fault_of(text):
            faults.append(f"{name}: {fault}")
        elif own.setdefault(name, text) != text:
            faults.append(f"{name} has two values in {place}, in capitals and in small letters. Delete one of them.")
    return own


def _of_file(variable: str, path: Path, name: str, faults: list[str]) -> str:
    """The secret ``name`` in the file that ``variable`` names."""
    try:
        text = strip_value(read_text(path))
    except FileNotFoundError:
        faults.append(f"{variable}: there is no file {path.absolute()}")
        return ""
    except UnreadableFile as error:
        faults.append(f"{variable}: {error}")
        return ""
    fault = fault_of(text) if text else "the file is empty"
    if text.upper().startswith(f"{name}="):
        fault = f"the file must have the value alone, without {name}="
    if fault:
        faults.append(f"{variable}: {fault} ({path.absolute()})")
    return text


def _fault_of_name(name: str, known: Collection[str], place: str) -> Iterator[str]:
    """What is wrong with a name that is no setting's; nothing if it is that of another program."""
    if (meant := setting_name.meant(name, PREFIX, known)) is None:
        return
    advice = f"did you mean {' or '.join(meant)}?" if meant else "docs/settings.md lists them. Delete it."
    yield f"{setting_name.shown(name)} (in {place}) is no setting of the bridge: {advice}"
