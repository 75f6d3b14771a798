# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's own client of the Compute API, unmodified, against the emulator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1

from support.emulator import EmulatorProcess, eventually
from support.google_client import google_client

PROJECT, ZONE = "shop", "us-central1-a"
FLEET = {
    "project": PROJECT,
    "speed": 1000,
    "attributes": {"owner": "platform"},
    "instances": [
        {"name": "web-1", "attributes": {"role": "web", "enable-guest-attributes": "TRUE"}},
        {"name": "web-2", "zone": "europe-west1-b"},
        {"name": "db-1", "zone": "us-west1-a"},
        {"name": "gpu-1", "zone": "us-west1-a", "accelerators": [{"type": "nvidia-h100-mega-80gb", "count": 8}]},
    ],
    "node_groups": [{"name": "licensed", "nodes": [{"instances": ["db-1"]}, {}]}],
    "reservations": [{"name": "train", "blocks": [{"sub_blocks": [{"count": 2, "instances": ["gpu-1"]}]}]}],
}


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess(FLEET) as process:
        yield process


@pytest.fixture
def emulator(running_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    running_emulator.control.reset()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return running_emulator


@pytest.fixture
def client(emulator: EmulatorProcess) -> Any:
    """For any of its services."""
    return lambda service: google_client(service, emulator.compute)


def items(metadata: Any) -> dict[str, str]:
    return {item.key: item.value for item in metadata.items}


def with_items(fingerprint: str, **values: str) -> Any:
    return compute_v1.Metadata(
        fingerprint=fingerprint, items=[compute_v1.Items(key=key, value=value) for key, value in values.items()]
    )


class TestInstances:
    @pytest.fixture
    def instances(self, client: Any) -> Any:
        return client(compute_v1.InstancesClient)

    @pytest.fixture
    def web(self) -> dict[str, str]:
        return {"project": PROJECT, "zone": ZONE, "instance": "web-1"}

    def test_are_listed_over_all_zones_page_by_page(self, instances: Any) -> None:
        request = compute_v1.AggregatedListInstancesRequest(project=PROJECT, max_results=1)
        names = [
            each.name for _scope, scoped in instances.aggregated_list(request=request) for each in scoped.instances
        ]
        assert sorted(names) == ["db-1", "gpu-1", "web-1", "web-2"]

    def test_are_found_by_a_filter(self, instances: Any) -> None:
        request = compute_v1.ListInstancesRequest(project=PROJECT, zone=ZONE, filter='name eq "web-.*"')
        assert [each.name for each in instances.list(request=request)] == ["web-1"]

    def test_accept_metadata(self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]) -> None:
        before = instances.get(**web).metadata
        wanted = with_items(before.fingerprint, role="db")
        assert instances.set_metadata(**web, metadata_resource=wanted).result(timeout=30) is None
        after = instances.get(**web).metadata
        assert items(after) == {"role": "db"}
        assert after.fingerprint != before.fingerprint
        assert emulator.control.get("web-1", "instance/attributes/role") == "db"

    def test_lose_all_metadata_with_an_empty_list(self, instances: Any, web: dict[str, str]) -> None:
        """An empty list is not sent at all."""
        wanted = with_items(instances.get(**web).metadata.fingerprint)
        instances.set_metadata(**web, metadata_resource=wanted).result(timeout=30)
        assert items(instances.get(**web).metadata) == {}

    def test_reject_an_outdated_fingerprint(self, instances: Any, web: dict[str, str]) -> None:
        with pytest.raises(exceptions.PreconditionFailed) as refused:
            instances.set_metadata(**web, metadata_resource=with_items("AAAAAAAAAAA=", role="db"))
        assert refused.value.errors[0]["reason"] == "conditionNotMet"

    def test_report_a_conflict_in_the_operation(
        self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]
    ) -> None:
        emulator.control.fault("operation-conflict", face="compute", count=1)
        wanted = with_items(instances.get(**web).metadata.fingerprint, role="db")
        with pytest.raises(exceptions.PreconditionFailed) as refused:
            instances.set_metadata(**web, metadata_resource=wanted).result(timeout=30)
        assert refused.value.errors[0].code == "CONDITION_NOT_MET"

    def test_apply_a_repeated_request_once(self, instances: Any, web: dict[str, str]) -> None:
        request = compute_v1.SetMetadataInstanceRequest(
            **web,
            request_id=str(uuid.uuid4()),
            metadata_resource=with_items(instances.get(**web).metadata.fingerprint, role="db"),
        )
        assert instances.set_metadata(request=request).name == instances.set_metadata(request=request).name

    def test_are_maintained(self, instances: Any, web: dict[str, str]) -> None:
        operation = instances.simulate_maintenance_event(**web)
        assert operation.result(timeout=30) is None
        assert operation.error_code == 0

    def test_accept_scheduling(self, instances: Any, web: dict[str, str]) -> None:
        wanted = compute_v1.Scheduling(on_host_maintenance="TERMINATE", host_error_timeout_seconds=120)
        instances.set_scheduling(**web, scheduling_resource=wanted).result(timeout=30)
        scheduling = instances.get(**web).scheduling
        assert (scheduling.on_host_maintenance, scheduling.host_error_timeout_seconds) == ("TERMINATE", 120)
        assert scheduling.automatic_restart is True

    def test_stop_gracefully_and_start(self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]) -> None:
        graceful = compute_v1.SchedulingGracefulShutdown(enabled=True, max_duration=compute_v1.Duration(seconds=3600))
        wanted = compute_v1.Scheduling(graceful_shutdown=graceful)
        instances.set_scheduling(**web, scheduling_resource=wanted).result(timeout=30)
        assert instances.get(**web).scheduling.graceful_shutdown.max_duration.seconds == 3600
        emulator.control.speed(1)
        stopping = instances.stop(**web)

        def details() -> Any:
            return instances.get(**web).resource_status.shutdown_details

        eventually(lambda: details().stop_state == "PENDING_STOP", what="the stop is announced")
        assert (details().target_state, details().max_duration.seconds) == ("STOPPED", 3600)
        assert emulator.control.get("web-1", "instance/shutdown-details/stop-state") == "PENDING_STOP"
        emulator.control.speed(1000)
        instances.stop(request=compute_v1.StopInstanceRequest(**web, no_graceful_shutdown=True)).result(timeout=30)
        stopping.result(timeout=30)
        assert instances.get(**web).status == "TERMINATED"
        instances.start(**web).result(timeout=30)
        assert instances.get(**web).status == "RUNNING"

    def test_are_deleted(self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]) -> None:
        request = compute_v1.DeleteInstanceRequest(**web, no_graceful_shutdown=True)
        instances.delete(request=request).result(timeout=30)
        with pytest.raises(exceptions.NotFound):
            instances.get(**web)

    def test_accept_the_other_limits_of_their_run(self, instances: Any, web: dict[str, str]) -> None:
        instances.stop(**web).result(timeout=30)
        seconds = compute_v1.Duration
        wanted = compute_v1.Scheduling(
            provisioning_model="SPOT",
            automatic_restart=False,
            on_host_maintenance="TERMINATE",
            instance_termination_action="STOP",
            preemption_notice_duration=seconds(seconds=120),
            max_run_duration=seconds(seconds=86400),
            local_ssd_recovery_timeout=seconds(seconds=7200),
        )
        instances.set_scheduling(**web, scheduling_resource=wanted).result(timeout=30)
        shown = instances.get(**web).scheduling
        assert (
            shown.preemption_notice_duration.seconds,
            shown.max_run_duration.seconds,
            shown.local_ssd_recovery_timeout.seconds,
        ) == (120, 86400, 7200)

    def test_show_the_platform_s_operations(
        self, emulator: EmulatorProcess, client: Any, instances: Any, web: dict[str, str]
    ) -> None:
        emulator.control.scenario("web-1", "host-error")
        operations = client(compute_v1.ZoneOperationsClient)

        def types() -> set[str]:
            request = compute_v1.ListZoneOperationsRequest(project=PROJECT, zone=ZONE, filter="user=system")
            return {each.operation_type for each in operations.list(request=request)}

        wanted = {"compute.instances.hostError", "compute.instances.automaticRestart"}
        eventually(lambda: types() == wanted, what="both are recorded")

    def test_show_the_window_of_their_maintenance(
        self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]
    ) -> None:
        emulator.control.set(
            "web-1",
            "instance/upcoming-maintenance",
            {"window_start_time": "2099-12-01T10:00:00Z", "can_reschedule": True},
        )
        window = instances.get(**web).resource_status.upcoming_maintenance
        assert window.can_reschedule
        assert window.maintenance_status == "PENDING"

    def test_have_no_guest_attributes_by_default(self, instances: Any, web: dict[str, str]) -> None:
        with pytest.raises(exceptions.NotFound, match="of type 'Guest Attribute' was not found"):
            instances.get_guest_attributes(
                request=compute_v1.GetGuestAttributesInstanceRequest(**web, query_path="hostkeys/")
            )

    def test_return_guest_attributes(self, emulator: EmulatorProcess, instances: Any, web: dict[str, str]) -> None:
        emulator.control.set("web-1", "instance/guest-attributes/app/state", "ready")
        answer = instances.get_guest_attributes(
            request=compute_v1.GetGuestAttributesInstanceRequest(**web, query_path="app/")
        )
        assert [(item.namespace, item.key, item.value) for item in answer.query_value.items] == [
            ("app", "state", "ready")
        ]


class TestProject:
    def test_accepts_metadata(self, emulator: EmulatorProcess, client: Any) -> None:
        projects = client(compute_v1.ProjectsClient)
        before = projects.get(project=PROJECT).common_instance_metadata
        assert items(before) == {"owner": "platform"}
        wanted = with_items(before.fingerprint, owner="search")
        projects.set_common_instance_metadata(project=PROJECT, metadata_resource=wanted).result(timeout=30)
        assert emulator.control.get("web-2", "project/attributes/owner") == "search"


class TestZone:
    def test_accepts_metadata(self, emulator: EmulatorProcess, client: Any) -> None:
        """Keys of the mask are set, or deleted where the body does not have them."""
        settings = client(compute_v1.InstanceSettingsServiceClient)

        def patch(mask: str, **values: str) -> None:
            request = compute_v1.PatchInstanceSettingRequest(
                project=PROJECT,
                zone=ZONE,
                update_mask=mask,
                instance_settings_resource=compute_v1.InstanceSettings(
                    metadata=compute_v1.InstanceSettingsMetadata(items=values)
                ),
            )
            settings.patch(request=request).result(timeout=30)

        patch("metadata.items.owner,metadata.items.shelf", owner="zone", shelf="top")
        assert dict(settings.get(project=PROJECT, zone=ZONE).metadata.items) == {"owner": "zone", "shelf": "top"}
        assert emulator.control.get("web-1", "project/attributes/owner") == "zone"
        assert emulator.control.get("web-2", "project/attributes/owner") == "platform"
        patch("metadata.items.owner")
        assert dict(settings.get(project=PROJECT, zone=ZONE).metadata.items) == {"shelf": "top"}
        assert emulator.control.get("web-1", "project/attributes/owner") == "platform"


class TestNodeGroups:
    @pytest.fixture
    def groups(self, emulator: EmulatorProcess, client: Any) -> Any:
        """With a window, years ahead at this speed."""
        announced = {"name": "window-announced", "starts_in": 1e9}
        emulator.control.request("POST", "node-groups/licensed/scenarios", announced)
        return client(compute_v1.NodeGroupsClient)

    @pytest.fixture
    def licensed(self) -> dict[str, str]:
        return {"project": PROJECT, "zone": "us-west1-a", "node_group": "licensed"}

    def windows(self, groups: Any, licensed: dict[str, str]) -> dict[str, str]:
        return {node.name: node.upcoming_maintenance.maintenance_status for node in groups.list_nodes(**licensed)}

    def test_are_listed_with_their_nodes(self, groups: Any, licensed: dict[str, str]) -> None:
        aggregated = groups.aggregated_list(project=PROJECT)
        assert [group.name for _scope, scoped in aggregated for group in scoped.node_groups] == ["licensed"]
        assert [group.name for group in groups.list(project=PROJECT, zone="us-west1-a")] == ["licensed"]
        assert groups.get(**licensed).size == 2
        assert self.windows(groups, licensed) == {"licensed-1": "PENDING", "licensed-2": "PENDING"}

    def test_are_maintained(self, groups: Any, licensed: dict[str, str]) -> None:
        request = compute_v1.NodeGroupsPerformMaintenanceRequest(nodes=["licensed-1"])
        groups.perform_maintenance(**licensed, node_groups_perform_maintenance_request_resource=request).result(
            timeout=30
        )
        assert self.windows(groups, licensed) == {"licensed-1": "", "licensed-2": "PENDING"}
        simulation = compute_v1.NodeGroupsSimulateMaintenanceEventRequest(nodes=["licensed-1"])
        groups.simulate_maintenance_event(
            **licensed, node_groups_simulate_maintenance_event_request_resource=simulation
        ).result(timeout=30)


class TestReservations:
    @pytest.fixture
    def train(self, emulator: EmulatorProcess) -> dict[str, str]:
        """With a window, years ahead at this speed."""
        emulator.control.request("POST", "reservations/train/scenarios", {"name": "window-announced", "starts_in": 1e9})
        return {"project": PROJECT, "zone": "us-west1-a", "reservation": "train"}

    def test_are_listed_and_maintained(self, client: Any, train: dict[str, str]) -> None:
        reservations = client(compute_v1.ReservationsClient)
        aggregated = reservations.aggregated_list(project=PROJECT)
        assert [each.name for _scope, scoped in aggregated for each in scoped.reservations] == ["train"]
        assert [each.name for each in reservations.list(project=PROJECT, zone="us-west1-a")] == ["train"]

        def pending() -> int:
            return int(reservations.get(**train).resource_status.reservation_maintenance.maintenance_pending_count)

        assert pending() == 2
        request = compute_v1.ReservationsPerformMaintenanceRequest(maintenance_scope="RUNNING_VMS")
        reservations.perform_maintenance(**train, reservations_perform_maintenance_request_resource=request).result(
            timeout=30
        )
        assert pending() == 1

    def test_have_blocks(self, client: Any, train: dict[str, str]) -> None:
        blocks = client(compute_v1.ReservationBlocksClient)
        (block,) = blocks.list(**train)
        assert (block.name, block.reservation_maintenance.maintenance_pending_count) == ("train-block-0001", 2)
        assert blocks.get(**train, reservation_block=block.name).resource == block
        request = compute_v1.ReservationsBlocksPerformMaintenanceRequest(maintenance_scope="ALL")
        blocks.perform_maintenance(
            **train,
            reservation_block=block.name,
            reservations_blocks_perform_maintenance_request_resource=request,
        ).result(timeout=30)
        assert blocks.get(**train, reservation_block=block.name).resource.reservation_maintenance == (
            compute_v1.GroupMaintenanceInfo(
                scheduling_type="GROUPED",
                maintenance_pending_count=0,
                maintenance_ongoing_count=0,
                instance_maintenance_pending_count=0,
                instance_maintenance_ongoing_count=0,
            )
        )

    def test_have_sub_blocks(self, client: Any, train: dict[str, str]) -> None:
        parts = client(compute_v1.ReservationSubBlocksClient)
        above = {
            "project": PROJECT,
            "zone": train["zone"],
            "parent_name": "reservations/train/reservationBlocks/train-block-0001",
        }
        (part,) = parts.list(**above)
        assert (part.name, part.count, part.in_use_count) == ("train-block-0001-subblock-0001", 2, 1)
        parts.perform_maintenance(**above, reservation_sub_block=part.name).result(timeout=30)
        after = parts.get(**above, reservation_sub_block=part.name).resource
        assert after.reservation_sub_block_maintenance.maintenance_pending_count == 0

    def test_have_vms_whose_host_is_reported_as_faulty(self, emulator: EmulatorProcess, client: Any) -> None:
        instances = client(compute_v1.InstancesClient)
        reason = compute_v1.InstancesReportHostAsFaultyRequestFaultReason(behavior="PERFORMANCE", description="slow")
        request = compute_v1.InstancesReportHostAsFaultyRequest(disruption_schedule="IMMEDIATE", fault_reasons=[reason])
        instances.report_host_as_faulty(
            project=PROJECT,
            zone="us-west1-a",
            instance="gpu-1",
            instances_report_host_as_faulty_request_resource=request,
        ).result(timeout=30)
        assert emulator.control.instance("gpu-1")["boot_count"] == 2
