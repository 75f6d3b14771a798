# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Methods of zones, regions and disks; all of them only read."""

from __future__ import annotations

import functools

from ..state import errors
from ..state.project import AttachedDisk
from .aggregated_list import by_scope
from .calls import PROJECT, REGION, ZONE, Calls
from .list_query import Entry, parse_list_query, select
from .request import Answer, ApiRequest, Routes
from .resources import disk_resource, region_resource, zone_resource


class PlaceMethods:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project = calls.project

    def routes(self) -> Routes:
        return [
            ("GET", PROJECT + "/zones", self.list_zones),
            ("GET", ZONE, self.get_zone),
            ("GET", PROJECT + "/regions", self.list_regions),
            ("GET", REGION, self.get_region),
            ("GET", PROJECT + "/aggregated/disks", self.aggregated_disks),
            ("GET", ZONE + "/disks", self.list_disks),
            ("GET", ZONE + "/disks/{disk}", self.get_disk),
        ]

    async def list_zones(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        zones = (Entry("", zone, None, functools.partial(zone_resource, project, zone)) for zone in self._calls.zones())
        page = select(zones, parse_list_query(request.query))
        return self._calls.list_of("zones", "compute#zoneList", page)

    async def get_zone(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        zone = request.named["zone"]
        if zone not in self._calls.zones():
            raise errors.not_found(f"projects/{project.name}/zones/{zone}")
        return zone_resource(project, zone)

    async def list_regions(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        regions = (
            Entry("", region, None, functools.partial(region_resource, project, region, self._calls.zones()))
            for region in self._calls.regions()
        )
        page = select(regions, parse_list_query(request.query))
        return self._calls.list_of("regions", "compute#regionList", page)

    async def get_region(self, request: ApiRequest) -> Answer:
        project = self._calls.project_of(request)
        region = request.named["region"]
        if region not in self._calls.regions():
            raise errors.not_found(f"projects/{project.name}/regions/{region}")
        return region_resource(project, region, self._calls.zones())

    async def aggregated_disks(self, request: ApiRequest) -> Answer:
        self._calls.project_of(request)
        query = parse_list_query(request.query)
        page = select(map(_disk_entry, self._project.disks()), query)
        zones = self._calls.zones() if query.include_all_scopes else self._project.zones()
        answer = self._calls.list_of("aggregated/disks", "compute#diskAggregatedList", page)
        return {**answer, **by_scope("disks", page.items, [f"zones/{zone}" for zone in zones])}

    async def list_disks(self, request: ApiRequest) -> Answer:
        zone = self._calls.zone_of(request)
        disks = (_disk_entry(each) for each in self._project.disks() if each.instance.zone == zone)
        page = select(disks, parse_list_query(request.query))
        return self._calls.list_of(f"zones/{zone}/disks", "compute#diskList", page)

    async def get_disk(self, request: ApiRequest) -> Answer:
        zone, name = self._calls.zone_of(request), request.named["disk"]
        for each in self._project.disks():
            if each.instance.zone == zone and each.name == name:
                return disk_resource(each)
        raise errors.not_found(f"projects/{self._project.name}/zones/{zone}/disks/{name}")


def _disk_entry(attached: AttachedDisk) -> Entry:
    instance = attached.instance
    resource = functools.partial(disk_resource, attached)
    return Entry(f"zones/{instance.zone}", attached.name, instance.created, resource)
