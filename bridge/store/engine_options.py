"""The operator's options for ``sqlalchemy.create_engine``, as they come from JSON.

SQLAlchemy refuses a name that it does not know. It takes a value of a wrong type, and fails with it at work.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import BadDatabaseOptions

# Options that take an object of Python.
_OF_PYTHON = {
    *("creator", "dialect", "json_deserializer", "json_serializer", "module", "paramstyle", "plugins", "pool"),
    *("pool_events", "poolclass", "strategy"),
}
_Count = Annotated[int, Field(ge=0)]


class _Options(BaseModel):
    """The options that JSON can express, by https://docs.sqlalchemy.org/en/20/core/engines.html."""

    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)

    connect_args: dict[str, Any] = {}
    echo: bool | Literal["debug"] = False
    echo_pool: bool | Literal["debug"] = False
    execution_options: dict[str, Any] = {}
    fast_executemany: bool = False
    hide_parameters: bool = True
    insertmanyvalues_page_size: _Count = 0
    isolation_level: str = ""
    label_length: int | None = None
    logging_name: str = ""
    max_identifier_length: int | None = None
    max_overflow: Annotated[int, Field(ge=-1)] = 0
    pool_logging_name: str = ""
    pool_pre_ping: bool = True
    pool_recycle: Annotated[int, Field(ge=-1)] = 0
    pool_reset_on_return: Literal["rollback", "commit"] | None = None
    pool_size: _Count = 0
    pool_timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    pool_use_lifo: bool = False
    query_cache_size: _Count = 0
    use_insertmanyvalues: bool = False
    use_setinputsizes: bool = False


def require_types(options: Mapping[str, Any]) -> None:
    """
    :raises BadDatabaseOptions: names the options whose values have a wrong type
    """
    if objects := sorted(options.keys() & _OF_PYTHON):
        raise BadDatabaseOptions(f"{', '.join(objects)}: JSON cannot express what SQLAlchemy takes here. Leave it out")
    try:
        _Options.model_validate(options)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # A choice of types makes a fault for each of them.
        faults = {str(item["loc"][0]): item["msg"] for item in reversed(found)}
        raise BadDatabaseOptions("; ".join(f"{name}: {fault}" for name, fault in reversed(faults.items()))) from None


def require_accepted(options: Mapping[str, Any], create: Callable[..., sa.Engine]) -> None:
    """
    :param create: makes an engine with these options alone
    :raises BadDatabaseOptions: names the options that SQLAlchemy does not take
    """
    if faults := list(_refused(options, create)):
        raise BadDatabaseOptions("; ".join(faults))


def _refused(options: Mapping[str, Any], create: Callable[..., sa.Engine]) -> Iterator[str]:
    for name, value in options.items():
        try:
            engine = create(**{name: value})
        except Exception as error:
            if "Invalid argument(s)" not in str(error):
                yield f"SQLAlchemy does not take this value of {name}"
                continue
            near = difflib.get_close_matches(name, _Options.model_fields.keys() - {name}, n=1, cutoff=0.7)
            advice = f": did you mean {near[0]}?" if near else ""
            yield f"{name} is no option of sqlalchemy.create_engine for this database{advice}"
            continue
        if name == "isolation_level":
            levels = engine.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]
            if value not in levels:
                yield f"isolation_level must be one of {', '.join(levels)}"
