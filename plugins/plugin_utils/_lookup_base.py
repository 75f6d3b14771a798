# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of all lookups: options, missing terms, and the library's exceptions as Ansible's.

Private to the collection: it may change at any time.

The options are described in plugins/doc_fragments/_lookup.py, and secret_patterns in _guest.py.
"""

from __future__ import annotations

import os
import re
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ..module_utils._metadata.query import QueryError, compiled_query
from ..module_utils._module.numbers import NumberError, check_numbers

_display = Display()


class TermLookup(LookupBase):  # type: ignore[misc] # Ansible has no types
    """A lookup that finds a value for each of its terms."""

    # The library's exceptions for the user, and those among them for a missing value.
    errors: ClassVar[tuple[type[Exception], ...]] = ()
    missing: ClassVar[tuple[type[Exception], ...]] = ()

    @abstractmethod
    def finder(self, terms: list[str]) -> Callable[[str], Any]:
        """The function from a term to its value. Wrong options and terms are refused before it is called."""

    def run(self, terms: Iterable[Any], variables: Mapping[str, Any] | None = None, **options: Any) -> list[Any]:
        self._direct, self._variables = options, self._own_variables(variables or {})
        with _without_empty(self._environment()):
            self.set_options(var_options=self._variables, direct=options)
        self._refuse_unknown(options)
        try:
            check_numbers({name: self.get_option(name) for name in self.option_definitions})
        except NumberError as error:
            raise AnsibleLookupError(str(error)) from None
        paths = [_text(term) for term in self._flatten(terms)]
        try:
            return list(self._values(paths, self.finder(paths), has_default="default" in options))
        except (QueryError, *self.errors) as error:  # type: ignore[misc] # mypy loses the types of a starred tuple
            # Not as its cause: Ansible would say the same twice.
            raise AnsibleLookupError(str(error)) from None

    def origin(self, option: str) -> str:
        """Where the value of an option comes from, in Ansible's words: `Direct`, or such as `env: NAME`."""
        # Before 2.18, get_option_and_origin does not know the options of the call.
        if option in self._direct:
            return "Direct"
        with _without_empty(self._environment()):
            return str(self.get_option_and_origin(option, hostvars=self._variables)[1])

    def query(self) -> Callable[[Any], Any]:
        """The option `query` as a function; the identity without one."""
        expression = self.get_option("query")
        if expression is None:
            return lambda data: data
        try:
            return compiled_query(str(expression))
        except ImportError as error:
            raise AnsibleLookupError(
                f"The option query requires the Python library jmespath for {sys.executable} on the controller"
            ) from error

    def secret_patterns(self) -> list[re.Pattern[str]]:
        """The option of that name, compiled."""
        return [_compiled(str(pattern)) for pattern in self.get_option("secret_patterns")]

    def _environment(self) -> list[str]:
        """The environment variables of the options."""
        return [variable["name"] for option in self.option_definitions.values() for variable in option.get("env", ())]

    def _own_variables(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of the options, templated, which Ansible does not do itself."""
        names = [variable["name"] for option in self.option_definitions.values() for variable in option.get("vars", ())]
        return {name: self._templar.template(variables[name]) for name in names if name in variables}

    def _values(self, terms: list[str], find: Callable[[str], Any], *, has_default: bool) -> Iterator[Any]:
        on_missing = self.get_option("on_missing")
        for term in terms:
            try:
                yield find(term)
            except self.missing as error:  # noqa: PERF203 - each term is missing by itself
                if has_default:
                    yield self.get_option("default")
                elif on_missing == "error":
                    raise AnsibleLookupError(
                        f"{error} Set on_missing=skip, or give a default, if it may be missing."
                    ) from None
                elif on_missing == "warn":
                    _display.warning(str(error))

    def _refuse_unknown(self, options: Mapping[str, Any]) -> None:
        """Ansible itself ignores a misspelt option of a lookup."""
        known = self.option_definitions.keys() - {"_terms"}
        if unknown := sorted(options.keys() - known):
            raise AnsibleLookupError(f"There is no option {', '.join(unknown)}. There are: {', '.join(sorted(known))}.")


@contextmanager
def _without_empty(names: Iterable[str]) -> Iterator[None]:
    """Unset empty environment variables, which Ansible would use as values.

    CI jobs set unset variables to an empty text.
    """
    empty = [name for name in names if os.environ.get(name) == ""]
    for name in empty:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(dict.fromkeys(empty, ""))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise AnsibleLookupError(f"secret_patterns: {pattern!r} is not a regular expression: {error}.") from None


def _text(term: Any) -> str:
    if not isinstance(term, str):
        raise AnsibleLookupError(f"A term has to be text, but it is {term!r}.")
    return str(term)
