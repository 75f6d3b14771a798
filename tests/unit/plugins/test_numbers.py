# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers in options: one table for the modules in a VM, for those through the Compute API, and for the lookups."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gce.guest.plugins.module_utils._module.numbers import NumberError, check_numbers
from ansible_collections.gce.guest.plugins.modules import custom_metadata_info, metadata_info

from support.emulator import EmulatorProcess
from support.modules import run_module
from support.templating import TemplateFailed, TemplateProcess

CHECKOUT = Path(__file__).resolve().parents[3]
FLEET = {"project": "acme", "instances": [{"name": "web-1", "attributes": {"role": "web"}}]}
ACCESS = {"GCP_PROJECT": "acme", "GCP_ACCESS_TOKEN": "ya29.planted"}

REFUSED = [
    ("request_timeout", math.inf),
    ("request_timeout", math.nan),
    ("request_timeout", 0),
    ("request_timeout", -1),
    ("request_timeout", 1e300),
    ("request_timeout", "inf"),
    ("request_timeout", False),
    ("retry_for", -0.5),
    ("retry_for", math.nan),
    ("retry_for", -math.inf),
]
# As in every module and lookup, Ansible makes 1 of true, and 5 of "5".
TAKEN = [("request_timeout", 0.5), ("request_timeout", True), ("request_timeout", "5"), ("retry_for", math.inf)]
LOOKUPS = {"metadata": "instance/attributes/role", "custom_metadata": "role"}


@pytest.fixture
def ask(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of each kind: `ask("guest", option, number)`."""
    for name, value in {**ACCESS, "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute}.items():
        monkeypatch.setenv(name, value)

    def run(kind: str, option: str, number: Any) -> Any:
        if kind == "guest":
            host = emulator.metadata["web-1"]
            return run_module(metadata_info, {"path": "instance/name", "metadata_host": host, option: number})
        return run_module(custom_metadata_info, {"instance": "web-1", option: number})

    return run


@pytest.fixture(scope="module")
def worker(running_emulator: EmulatorProcess, collections_path: Path) -> Iterator[TemplateProcess]:
    environment = {
        **ACCESS,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": running_emulator.compute,
        "GCE_METADATA_HOST": running_emulator.metadata["web-1"],
    }
    with TemplateProcess(collections_path, environment) as process:
        yield process


def look_up(worker: TemplateProcess, name: str, option: str, number: Any) -> Any:
    # JSON has neither inf nor nan.
    value = str(number) if isinstance(number, float) and not math.isfinite(number) else number
    options = {option: value, **({"instance": "web-1"} if name == "custom_metadata" else {})}
    named = ", ".join(f"{each}=option_{each}" for each in options)
    variables = {f"option_{each}": value for each, value in options.items()}
    return worker(f"lookup('gce.guest.{name}', term, {named})", term=LOOKUPS[name], **variables)


@pytest.mark.parametrize("option, number", REFUSED)
@pytest.mark.parametrize("kind", ["guest", "api"])
def test_modules_reject_numbers_before_any_request(
    emulator: EmulatorProcess, ask: Any, kind: str, option: str, number: Any
) -> None:
    result = ask(kind, option, number)
    assert result.failed
    assert result["msg"] == f"{option} is {float(number):g}, but it has to be " + (
        "at least 0 seconds." if option == "retry_for" else "more than 0 and at most 86400 seconds."
    )
    assert emulator.control.journal() == []


@pytest.mark.parametrize("option, number", TAKEN)
@pytest.mark.parametrize("kind", ["guest", "api"])
def test_modules_accept_numbers(ask: Any, kind: str, option: str, number: Any) -> None:
    assert not ask(kind, option, number).failed


@pytest.mark.parametrize("option, number", REFUSED)
@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups_reject_numbers_before_any_request(
    emulator: EmulatorProcess, worker: TemplateProcess, name: str, option: str, number: Any
) -> None:
    with pytest.raises(TemplateFailed, match=f"{option} is .*, but it has to be"):
        look_up(worker, name, option, number)
    assert emulator.control.journal() == []


@pytest.mark.parametrize("option, number", TAKEN)
@pytest.mark.parametrize("name", LOOKUPS)
def test_lookups_accept_numbers(
    emulator: EmulatorProcess, worker: TemplateProcess, name: str, option: str, number: Any
) -> None:
    assert look_up(worker, name, option, number) == "web"


@pytest.mark.parametrize("option", ["timeout", "max_wait", "cache_seconds", "requests_per_minute", "concurrency"])
def test_rule_rejects_invalid_numbers_of_other_options(option: str) -> None:
    check_numbers({option: 1})
    check_numbers({option: math.inf})
    for number in (-1, math.nan):
        with pytest.raises(NumberError, match=f"^{option} is "):
            check_numbers({option: number})


# The fields of a resource, whose ranges are the API's: plugins/module_utils/_compute/scheduling.py checks them.
FIELDS_OF_RESOURCES = {"scheduling"}


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CHECKOUT.glob("plugins/modules/*.py") if path.stem not in FIELDS_OF_RESOURCES),
    ids=lambda path: path.stem,
)
def test_every_number_of_a_module_has_a_rule(path: Path) -> None:
    module = importlib.import_module(f"ansible_collections.gce.guest.plugins.modules.{path.stem}")
    options = yaml.safe_load(module.DOCUMENTATION).get("options", {})
    numbers = {name for name, option in options.items() if option.get("type") in ("int", "float")}
    for name in numbers:
        with pytest.raises(NumberError):
            check_numbers({name: math.nan})
