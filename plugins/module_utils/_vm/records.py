# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data classes for a process that stays in memory.

`dataclasses` imports `inspect`, `ast`, `dis` and `tokenize`, and generates code for each class: 1.3 MB of the handler's
11 MB (`python -m bench.footprint`). This is the part of it that the handler uses. Type checkers see the original.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
Do not use this from other collections or standalone plugins/modules!
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:

    class _Default:
        def __init__(self, default_factory: Any) -> None:
            self.make = default_factory

    def field(*, default_factory: Any) -> Any:
        """A default that is created for each object."""
        return _Default(default_factory)

    def dataclass(cls: Any = None, *, frozen: bool = False, eq: bool = True) -> Any:
        """Give a class a constructor, `repr`, and, by default, equality by the values of its fields."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, eq=eq)
        names = tuple(vars(cls).get("__annotations__", ()))
        defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
        cls.__match_args__ = names
        cls.__init__ = _constructor(cls.__name__, names, defaults)
        cls.__repr__ = _repr
        if eq:
            cls.__eq__ = _eq
            cls.__hash__ = _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def replace(obj: Any, **changes: Any) -> Any:
        """The same object with other values in these fields."""
        values = {**vars(obj), **changes}
        if len(values) > len(vars(obj)):
            raise TypeError(f"{type(obj).__name__} has no field {next(iter(changes.keys() - vars(obj)))!r}")
        copy = object.__new__(type(obj))
        vars(copy).update(values)
        return copy

    def _constructor(kind: str, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
        def __init__(self: Any, *positional: Any, **named: Any) -> None:
            if len(positional) > len(names):
                raise TypeError(f"{kind} takes {len(names)} arguments, not {len(positional)}")
            values = {}
            for index, name in enumerate(names):
                if index < len(positional):
                    values[name] = positional[index]
                elif name in named:
                    values[name] = named.pop(name)
                elif name in defaults:
                    default = defaults[name]
                    values[name] = default.make() if isinstance(default, _Default) else default
                else:
                    raise TypeError(f"{kind} needs the argument {name!r}")
            if named:
                raise TypeError(f"{kind} takes no argument {next(iter(named))!r}, or takes it twice")
            vars(self).update(values)

        return __init__

    def _repr(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def _eq(self: Any, other: Any) -> Any:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def _hash(self: Any) -> int:
        return hash((type(self), *vars(self).values()))

    def _refuse(self: Any, name: str, *_value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")


__all__ = ["dataclass", "field", "replace"]
