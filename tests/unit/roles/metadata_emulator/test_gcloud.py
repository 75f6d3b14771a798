# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gcloud commands of Google's pages on metadata, guest attributes and host maintenance, against the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.emulator import EmulatorProcess, eventually
from support.gcloud import MISSING, PROGRAM, Gcloud, names, side_by_side

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

A, B, C = (f"--zone=us-central1-{letter}" for letter in "abc")
FLEET = {
    "project": "shop",
    "speed": 1000,
    "instances": [
        {"name": "web-1", "labels": {"app": "web"}},
        {"name": "web-2"},
        {"name": "web-3"},
        {"name": "db-1", "zone": "us-central1-b"},
        {"name": "gpu-1", "accelerators": [{"type": "nvidia-l4"}]},
        {"name": "spot-1", "zone": "us-central1-b", "scheduling": {"preemptible": True}},
        {"name": "ledger-1", "zone": "us-central1-c"},
        {"name": "train-1", "zone": "us-central1-c", "accelerators": [{"type": "nvidia-h100-mega-80gb", "count": 8}]},
    ],
    "node_groups": [{"name": "licensed", "nodes": [{"instances": ["ledger-1"]}, {}]}],
    "reservations": [{"name": "train", "blocks": [{"sub_blocks": [{"count": 2, "instances": ["train-1"]}]}]}],
}


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as running:
        yield running


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    process.control.reset()
    return process


@pytest.fixture
def gcloud(emulator: EmulatorProcess, tmp_path: Path) -> Gcloud:
    return Gcloud(emulator.compute, "shop", tmp_path)


def test_metadata(emulator: EmulatorProcess, gcloud: Gcloud, tmp_path: Path) -> None:
    """https://cloud.google.com/compute/docs/metadata/setting-custom-metadata"""
    script = tmp_path / "startup.sh"
    script.write_text("#!/bin/sh\necho 'a,b=c' é\n", encoding="utf-8")
    control = emulator.control

    def of_an_instance() -> None:
        gcloud(f"compute instances add-metadata web-1 {A} --metadata=foo=bar,enable-oslogin=TRUE")
        gcloud(f"compute instances add-metadata web-1 {A} --metadata-from-file=startup-script={script}")
        assert control.get("web-1", "instance/attributes") == {
            "enable-oslogin": "TRUE",
            "foo": "bar",
            "startup-script": script.read_text(encoding="utf-8"),
        }
        shown = gcloud(f"compute instances describe web-1 {A} --flatten=metadata[]")
        assert "key: startup-script" in shown
        gcloud(f"compute instances remove-metadata web-1 {A} --keys=foo,startup-script")
        assert control.get("web-1", "instance/attributes") == {"enable-oslogin": "TRUE"}
        gcloud(f"compute instances remove-metadata web-1 {A} --all")
        assert control.get("web-1", "instance/attributes") == {}

    def of_the_project() -> None:
        gcloud(f"compute project-info add-metadata --metadata=owner=ops,tier=prod --metadata-from-file=note={script}")
        assert control.get("web-2", "project/attributes/tier") == "prod"
        shown = gcloud.json("compute project-info describe")
        assert {each["key"] for each in shown["commonInstanceMetadata"]["items"]} == {"owner", "tier", "note"}
        gcloud("compute project-info remove-metadata --keys=tier,note")
        assert control.get("web-2", "project/attributes/owner") == "ops"
        gcloud("compute project-info remove-metadata --all")

    def of_a_zone() -> None:
        gcloud(f"compute project-zonal-metadata add {B} --metadata=shelf=top,rack=7")
        assert control.get("db-1", "project/attributes/shelf") == "top"
        shown = gcloud.json(f"compute project-zonal-metadata describe {B}")
        assert shown["metadata"]["items"] == {"shelf": "top", "rack": "7"}
        gcloud(f"compute project-zonal-metadata remove {B} --keys=rack")
        gcloud(f"compute project-zonal-metadata remove {B} --keys=shelf")
        assert gcloud.json(f"compute project-zonal-metadata describe {B}")["metadata"] is None
        # Also in a zone without instances.
        gcloud(f"compute project-zonal-metadata add {C} --metadata=shelf=low")

    side_by_side(of_an_instance, of_a_zone)
    # Not at the same time: it changes the fingerprint of the instance's metadata.
    of_the_project()


def test_guest_attributes(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    """https://cloud.google.com/compute/docs/metadata/manage-guest-attributes"""
    emulator.control.set("web-1", "instance/guest-attributes/ci/state", "ready")
    emulator.control.set("web-1", "instance/guest-attributes/ci/build", "7")

    def enabling() -> None:
        gcloud(f"compute instances add-metadata web-2 {A} --metadata=enable-guest-attributes=TRUE")
        effective = gcloud.json(f"compute instances describe web-2 {A}")["resourceStatus"]["effectiveInstanceMetadata"]
        assert effective["enableGuestAttributesMetadataValue"] is True

    def reading() -> None:
        found = gcloud.json(f"compute instances get-guest-attributes web-1 {A}")
        assert [(each["key"], each["value"]) for each in found] == [("build", "7"), ("state", "ready")]
        assert "ready" in gcloud(f"compute instances get-guest-attributes web-1 {A} --query-path=ci/state")
        found = gcloud.json(f"compute instances get-guest-attributes web-1 {A} --query-path=ci/")
        assert len(found) == 2

    def of_none() -> None:
        said = gcloud.refusal(f"compute instances get-guest-attributes web-3 {A} --query-path=hostkeys/")
        assert "The resource 'hostkeys/' of type 'Guest Attribute' was not found." in said

    side_by_side(enabling, reading, of_none)


def test_host_maintenance(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    """https://cloud.google.com/compute/docs/instances/monitor-plan-host-maintenance-event and its neighbours"""
    window = {"window_start_time": "2099-12-01T10:00:00Z", "can_reschedule": True}
    emulator.control.set("web-2", "instance/upcoming-maintenance", window)

    def simulating() -> None:
        gcloud(f"compute instances simulate-maintenance-event web-1 gpu-1 {A}")
        said = gcloud.run(f"compute instances simulate-maintenance-event db-1 spot-1 {B} --async").stderr
        assert said.count("/operations/operation-") == 2
        drift_token = "instance/virtual-clock/drift-token"
        eventually(lambda: emulator.control.get("db-1", drift_token) != "0", what="the migration of db-1")
        eventually(lambda: emulator.control.instance("spot-1")["preempted"], what="the preemption of spot-1")
        assert emulator.control.instance("gpu-1")["boot_count"] == 2

    def performing() -> None:
        shown = gcloud(f"compute instances describe web-2 {A} --format=yaml(resourceStatus.upcomingMaintenance)")
        assert "maintenanceStatus: PENDING" in shown
        listed = gcloud.json("compute instances list --filter=resourceStatus.upcomingMaintenance.canReschedule=true")
        assert names(listed) == ["web-2"]
        gcloud(f"compute instances perform-maintenance web-2 {A}")
        assert "has no pending maintenance" in gcloud.refusal(f"compute instances perform-maintenance web-2 {A}")

    def scheduling() -> None:
        gcloud(f"compute instances set-scheduling web-3 {A} --maintenance-policy=TERMINATE --no-restart-on-failure")
        shown = gcloud.json(f"compute instances describe web-3 {A}")["scheduling"]
        assert (shown["onHostMaintenance"], shown["automaticRestart"]) == ("TERMINATE", False)
        gcloud(f"compute instances set-scheduling web-3 {A} --maintenance-policy=MIGRATE --restart-on-failure")
        assert emulator.control.get("web-3", "instance/scheduling/on-host-maintenance") == "MIGRATE"
        gcloud(f"compute instances set-scheduling web-3 {A} --local-ssd-recovery-timeout=2")
        shown = gcloud.json(f"compute instances describe web-3 {A}")["scheduling"]
        assert shown["localSsdRecoveryTimeout"] == {"seconds": "7200"}

    side_by_side(simulating, performing, scheduling)

    def migrations() -> None:
        found = gcloud.json("compute operations list --filter=operationType=compute.instances.migrateOnHostMaintenance")
        assert {each["targetLink"].rpartition("/")[2] for each in found} == {"web-1", "web-2", "db-1"}
        (operation, *_others) = found
        zone = operation["zone"].rpartition("/")[2]
        shown = gcloud.json(f"compute operations describe {operation['name']} --zone={zone}")
        assert (shown["status"], shown["user"]) == ("DONE", "system")

    def preemptions() -> None:
        (found,) = gcloud.json("compute operations list --filter=operationType=compute.instances.preempted")
        assert found["targetLink"].endswith("/spot-1")

    def in_zones() -> None:
        found = gcloud.json("compute operations list --zones=us-central1-a,us-central1-b")
        assert {each["operationType"] for each in found} >= {"simulateMaintenanceEvent", "performMaintenance"}
        assert gcloud.json("compute operations list --global") == []

    side_by_side(migrations, preemptions, in_zones)


def test_sole_tenancy(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    """https://cloud.google.com/compute/docs/nodes/manage-planned-maintenance"""
    groups = "compute sole-tenancy node-groups"

    def windows() -> dict[str, bool]:
        return {
            node["name"]: "upcomingMaintenance" in node for node in gcloud.json(f"{groups} list-nodes licensed {C}")
        }

    assert names(gcloud.json(f"{groups} list")) == ["licensed"]
    assert gcloud.json(f"{groups} describe licensed {C}")["maintenancePolicy"] == "DEFAULT"
    emulator.control.request("POST", "node-groups/licensed/scenarios", {"name": "window-announced", "starts_in": 1e9})
    assert windows() == {"licensed-1": True, "licensed-2": True}
    said = gcloud.run(f"{groups} perform-maintenance licensed {C} --nodes=licensed-1").stderr
    assert "/operations/operation-" in said
    eventually(lambda: windows() == {"licensed-1": False, "licensed-2": True}, what="the node is maintained", within=30)
    gcloud(f"{groups} simulate-maintenance-event licensed {C} --nodes=licensed-1")
    found = gcloud.json("compute operations list --filter=operationType=compute.instances.migrateOnHostMaintenance")
    assert {each["targetLink"].rpartition("/")[2] for each in found} == {"ledger-1"}
    later = f"{groups} perform-maintenance licensed {C} --nodes=licensed-2 --start-time=2099-01-01T00:00:00Z"
    gcloud(later)

    def start() -> Any:
        (node,) = gcloud.json(f"{groups} list-nodes licensed {C} --filter=name=licensed-2")
        return node["upcomingMaintenance"]["windowStartTime"]

    eventually(lambda: start() == "2099-01-01T00:00:00Z", what="the start is scheduled", within=30)


def test_reservations(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    """https://cloud.google.com/ai-hypercomputer/docs/manage/host-events"""
    block, part = "--block-name=train-block-0001", "--sub-block-name=train-block-0001-subblock-0001"

    def pending() -> int:
        status = gcloud.json(f"compute reservations describe train {C}")["resourceStatus"]
        return int(status["reservationMaintenance"]["maintenancePendingCount"])

    def announce() -> None:
        emulator.control.request("POST", "reservations/train/scenarios", {"name": "window-announced", "starts_in": 1e9})

    def reading() -> None:
        assert names(gcloud.json("compute reservations list")) == ["train"]
        blocks = gcloud.json(f"compute reservations blocks list train {C}")
        assert "train-block-0001" in str(blocks)
        shown = gcloud.json(f"compute reservations blocks describe train {C} {block}")
        assert shown["resource"]["reservationMaintenance"]["schedulingType"] == "GROUPED"

    def reading_sub_blocks() -> None:
        parts = gcloud.json(f"compute reservations sub-blocks list train {C} {block}")
        assert "train-block-0001-subblock-0001" in str(parts)
        shown = gcloud.json(f"compute reservations sub-blocks describe train {C} {block} {part}")
        assert shown["resource"]["count"] == 2

    side_by_side(reading, reading_sub_blocks)
    announce()
    assert pending() == 2
    gcloud(f"compute reservations perform-maintenance train {C} --scope=running")
    assert pending() == 1
    gcloud(f"compute reservations blocks perform-maintenance train {C} {block} --scope=all")
    assert pending() == 0
    assert "no host in scope" in gcloud.refusal(f"compute reservations perform-maintenance train {C} --scope=all")


def test_faulty_host(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    gcloud(
        f"compute instances report-host-as-faulty train-1 {C} --disruption-schedule=IMMEDIATE"
        " --fault-reasons=behavior=PERFORMANCE,description=slow"
    )
    assert emulator.control.instance("train-1")["boot_count"] == 2


def test_power(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    """https://cloud.google.com/compute/docs/instances/stop-start-instance"""

    def address(name: str) -> Any:
        (interface,) = gcloud.json(f"compute instances describe {name} {A}")["networkInterfaces"]
        return interface["accessConfigs"][0].get("natIP")

    def stopping() -> None:
        before = address("web-1")
        gcloud(f"compute instances stop web-1 web-2 {A}")
        assert emulator.control.instance("web-2")["status"] == "TERMINATED"
        assert address("web-1") is None
        gcloud(f"compute instances start web-1 web-2 {A}")
        assert address("web-1") not in (None, before)

    def resetting() -> None:
        gcloud(f"compute instances reset web-3 {A}")
        assert emulator.control.instance("web-3")["boot_count"] == 2
        output = gcloud(f"compute instances get-serial-port-output web-3 {A}")
        assert [line.split(" at ")[0] for line in output.splitlines() if line] == ["web-3: boot 1", "web-3: boot 2"]

    def deleting() -> None:
        gcloud(f"compute instances delete db-1 {B} --quiet")
        assert "was not found" in gcloud.refusal(f"compute instances describe db-1 {B}")

    side_by_side(stopping, resetting, deleting)


def test_lists_of_resources(emulator: EmulatorProcess, gcloud: Gcloud) -> None:
    def marks() -> None:
        gcloud(f"compute instances add-labels web-1 {A} --labels=env=prod")
        gcloud(f"compute instances update web-1 {A} --update-labels=env=test --remove-labels=app")
        gcloud(f"compute instances add-tags web-1 {A} --tags=front,http")
        gcloud(f"compute instances remove-tags web-1 {A} --tags=http")
        (found,) = gcloud.json("compute instances list --filter=labels.env=test")
        assert (found["name"], found["labels"], found["tags"]["items"]) == ("web-1", {"env": "test"}, ["front"])
        gcloud(f"compute instances remove-labels web-1 {A} --labels=env")
        assert emulator.control.get("web-1", "instance/tags") == ["front"]

    def lists() -> None:
        listed = gcloud.json("compute instances list --zones=us-central1-a,us-central1-b")
        assert names(listed) == ["db-1", "gpu-1", "spot-1", "web-1", "web-2", "web-3"]
        assert "us-central1-f" in names(gcloud.json("compute zones list"))
        assert "us-central1" in gcloud("compute regions list")
        assert names(gcloud.json("compute disks list --filter=name=db-1")) == ["db-1"]

    side_by_side(marks, lists)
