# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of recipes. Here, and only here, errors become messages and exit statuses."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, NoReturn

from maintenance_handler.core.recipe import CHECK, VERBS, Recipe
from maintenance_handler.core.tasks import RESTORE
from maintenance_handler.io import recipe_folders
from recipes.record import Record
from recipes.run import EVERY, Refusal, Run, Unfinished

EXIT_OK = 0
# The recipe cannot work with these parameters, or its work failed.
EXIT_FAILED = 1
EXIT_USAGE = 2
# Its time is over, and work is still open.
EXIT_UNFINISHED = 3

# The most of an unexpected error's text.
_LONGEST = 200

_OTHER_RUN = "another run of this recipe is still working"


def main(arguments: Sequence[str]) -> int:
    """Run one verb of one recipe. Returns the exit status; the last printed line is the result."""
    if len(arguments) not in (2, 3) or arguments[1] not in VERBS:
        print(f"usage: NAME|FOLDER {'|'.join(VERBS)} [PARAMETERS, as a JSON object]", file=sys.stderr)
        return EXIT_USAGE
    name, verb, text = (*arguments, "{}")[:3]
    if isinstance(sys.stdout, TextIOWrapper):
        # A service's answer may have characters that cannot be encoded.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        folder = recipe_folders.OWN / name
        recipe = recipe_folders.read(folder)
        values, problems = recipe.values(json.loads(text))
    except ValueError as exc:
        problems = [str(exc)]
    except RecursionError:
        problems = ["the parameters are nested too deeply"]
    if problems:
        print("; ".join(problems), file=sys.stderr)
        return EXIT_USAGE
    script = folder / "program.sh"
    if script.is_file():
        _become_script(script, verb, recipe, values)
    try:
        _carry_out(_module(folder), verb, recipe, values)
    except Unfinished as exc:
        print(f"the time is over: {exc}" if verb != CHECK else str(exc))
        return EXIT_UNFINISHED
    except Refusal as exc:
        print(exc)
        return EXIT_FAILED
    except OSError as exc:
        print(f"{exc.filename or recipe.name}: {exc.strerror or exc}")
        return EXIT_FAILED
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
        print(f"{recipe.name}: unexpected answer ({_described(exc)})")
        return EXIT_FAILED
    return EXIT_OK


def _described(error: Exception) -> str:
    """The error and its place, on one line."""
    *_callers, (place, line) = traceback.walk_tb(error.__traceback__)
    text = " ".join(str(error).split())[:_LONGEST]
    return f"{type(error).__name__}: {text}; {Path(place.f_code.co_filename).name}, line {line}"


def _carry_out(module: ModuleType, verb: str, recipe: Recipe, values: Mapping[str, Any]) -> None:
    record = Record.of(recipe.identity(values), os.environ, locked=verb not in (CHECK, "state"))
    run = Run(values, verb, os.environ, record)
    _wait_for_other_run(run)
    with record:
        # The handler sends SIGTERM when the time is over. The recipe then reports what is open.
        _at_the_end(run.unfinished)
        if verb == RESTORE and record.other_host():
            raise Refusal(
                f"{record.path} is the record of host {record.other_host()}: if that is this VM, set its host name "
                "again and repeat the restore; if this VM was created from an image of that host, delete the file"
            )
        function: Callable[[Run], None] = getattr(module, verb)
        function(run)


def _wait_for_other_run(run: Run) -> None:
    """Lock the record. Raises `Unfinished` if another run has locked it until the time is over."""
    _at_the_end(lambda: Unfinished(_OTHER_RUN))
    while not run.record.lock():
        if run.left() <= 0:
            raise Unfinished(_OTHER_RUN)
        run.pause(EVERY)


def _at_the_end(error: Callable[[], Exception]) -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: _raise(error()))


def _raise(error: Exception) -> NoReturn:
    # No second exception while the first one is being raised.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise error


def _module(folder: Path) -> ModuleType:
    spec = spec_from_file_location(f"recipe_{folder.name}", folder / "program.py")
    if spec is None or spec.loader is None:
        raise Refusal(f"{folder} has neither a program.py nor a program.sh")
    module = module_from_spec(spec)
    # Dataclasses look up their module there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _become_script(script: Path, verb: str, recipe: Recipe, values: Mapping[str, Any]) -> NoReturn:
    """Run a shell program instead, with each parameter in a variable, and the path of its record."""
    record = Record.of(recipe.identity(values), os.environ, locked=False)
    record.make_folder()
    variables = {f"GCE_RECIPE_{name.upper()}": _word(value) for name, value in values.items() if value is not None}
    environment = {**os.environ, **variables, "GCE_RECIPE_RECORD": f"{record.path}.sh"}
    sys.stdout.flush()
    os.execve("/bin/sh", ["/bin/sh", str(script), verb], environment)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
