# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of custom metadata, with concurrent writers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible_collections.gce.guest.plugins.module_utils._compute import api as _compute_api
from ansible_collections.gce.guest.plugins.module_utils._compute.api import ComputeApi, Time, connect
from ansible_collections.gce.guest.plugins.module_utils._compute.errors import (
    ComputeBadRequest,
    ComputeConflict,
    ComputeError,
    ConstraintViolated,
    OperationConflict,
)
from ansible_collections.gce.guest.plugins.module_utils._compute.metadata_store import (
    InstanceStore,
    NotKept,
    ProjectStore,
    Store,
    ZonalStore,
    change,
    unverified,
)
from ansible_collections.gce.guest.plugins.module_utils._metadata.custom import MetadataChange, plan
from ansible_collections.gce.guest.plugins.module_utils._metadata.text import LARGEST_VALUE

from support.emulator import EmulatorProcess
from support.raw_server import RawServer, answering, json_answer
from support.shared_time import SharedTime

ZONE = "us-central1-a"
FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 200,
    "attributes": {"motd": "hello"},
    "instances": [{"name": name, "attributes": {"role": "web"}} for name in ("web-1", "web-2")],
}
WRITERS = 20


def client(emulator: EmulatorProcess, **changes: Any) -> ComputeApi:
    options = {"project": "acme", "access_token": "x", "api_endpoint": emulator.compute, "retry_for": 60.0}
    return connect({"request_timeout": 20.0, "requests_per_minute": 0, "auth_kind": None, **options}.get, **changes)


@pytest.fixture
def passing() -> SharedTime:
    return SharedTime()


@pytest.fixture
def api(emulator: EmulatorProcess, passing: SharedTime) -> ComputeApi:
    return client(emulator, time=Time(passing.clock, passing.sleep, lambda: 1.0))


def web(api: ComputeApi, name: str = "web-1") -> InstanceStore:
    return InstanceStore(api, {"name": name, "zone": ZONE})


STORES: list[Callable[[ComputeApi], Store]] = [web, ProjectStore, lambda api: ZonalStore(api, ZONE)]
IDS = ["instance", "project", "zonal"]


def setting(**values: str) -> Callable[[Mapping[str, str]], MetadataChange]:
    return lambda current: plan(current, values)


def adding(line: str) -> Callable[[Mapping[str, str]], MetadataChange]:
    """Adds a line to a value that others add lines to."""

    def planned(current: Mapping[str, str]) -> MetadataChange:
        lines = current.get("lines", "").split()
        return plan(current, {"lines": "\n".join(lines if line in lines else [*lines, line])})

    return planned


def writes(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    return [
        entry
        for entry in emulator.control.journal(face="compute")
        if entry["method"] == "PATCH" or entry["path"].endswith("etadata")
    ]


@pytest.mark.parametrize("store_of", STORES, ids=IDS)
class TestEachStore:
    def test_is_changed(self, api: ComputeApi, store_of: Callable[[ComputeApi], Store]) -> None:
        store = store_of(api)
        before = store.read().values
        done = change(store, setting(a="1", b="2"), deadline=api.clock() + 60)
        assert store.read().values == {**before, "a": "1", "b": "2"} == done.after
        assert unverified([(store, done)], deadline=api.clock() + 60) == {}
        change(store, lambda current: plan(current, {"a": "", "c": ""}, present=False), deadline=api.clock() + 60)
        assert store.read().values == {**before, "b": "2"}

    def test_without_a_change_is_not_written(
        self, api: ComputeApi, emulator: EmulatorProcess, store_of: Callable[[ComputeApi], Store]
    ) -> None:
        change(store_of(api), setting(a="1"), deadline=api.clock() + 60)
        emulator.control.clear_journal()
        assert not change(store_of(api), setting(a="1"), deadline=api.clock() + 60).changed
        assert writes(emulator) == []

    @pytest.mark.parametrize("kind", ["conflict", "operation-conflict"])
    def test_is_changed_despite_conflicts(
        self,
        api: ComputeApi,
        emulator: EmulatorProcess,
        passing: SharedTime,
        store_of: Callable[[ComputeApi], Store],
        kind: str,
    ) -> None:
        """A conflict may end the operation instead of the call (cloudbridge#349, ray#60429)."""
        emulator.control.fault(kind, face="compute", count=12)
        assert change(store_of(api), setting(a="1"), deadline=api.clock() + 600).written == ["a"]
        assert store_of(api).read().values["a"] == "1"
        assert len(writes(emulator)) == 13
        # 0.05, 0.1, 0.2, 0.4 and eight times 0.8 s: the shortest that chance allows.
        assert passing.now == pytest.approx(1007.15)

    @pytest.mark.parametrize("kind, error", [("conflict", ComputeConflict), ("operation-conflict", OperationConflict)])
    def test_fails_at_the_deadline(
        self,
        api: ComputeApi,
        emulator: EmulatorProcess,
        passing: SharedTime,
        store_of: Callable[[ComputeApi], Store],
        kind: str,
        error: type[ComputeError],
    ) -> None:
        emulator.control.fault(kind, face="compute")
        # The longest pauses, so that the last try has seconds of real time for its answers.
        api.random = lambda: 0.0
        with pytest.raises(error, match="no time left to try again"):
            change(store_of(api), setting(a="1"), deadline=api.clock() + 30)
        # 0.5, 1, 2, 4, 8 and 8 s; another 8 would be too much.
        assert passing.now == pytest.approx(1023.5)


@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "by the operation"])
def test_a_refusal_by_a_policy_is_not_retried(passing: SharedTime, is_late: bool) -> None:
    """It looks like a conflict (terraform-google-project-factory#827)."""
    message = "Constraint constraints/compute.requireOsLogin violated for project 1."
    project = {"commonInstanceMetadata": {"fingerprint": "f", "items": [{"key": "enable-oslogin", "value": "TRUE"}]}}
    if is_late:
        link = "https://x/compute/v1/projects/acme/global/operations/o"
        problems = [{"code": "CONDITION_NOT_MET", "message": message}]
        operation = {"name": "o", "status": "DONE", "selfLink": link, "httpErrorStatusCode": 412}
        answer = json_answer({**operation, "error": {"errors": problems}})
    else:
        error = {"code": 412, "message": message, "errors": [{"message": message, "reason": "conditionNotMet"}]}
        answer = json_answer({"error": error}, "412 Precondition Failed")
    with RawServer(answering(json_answer(project), answer)) as server:
        options = {"project": "acme", "access_token": "x", "api_endpoint": f"http://{server.host}", "retry_for": 60.0}
        api = connect(
            {"request_timeout": 20.0, "requests_per_minute": 0, "auth_kind": None, **options}.get,
            time=Time(passing.clock, passing.sleep),
        )
        with pytest.raises(ConstraintViolated, match=r"gcloud org-policies describe compute\.requireOsLogin") as caught:
            change(ProjectStore(api), setting(a="1"), deadline=api.clock() + 300)
        assert len(server.requests) == 2
    assert caught.value.constraint == "compute.requireOsLogin"
    assert passing.now == 1000


class TestTwenty:
    """A conflict may end the operation instead of the call (cloudbridge#349, ray#60429)."""

    def test_concurrent_writers_lose_no_key(self, emulator: EmulatorProcess) -> None:
        for kind in ("conflict", "operation-conflict"):
            emulator.control.fault(kind, face="compute", count=WRITERS)
        # Each has its own client. Pauses are short, since the emulator's operations are.
        apis = [
            client(emulator, time=Time(sleep=lambda seconds: time.sleep(seconds / 50))) for _writer in range(WRITERS)
        ]
        before = self.well_ended(apis[0])
        done: dict[int, MetadataChange] = {}

        def write(number: int) -> None:
            done[number] = change(
                web(apis[number]), setting(**{f"key-{number}": str(number)}), deadline=apis[number].clock() + 300
            )

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == list(range(WRITERS))
        assert all(done[number].written == [f"key-{number}"] for number in done)
        keys = {f"key-{number}": str(number) for number in range(WRITERS)}
        assert web(apis[0]).read().values == {"role": "web", **keys}
        # Each took effect once. All other writes were refused, by the call or by its operation.
        assert self.well_ended(apis[0]) - before == WRITERS

    def well_ended(self, api: ComputeApi) -> int:
        return sum("error" not in operation for operation in api.items(f"zones/{ZONE}/operations", "list"))


def test_a_change_of_the_project_s_metadata_conflicts_with_an_instance_s(
    api: ComputeApi, emulator: EmulatorProcess
) -> None:
    """Project metadata changes the fingerprint of instances (magic-modules#1614)."""
    store = web(api)
    stale = store.read()
    change(ProjectStore(api), setting(motd="bye"), deadline=api.clock() + 60)
    assert store.read().fingerprint != stale.fingerprint
    change(store, setting(a="1"), deadline=api.clock() + 60, snapshot=stale)
    assert store.read().values == {"role": "web", "a": "1"}


def test_change_made_by_others_first_is_not_reported(api: ComputeApi, emulator: EmulatorProcess) -> None:
    store = web(api)
    stale = store.read()
    change(store, setting(a="1"), deadline=api.clock() + 60)
    assert not change(store, setting(a="1"), deadline=api.clock() + 60, snapshot=stale).changed


def test_zonal_metadata_masks_only_changed_keys(api: ComputeApi, emulator: EmulatorProcess) -> None:
    store = ZonalStore(api, ZONE)
    change(store, setting(a="1", b="2"), deadline=api.clock() + 60)
    emulator.control.clear_journal()
    change(store, lambda current: plan(current, {"c": "3"}, purge=True), deadline=api.clock() + 60)
    [entry] = writes(emulator)
    assert "updateMask=metadata.items.c%2Cmetadata.items.a%2Cmetadata.items.b" in entry["query"]
    assert store.read().values == {"c": "3"}


def test_too_large_metadata_names_the_store(api: ComputeApi) -> None:
    big = {f"k{number}": "x" * LARGEST_VALUE for number in range(2)}
    with pytest.raises(
        ComputeBadRequest,
        match=r"Cannot set the metadata of projects/acme/zones/.*/web-1: The custom metadata would have",
    ):
        change(web(api), setting(**big), deadline=api.clock() + 60)


class TestReadingBack:
    def test_finds_overwritten_keys(self, api: ComputeApi, passing: SharedTime) -> None:
        one, two = web(api), web(api, "web-2")
        done = [(store, change(store, setting(a="1"), deadline=api.clock() + 60)) for store in (one, two)]
        change(one, setting(a="2"), deadline=api.clock() + 60)
        problems = unverified(done, deadline=api.clock() + 60)
        assert list(problems) == [one.path]
        assert "a read returns other values for a." in str(problems[one.path])
        # A read may return old values for a moment.
        assert passing.now == pytest.approx(1010)

    @pytest.mark.parametrize("count", [1, 2])
    def test_has_one_deadline_for_all_stores(self, api: ComputeApi, passing: SharedTime, count: int) -> None:
        stores = [web(api), web(api, "web-2")][:count]
        done = [(store, change(store, setting(a="1"), deadline=api.clock() + 60)) for store in stores]
        for store in stores:
            change(store, setting(a="2"), deadline=api.clock() + 60)
        problems = unverified(done, deadline=api.clock() + 3)
        assert {path: error.keys for path, error in problems.items() if isinstance(error, NotKept)} == {
            store.path: ("a",) for store in stores
        }
        assert passing.now == pytest.approx(1003)

    def test_reads_once_after_the_deadline(
        self, api: ComputeApi, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # It is of real time, which a busy machine needs.
        monkeypatch.setattr(_compute_api, "SHORTEST_TRY", 20.0)
        store = web(api)
        done = change(store, setting(a="1"), deadline=api.clock() + 60)
        emulator.control.clear_journal()
        assert unverified([(store, done)], deadline=api.clock() - 60) == {}
        assert len(emulator.control.journal(face="compute")) == 1

    def test_of_nothing_needs_no_request(self) -> None:
        assert unverified([], deadline=0.0) == {}

    def test_does_not_retry_beyond_the_deadline(
        self, api: ComputeApi, emulator: EmulatorProcess, passing: SharedTime
    ) -> None:
        store = web(api)
        done = change(store, setting(a="1"), deadline=api.clock() + 60)
        emulator.control.fault("503", face="compute")
        assert list(unverified([(store, done)], deadline=api.clock() + 5)) == [store.path]
        assert passing.now == pytest.approx(1005)

    def test_ignores_keys_of_others(self, api: ComputeApi) -> None:
        store = web(api)
        done = change(store, lambda current: plan(current, {"a": "1"}, purge=True), deadline=api.clock() + 60)
        change(store, setting(b="2"), deadline=api.clock() + 60)
        assert unverified([(store, done)], deadline=api.clock() + 60) == {}

    def test_accepts_what_the_planner_leaves_as_it_is(self, api: ComputeApi, passing: SharedTime) -> None:
        store, planner = web(api), adding("a")
        done = [(store, change(store, planner, deadline=api.clock() + 60))]
        change(store, adding("b"), deadline=api.clock() + 60)
        planners = {store.path: planner}
        assert unverified(done, deadline=api.clock() + 60, planners=planners) == {}
        assert passing.now == 1000
        change(store, setting(lines="b"), deadline=api.clock() + 60)
        assert list(unverified(done, deadline=api.clock() + 60, planners=planners)) == [store.path]

    def test_of_many_needs_few_requests(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        done = [
            (store, change(store, setting(a="1"), deadline=api.clock() + 60)) for store in (web(api), web(api, "web-2"))
        ]
        emulator.control.clear_journal()
        assert unverified(done, deadline=api.clock() + 60) == {}
        assert len(emulator.control.journal(face="compute")) == 1

    def test_of_thousands_may_take_longer_than_a_read_is_behind(
        self, api: ComputeApi, emulator: EmulatorProcess, passing: SharedTime
    ) -> None:
        done = [
            (store, change(store, setting(a="1"), deadline=api.clock() + 60)) for store in (web(api), web(api, "web-2"))
        ]
        # Pauses between the tries, instead of many pages.
        emulator.control.fault("503", face="compute", count=6)
        assert unverified(done, deadline=api.clock() + 60) == {}
        assert passing.now > 1010

    def test_that_fails_is_reported(self, api: ComputeApi, emulator: EmulatorProcess) -> None:
        done = [
            (store, change(store, setting(a="1"), deadline=api.clock() + 60)) for store in (web(api), web(api, "web-2"))
        ]
        emulator.control.fault("503", face="compute")
        assert set(unverified(done, deadline=api.clock() + 60)) == {store.path for store, _plan in done}
