"""Compares the resources of the templates with the types that Microsoft publishes for Bicep (Azure/bicep-types-az).

Names of properties, required and read-only ones, kinds of values, and words where only some are allowed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .bicep import Expression, Loop, Resource, Template

_REQUIRED, _READ_ONLY = 1, 2
#: Properties of Bicep itself, not of a resource's type.
_BICEPS_OWN = {"parent", "scope", "dependsOn", "apiVersion", "type"}
_PYTHON_TYPES = {"StringType": str, "IntegerType": int, "BooleanType": bool, "ArrayType": list}
Types = list[dict[str, Any]]


class Published:
    """A clone of Azure/bicep-types-az, with or without a work tree."""

    def __init__(self, clone: Path):
        self._clone = clone
        names = self._git("ls-tree", "-r", "--name-only", "HEAD", "generated").splitlines()
        self._files = [name for name in names if name.endswith("/types.json")]

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self._clone), *arguments], check=True, capture_output=True, text=True
        ).stdout

    @cache  # noqa: B019 - lives as long as the test session
    def _read(self, file: str) -> Types:
        types: Types = json.loads(self._git("show", f"HEAD:{file}"))
        return types

    def body(self, resource: Resource) -> tuple[dict[str, Any], Types]:
        """The type of the resource's body, and the types that it refers to.

        :raises LookupError: there is no such type in this version
        """
        provider = resource.type.split("/", 1)[0]
        wanted = f"{resource.type}@{resource.version}".lower()
        for file in self._files:
            if file.endswith(f"/{provider.lower()}/{resource.version}/types.json"):
                types = self._read(file)
                for each in types:
                    if each["$type"] == "ResourceType" and each["name"].lower() == wanted:
                        return _follow(each["body"], types), types
        raise LookupError(f"{wanted} is not published")


def faults(resource: Resource, template: Template, published: Published) -> list[str]:
    """What is wrong with a resource, with its place."""
    try:
        body, types = published.body(resource)
    except LookupError as error:
        return [str(error)]
    given = {name: each for name, each in resource.body.items() if name not in _BICEPS_OWN}
    return [f"{resource.symbol}{fault}" for fault in _compare(given, body, types, template, "")]


def _compare(given: Any, wanted: dict[str, Any], types: Types, template: Template, place: str) -> Iterator[str]:
    given = _resolve(given, template)
    kind = wanted["$type"]
    if isinstance(given, Expression) or given is None or kind == "AnyType":
        return
    if isinstance(given, Loop):
        given = [given.value]
    if kind == "DiscriminatedObjectType" and isinstance(given, dict):
        yield from _compare_variant(given, wanted, types, template, place)
    elif kind == "ObjectType" and isinstance(given, dict):
        yield from _compare_object(given, wanted["properties"], wanted, types, template, place)
    elif kind == "ArrayType" and isinstance(given, list):
        for index, each in enumerate(given):
            yield from _compare(each, _follow(wanted["itemType"], types), types, template, f"{place}[{index}]")
    elif kind == "UnionType":
        elements = [_follow(each, types) for each in wanted["elements"]]
        if all(list(_compare(given, each, types, template, place)) for each in elements):
            words = [each.get("value") or each["$type"] for each in elements]
            yield f"{place}: {given!r} is none of {words}"
    elif kind == "StringLiteralType":
        if given != wanted["value"]:
            yield f"{place}: {given!r} is not {wanted['value']!r}"
    elif not isinstance(given, _PYTHON_TYPES.get(kind, object)) or kind in ("ObjectType", "DiscriminatedObjectType"):
        yield f"{place}: {given!r} is no {kind}"


def _compare_variant(
    given: dict[str, Any], wanted: dict[str, Any], types: Types, template: Template, place: str
) -> Iterator[str]:
    variant = given.get(wanted["discriminator"])
    if variant not in wanted["elements"]:
        yield f"{place}.{wanted['discriminator']}: {variant!r} is none of {sorted(wanted['elements'])}"
        return
    element = _follow(wanted["elements"][variant], types)
    properties = {**wanted["baseProperties"], **element["properties"]}
    yield from _compare_object(given, properties, element, types, template, place)


def _compare_object(
    given: dict[str, Any],
    properties: dict[str, Any],
    wanted: dict[str, Any],
    types: Types,
    template: Template,
    place: str,
) -> Iterator[str]:
    for name, each in given.items():
        if name in properties:
            if properties[name]["flags"] & _READ_ONLY and name != "name":
                yield f"{place}.{name} is read-only"
            yield from _compare(each, _follow(properties[name]["type"], types), types, template, f"{place}.{name}")
        elif more := wanted.get("additionalProperties"):
            yield from _compare(each, _follow(more, types), types, template, f"{place}.{name}")
        else:
            yield f"{place}.{name} is unknown"
    for name, about in properties.items():
        if about["flags"] & _REQUIRED and not about["flags"] & _READ_ONLY and name not in given:
            yield f"{place}.{name} is missing"


def _resolve(given: Any, template: Template) -> Any:
    """Variables by their values, and what the functions that make numbers and lists return."""
    while isinstance(given, Expression) and given.text in template.variables:
        given = template.variables[given.text]
    return given


def _follow(reference: dict[str, str], types: Types) -> dict[str, Any]:
    return types[int(reference["$ref"].removeprefix("#/"))]
