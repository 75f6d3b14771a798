# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups and reservations of the fleet file."""

from __future__ import annotations

from typing import Any

import pytest

from gce_emulator.state.fleet_file import parse
from gce_emulator.state.fleet_section import FleetError

INSTANCES = [{"name": "web-1"}, {"name": "web-2"}, {"name": "far-1", "zone": "europe-west1-b"}]


def fleet(**sections: Any) -> Any:
    return parse({"instances": INSTANCES, **sections})


def test_a_few_lines_are_enough() -> None:
    parsed = fleet(
        node_groups=[{"name": "licensed", "nodes": [{"instances": ["web-1"]}, {}]}],
        reservations=[{"name": "train", "blocks": [{"sub_blocks": [{"instances": ["far-1"]}]}, {"count": 4}]}],
    )
    (group,), (reservation,) = parsed.node_groups, parsed.reservations
    assert [(node.name, node.instances) for node in group.nodes] == [("licensed-1", ("web-1",)), ("licensed-2", ())]
    assert (group.zone, reservation.zone) == ("us-central1-a", "europe-west1-b")
    first, second = reservation.blocks
    assert (first.name, first.sub_blocks[0].name) == ("train-block-0001", "train-block-0001-subblock-0001")
    assert (second.hosts.count, second.hosts.instances) == (4, ())
    assert (reservation.machine_type, reservation.scheduling_type) == ("e2-medium", "GROUPED")


@pytest.mark.parametrize(
    "sections, problem",
    [
        ({"node_groups": [{"name": "g"}]}, "node_groups[0].nodes: has no node"),
        (
            {"node_groups": [{"name": "g", "nodes": [{"instances": ["web-9"]}]}]},
            "node_groups[0].nodes[0].instances[0]: is 'web-9', but the fleet has no such instance",
        ),
        (
            {"node_groups": [{"name": "g", "nodes": [{"instances": ["web-1", "far-1"]}]}]},
            "node_groups[0].nodes[0].instances[1]: is 'far-1', which is in europe-west1-b and not in us-central1-a",
        ),
        (
            {
                "node_groups": [{"name": "g", "nodes": [{"instances": ["web-1"]}]}],
                "reservations": [{"name": "r", "instances": ["web-1"]}],
            },
            "reservations[0].instances[0]: is 'web-1', as in node_groups[0].nodes[0].instances[0]",
        ),
        (
            {"node_groups": [{"name": "g", "nodes": [{}]}, {"name": "g", "nodes": [{}]}]},
            "node_groups[1].name: is 'g', as in node_groups[0].name",
        ),
        (
            {"reservations": [{"name": "r", "count": 1, "instances": ["web-1", "web-2"]}]},
            "reservations[0].count: is 1, but there are 2 instances",
        ),
        (
            {"reservations": [{"name": "r", "count": 1, "blocks": [{"count": 1}]}]},
            "reservations[0].blocks: is given beside count or instances",
        ),
        (
            {"reservations": [{"name": "r", "blocks": [{"count": 1, "sub_blocks": [{"count": 1}]}]}]},
            "reservations[0].blocks[0].sub_blocks: is given beside count or instances",
        ),
        (
            {"reservations": [{"name": "r", "scheduling_type": "SOMETIMES"}]},
            "reservations[0].scheduling_type: is 'SOMETIMES'; it can be GROUPED, INDEPENDENT",
        ),
        ({"reservations": [{"name": "r", "hosts": 3}]}, "reservations[0].hosts: is an unknown key"),
        ({"instances": [{"name": "web-1", "node_group": "g"}]}, "instances[0].node_group: is an unknown key"),
    ],
)
def test_a_mistake_is_reported_with_its_place(sections: dict[str, Any], problem: str) -> None:
    with pytest.raises(FleetError) as raised:
        fleet(**sections)
    assert str(raised.value).startswith(problem)
