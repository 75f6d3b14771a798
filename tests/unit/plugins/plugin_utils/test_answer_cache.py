# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of the lookups in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from ansible_collections.gce.guest.plugins.module_utils._vm.metadata_server import (
    Limits,
    MetadataNotFound,
    MetadataServer,
    MetadataUnavailable,
)
from ansible_collections.gce.guest.plugins.plugin_utils._answer_cache import AnswerCache

from support.emulator import EmulatorProcess
from support.manual_time import ManualTime

NAME = "instance/name"
NO_RETRIES = Limits(retry_for=0)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess({"instances": [{"name": "web-1"}, {"name": "web-2"}]}) as emulator:
        yield emulator


@pytest.fixture
def time(emulator: EmulatorProcess) -> ManualTime:
    emulator.control.reset()
    emulator.control.clear_journal()
    return ManualTime()


@pytest.fixture
def cache(time: ManualTime) -> AnswerCache:
    return AnswerCache(time.time)


@pytest.fixture
def server(emulator: EmulatorProcess, cache: AnswerCache) -> MetadataServer:
    return cache.server(emulator.metadata["web-1"], NO_RETRIES)


def get(cache: AnswerCache, server: MetadataServer, path: str = NAME, max_age: float = 10) -> str:
    return str(cache.get(server, path, recursive=False, max_age=max_age).value)


def requests(emulator: EmulatorProcess) -> int:
    return len(emulator.control.journal())


def test_an_answer_is_used_while_it_is_fresh(
    emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer, time: ManualTime
) -> None:
    get(cache, server)
    time.advance(9.9)
    assert get(cache, server) == "web-1"
    assert requests(emulator) == 1
    time.advance(0.1)
    get(cache, server)
    assert requests(emulator) == 2


def test_a_missing_key_is_cached(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    for _turn in range(3):
        with pytest.raises(MetadataNotFound):
            get(cache, server, "instance/attributes/nothing")
    assert requests(emulator) == 1


def test_an_outage_is_not_cached(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    emulator.control.fault("503", count=1)
    with pytest.raises(MetadataUnavailable):
        get(cache, server)
    assert get(cache, server) == "web-1"


def test_an_age_of_0_disables_the_cache(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    get(cache, server, max_age=0)
    get(cache, server, max_age=0)
    assert requests(emulator) == 2


def test_forms_and_hosts_are_separate(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    other = cache.server(emulator.metadata["web-2"], NO_RETRIES)
    assert [get(cache, each) for each in (server, other)] == ["web-1", "web-2"]
    cache.get(server, "instance/disks/", recursive=True, max_age=10)
    assert isinstance(cache.get(server, "instance/disks/", recursive=True, max_age=10).value, list)


def test_a_client_is_reused(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    assert cache.server(emulator.metadata["web-1"], NO_RETRIES) is server
    assert cache.server(emulator.metadata["web-1"], Limits(retry_for=1)) is not server


def test_a_fork_has_its_own_connections(emulator: EmulatorProcess, cache: AnswerCache, server: MetadataServer) -> None:
    get(cache, server)
    pid = os.fork()
    if pid == 0:
        # pytest must not continue in the child.
        os._exit(0 if cache.server(emulator.metadata["web-1"], NO_RETRIES) is not server else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert cache.server(emulator.metadata["web-1"], NO_RETRIES) is server
