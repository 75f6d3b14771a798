# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop, start, reset and delete by the Compute API, and the guest's view."""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import requests

from gce_emulator.scenarios import catalogue
from support.compute_api import ComputeApi, compute_api
from support.emulator import EmulatorProcess, eventually
from support.wire import ask

ZONE = "zones/us-central1-a"
WEB, FIXED = f"{ZONE}/instances/web-1", f"{ZONE}/instances/fixed-1"
FLEET: dict[str, Any] = {
    "instances": [
        {"name": "web-1", "disks": [{}, {"device_name": "data"}, {"type": "LOCAL-SSD"}]},
        {"name": "fixed-1", "network_interfaces": [{"external_ip": "198.51.100.7"}]},
        {"name": "inner-1", "network_interfaces": [{}]},
    ],
}


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ComputeApi]:
    async with compute_api(FLEET) as served:
        yield served


async def do(api: ComputeApi, path: str, method: str = "", **query: str) -> Any:
    """The operation once it is DONE; without a method, a deletion."""
    verb = "POST" if method else "DELETE"
    status, operation = await api.request(verb, f"{path}/{method}".rstrip("/"), query)
    assert status == 200, operation
    assert operation["operationType"] == (method or "delete")
    return await api.done(operation)


async def nat_ip(api: ComputeApi, path: str) -> Any:
    (config,) = (await api.get(path))[1]["networkInterfaces"][0]["accessConfigs"]
    return config.get("natIP")


async def status_of(api: ComputeApi, path: str = WEB) -> str:
    return str((await api.get(path))[1]["status"])


async def test_stop_and_start(api: ComputeApi) -> None:
    assert "error" not in await do(api, WEB, "stop")
    stopped = (await api.get(WEB))[1]
    assert (stopped["status"], "lastStopTimestamp" in stopped) == ("TERMINATED", True)
    assert "error" not in await do(api, WEB, "start")
    assert await status_of(api) == "RUNNING"
    assert api.project.instances["web-1"].boot_count == 2


async def test_a_stop_releases_an_ephemeral_address_and_a_start_assigns_one(api: ComputeApi) -> None:
    before, path = await nat_ip(api, WEB), "instance/network-interfaces/0/access-configs/0/external-ip"
    await do(api, WEB, "stop")
    assert await nat_ip(api, WEB) is None
    await do(api, WEB, "start")
    after = await nat_ip(api, WEB)
    assert after not in (None, before)
    assert api.project.instances["web-1"].get(path) == after


async def test_a_reserved_address_stays(api: ComputeApi) -> None:
    await do(api, FIXED, "stop")
    assert await nat_ip(api, FIXED) == "198.51.100.7"


async def test_a_preemption_releases_the_address(api: ComputeApi) -> None:
    api.project.instances["web-1"].stop()
    assert await nat_ip(api, WEB) is None
    api.project.reset()
    assert await nat_ip(api, WEB) == "203.0.113.2"


async def test_vm_without_an_external_address_gets_no_address_at_its_start(api: ComputeApi) -> None:
    path = f"{ZONE}/instances/inner-1"
    await do(api, path, "stop")
    await do(api, path, "start")
    assert "accessConfigs" not in (await api.get(path))[1]["networkInterfaces"][0]


async def test_stopping_a_stopped_vm_and_starting_a_running_one_succeed(api: ComputeApi) -> None:
    assert "error" not in await do(api, WEB, "start")
    assert api.project.instances["web-1"].boot_count == 1
    await do(api, WEB, "stop")
    assert "error" not in await do(api, WEB, "stop")


async def test_a_stop_during_an_outage_prevents_the_boot(api: ComputeApi) -> None:
    instance = api.project.instances["web-1"]
    run = catalogue.start(instance, "host-termination", {"notice": 0, "down": 1e9})
    assert instance.status == "TERMINATED"
    await do(api, WEB, "stop")
    assert (instance.status, run.done.done(), instance.runs) == ("TERMINATED", True, {})


async def test_the_api_shows_a_graceful_stop() -> None:
    # A compressed hour takes six minutes.
    async with compute_api({**FLEET, "speed": 10, "durations": {"operation": 0, "shutdown": 0}}) as api:
        scheduling = {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "3600"}}}
        await api.done((await api.post(f"{WEB}/setScheduling", scheduling))[1])
        assert (await api.get(WEB))[1]["scheduling"]["gracefulShutdown"] == scheduling["gracefulShutdown"]
        await api.post(f"{WEB}/stop")
        while await status_of(api) == "RUNNING":
            pass
        shown = (await api.get(WEB))[1]
        assert shown["status"] == "PENDING_STOP"
        details = shown["resourceStatus"]["shutdownDetails"]
        assert (details["stopState"], details["targetState"], details["maxDuration"]) == (
            "PENDING_STOP",
            "STOPPED",
            {"seconds": "360"},
        )
        status, refusal = await api.post(f"{WEB}/start")
        assert (status, refusal["error"]["errors"][0]["reason"]) == (400, "resourceNotReady")
        await do(api, WEB, "stop", noGracefulShutdown="true")
        assert await status_of(api) == "TERMINATED"


@pytest.mark.parametrize("wanted", ["yes", {"enabled": "yes"}, {"enabled": True, "maxDuration": {"seconds": "3601"}}])
async def test_an_invalid_graceful_shutdown_is_refused(api: ComputeApi, wanted: Any) -> None:
    status, answer = await api.post(f"{WEB}/setScheduling", {"gracefulShutdown": wanted})
    assert (status, "gracefulShutdown" in answer["error"]["message"]) == (400, True)


async def test_a_reset_boots_at_once(api: ComputeApi) -> None:
    before = await nat_ip(api, WEB)
    assert "error" not in await do(api, WEB, "reset")
    instance = api.project.instances["web-1"]
    assert (instance.status, instance.boot_count, await nat_ip(api, WEB)) == ("RUNNING", 2, before)


async def test_a_stopped_vm_cannot_be_reset(api: ComputeApi) -> None:
    await do(api, WEB, "stop")
    status, answer = await api.post(f"{WEB}/reset")
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "resourceNotReady")


async def test_a_repeated_request_is_done_once(api: ComputeApi) -> None:
    request_id = str(uuid.uuid4())
    first, second = [(await api.post(f"{WEB}/reset", requestId=request_id))[1] for _unused in range(2)]
    assert first["name"] == second["name"]
    await api.done(first)
    assert api.project.instances["web-1"].boot_count == 2


async def test_deleted_vm_and_its_boot_disk_are_removed(api: ComputeApi) -> None:
    assert "error" not in await do(api, WEB)
    assert (await api.get(WEB))[0] == 404
    assert "web-1" not in str((await api.get("aggregated/instances"))[1])
    disks = (await api.get("aggregated/disks"))[1]["items"][ZONE]["disks"]
    assert {disk["name"]: "users" in disk for disk in disks} == {
        "web-1-data": False,
        "fixed-1": True,
        "inner-1": True,
    }
    api.project.reset()
    assert await status_of(api) == "RUNNING"


async def test_disks_are_listed_and_found(api: ComputeApi) -> None:
    _status, answer = await api.get("aggregated/disks", filter="name:web-*")
    boot, data = answer["items"][ZONE]["disks"]
    web = (await api.get(WEB))[1]
    assert [disk.get("source") for disk in web["disks"]] == [boot["selfLink"], data["selfLink"], None]
    assert (boot["type"].rpartition("/")[2], boot["sizeGb"], boot["users"]) == ("pd-balanced", "10", [web["selfLink"]])
    assert (await api.get(f"{ZONE}/disks/web-1-data"))[1] == data
    assert len((await api.get(f"{ZONE}/disks"))[1]["items"]) == 4
    assert (await api.get(f"{ZONE}/disks/none"))[0] == 404


# Serial ports


async def test_the_serial_port_has_boots_and_written_text(api: ComputeApi) -> None:
    await do(api, WEB, "reset")
    _status, first = await api.get(f"{WEB}/serialPort")
    lines = first["contents"].splitlines()
    assert [line.split(" at ")[0] for line in lines] == ["web-1: boot 1", "web-1: boot 2"]
    api.project.instances["web-1"].serial(1).write("startup-script: hé\n")
    _status, more = await api.get(f"{WEB}/serialPort", start=first["next"])
    assert (more["contents"], more["start"]) == ("startup-script: hé\n", first["next"])
    assert (await api.get(f"{WEB}/serialPort", port="2"))[1]["contents"] == ""


async def test_only_the_last_mebibyte_of_a_serial_port_is_kept(api: ComputeApi) -> None:
    port = api.project.instances["web-1"].serial(2)
    port.write("a" * 2**20)
    port.write("b" * 10)
    _status, answer = await api.get(f"{WEB}/serialPort", port="2")
    assert (answer["start"], answer["next"], len(answer["contents"])) == ("10", str(2**20 + 10), 2**20)
    assert (await api.get(f"{WEB}/serialPort", port="2", start="-3"))[1]["contents"] == "bbb"


@pytest.mark.parametrize("query", [{"port": "5"}, {"port": "x"}, {"start": "1.5"}])
async def test_an_invalid_serial_port_is_refused(api: ComputeApi, query: dict[str, str]) -> None:
    assert (await api.get(f"{WEB}/serialPort", **query))[0] == 400


async def test_a_stopped_vm_has_no_serial_port(api: ComputeApi) -> None:
    api.project.instances["web-1"].stop()
    status, answer = await api.get(f"{WEB}/serialPort")
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "resourceNotReady")


# What the guest sees


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess({"speed": 1000, **FLEET}) as process:
        yield process


def call(emulator: EmulatorProcess, verb: str, path: str) -> None:
    url = f"{emulator.compute}/compute/v1/projects/emulated-project/{path}"
    assert requests.request(verb, url, timeout=20).status_code == 200


def test_a_stopped_vms_metadata_server_does_not_answer(emulator: EmulatorProcess) -> None:
    call(emulator, "POST", f"{WEB}/stop")
    eventually(lambda: ask(emulator.metadata["web-1"], "instance/name").status == 503, what="it is off")
    call(emulator, "POST", f"{WEB}/start")
    eventually(lambda: ask(emulator.metadata["web-1"], "instance/name").status == 200, what="it is on")


def test_deleted_vm_has_no_metadata_server(emulator: EmulatorProcess) -> None:
    call(emulator, "DELETE", WEB)

    def is_refused() -> bool:
        try:
            ask(emulator.metadata["web-1"], "instance/name")
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            # The connection was made just before the socket was closed.
            return False
        return False

    eventually(is_refused, what="nobody listens")
    assert "web-1" not in emulator.control.request("GET", "/")["metadata"]
    emulator.control.reset()
    eventually(lambda: not is_refused(), what="it is back")


def test_a_reset_ends_the_guests_connections(emulator: EmulatorProcess) -> None:
    with requests.Session() as session:
        session.headers["Metadata-Flavor"] = "Google"
        url = f"http://{emulator.metadata['web-1']}/computeMetadata/v1/instance/name?wait_for_change=true"

        def reset() -> None:
            eventually(lambda: emulator.control.instance("web-1")["hanging_gets"] == 1, what="the GET hangs")
            call(emulator, "POST", f"{WEB}/reset")

        resetting = threading.Thread(target=reset)
        resetting.start()
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=30)
        resetting.join()
    assert emulator.control.instance("web-1")["boot_count"] == 2


def test_the_control_face_writes_to_a_serial_port(emulator: EmulatorProcess) -> None:
    emulator.control.request("POST", "instances/web-1/serial", {"text": "hello\n", "port": 2})
    url = f"{emulator.compute}/compute/v1/projects/emulated-project/{WEB}/serialPort?port=2"
    assert requests.get(url, timeout=20).json()["contents"] == "hello\n"
