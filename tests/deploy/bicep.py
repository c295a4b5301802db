"""Reads Bicep as far as the tests need it: declarations, and literal values as Python's. Microsoft's compiler is in no
package index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\$": "$"}
#: What calls look like: the functions of Bicep that the templates use.
FUNCTIONS = {
    "concat", "empty", "environment", "guid", "join", "json", "listKeys", "min", "resourceId", "split", "startsWith",
    "string", "subscription", "subscriptionResourceId", "tenant", "toLower", "trim", "union", "uniqueString",
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A value that only Azure Resource Manager knows."""

    text: str


@dataclass(frozen=True)
class Loop:
    """One value for each item of a list."""

    variable: str
    items: Any
    value: Any


@dataclass(frozen=True)
class Resource:
    """:ivar type: with the types of its parents; ``version`` is theirs too"""

    symbol: str
    type: str
    version: str
    body: dict[str, Any]
    is_nested: bool = False


@dataclass(frozen=True)
class Module:
    symbol: str
    path: str
    params: dict[str, Any]


@dataclass
class Template:
    """:ivar params: whether each has a default"""

    file: Path
    faults: list[str]
    params: dict[str, bool] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    #: (symbol, output) of each ``symbol.outputs.output``
    used_outputs: set[tuple[str, str]] = field(default_factory=set)
    used_names: set[str] = field(default_factory=set)
    loop_names: set[str] = field(default_factory=set)


@cache
def read(file: Path) -> Template:
    """The declarations in a file."""
    root = _PARSER.parse(file.read_bytes()).root_node
    template = Template(file, [f"{file.name}:{node.start_point[0] + 1}" for node in _walk(root) if _is_fault(node)])
    for node in root.named_children:
        children = [child for child in node.named_children if child.type != "comment"]
        if node.type == "parameter_declaration":
            template.params[_text(children[0])] = len(children) > 2
        elif node.type == "variable_declaration":
            template.variables[_text(children[0])] = value(children[1])
        elif node.type == "output_declaration":
            template.outputs[_text(children[0])] = value(children[-1])
        elif node.type == "resource_declaration":
            template.resources += _resources(node, "", "")
        elif node.type == "module_declaration":
            params = value(children[2]).get("params", {})
            template.modules.append(Module(_text(children[0]), value(children[1]), params))
    _collect_uses(root, template)
    return template


def value(node: Node) -> Any:
    """A node as a Python value; an :class:`Expression` where it is none."""
    children = [child for child in node.named_children if child.type != "comment"]
    if node.type == "string" and all(child.type in ("string_content", "escape_sequence") for child in children):
        return "".join(_ESCAPES.get(_text(child), _text(child)) for child in children)
    if node.type == "object":
        pairs = [child.named_children for child in children if child.type == "object_property"]
        return {_key(pair[0]): value(pair[-1]) for pair in pairs if pair[0].type != "resource_declaration"}
    if node.type == "array":
        return [value(child) for child in children]
    if node.type == "for_statement":
        variable, items, each = children[0], children[1], children[-1]
        return Loop(_text(variable).strip("()").split(",")[0].strip(), value(items), value(each))
    if node.type == "if_statement":
        return value(children[-1])
    if node.type == "number":
        return int(_text(node))
    if node.type == "boolean":
        return _text(node) == "true"
    return None if node.type == "null" else Expression(_text(node))


def _resources(node: Node, parent: str, version: str) -> Iterator[Resource]:
    symbol, kind, body = (child for child in node.named_children if child.type != "comment")
    name = value(kind)
    if "@" in name:
        name, version = name.split("@")
    name = f"{parent}/{name}" if parent else name
    content = value(body)
    content = content.value if isinstance(content, Loop) else content
    yield Resource(_text(symbol), name, version, content, bool(parent))
    for child in _walk(body):
        if child.type == "resource_declaration" and _nearest(child, node):
            yield from _resources(child, name, version)


def _nearest(child: Node, ancestor: Node) -> bool:
    above = child.parent
    while above is not None and above.type != "resource_declaration":
        above = above.parent
    return above == ancestor


def _collect_uses(root: Node, template: Template) -> None:
    for node in _walk(root):
        parent = node.parent
        if node.type == "member_expression" and _text(node).count(".") == 2 and ".outputs." in _text(node):
            symbol, _, output = _text(node).split(".")
            template.used_outputs.add((symbol, output))
        if node.type in ("loop_variable", "loop_enumerator"):
            template.loop_names.add(_text(node))
        if node.type == "for_statement" and node.named_children[0].type == "identifier":
            template.loop_names.add(_text(node.named_children[0]))
        is_key = parent is not None and parent.type == "object_property" and parent.named_children[0] == node
        is_decorator = parent is not None and parent.type == "call_expression" and parent.parent is not None
        is_decorator = is_decorator and parent.parent.type == "decorator"  # type: ignore[union-attr]
        if node.type == "identifier" and not is_key and not is_decorator:
            template.used_names.add(_text(node))


def _is_fault(node: Node) -> bool:
    return node.type == "ERROR" or node.is_missing


def _key(node: Node) -> str:
    return str(value(node)) if node.type == "string" and isinstance(value(node), str) else _text(node)


def _text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)
