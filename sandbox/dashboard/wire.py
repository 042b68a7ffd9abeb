"""Views, wishes and requests as JSON and back, by their types: what the control socket carries.

Bytes become base64 text. `decode` believes nothing but the types: what does not fit raises ConfigurationError.
"""

from __future__ import annotations

import base64
import types
import typing
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union

from sandbox.errors import ConfigurationError

T = TypeVar("T")


def encode(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, (frozenset, set)):
        return sorted(encode(item) for item in value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def decode(kind: type[T], value: Any) -> T:
    """`value` as a dataclass `kind`. Fields that are missing keep their defaults; unknown ones are ignored."""
    made: T = _convert(kind, value)
    return made


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigurationError(f"a {hint.__name__} is an object, not {value!r:.40}")
        hints = _hints(hint)
        return hint(**{name: _convert(hints[name], item) for name, item in value.items() if name in hints})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value)
    if origin in (tuple, frozenset):
        if not isinstance(value, list):
            raise ConfigurationError(f"a list is wanted, not {value!r:.40}")
        if origin is frozenset or arguments[1:] == (Ellipsis,):
            return origin(_convert(arguments[0], item) for item in value)
        if len(value) != len(arguments):
            raise ConfigurationError(f"{len(arguments)} things are wanted, not {len(value)}")
        return tuple(_convert(kind, item) for kind, item in zip(arguments, value, strict=True))
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise ConfigurationError("bytes are base64 text") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigurationError(f"{hint.__name__} is wanted, not {value!r:.40}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    """The first that fits; text for bytes only where there is no str."""
    if value is None and types.NoneType in kinds:
        return None
    for kind in kinds:
        if kind is types.NoneType:
            continue
        try:
            return _convert(kind, value)
        except ConfigurationError:
            continue
    raise ConfigurationError(f"{value!r:.40} is of no kind that is wanted here")
