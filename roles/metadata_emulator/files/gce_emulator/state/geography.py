# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones, regions, and the subnet that the network `default` has in each region. Pure.

https://cloud.google.com/vpc/docs/subnets#ip-ranges
"""

from __future__ import annotations

import hashlib
import ipaddress

# Zones that exist without VMs: for includeAllScopes, and for requests about an empty zone.
COMMON_ZONES = (
    *(f"asia-east1-{letter}" for letter in "abc"),
    *(f"europe-west1-{letter}" for letter in "bcd"),
    *(f"us-central1-{letter}" for letter in "abcf"),
    *(f"us-east1-{letter}" for letter in "bcd"),
    *(f"us-west1-{letter}" for letter in "abc"),
)

# N in 10.N.0.0/20, the subnet of an auto mode network.
_SUBNETS = {
    "africa-south1": 218,
    "asia-east1": 140,
    "asia-east2": 170,
    "asia-northeast1": 146,
    "asia-northeast2": 174,
    "asia-northeast3": 178,
    "asia-south1": 160,
    "asia-south2": 190,
    "asia-southeast1": 148,
    "asia-southeast2": 184,
    "australia-southeast1": 152,
    "australia-southeast2": 192,
    "europe-central2": 186,
    "europe-north1": 166,
    "europe-southwest1": 204,
    "europe-west1": 132,
    "europe-west10": 214,
    "europe-west12": 210,
    "europe-west2": 154,
    "europe-west3": 156,
    "europe-west4": 164,
    "europe-west6": 172,
    "europe-west8": 198,
    "europe-west9": 200,
    "me-central1": 212,
    "me-central2": 216,
    "me-west1": 208,
    "northamerica-northeast1": 162,
    "northamerica-northeast2": 188,
    "southamerica-east1": 158,
    "southamerica-west1": 194,
    "us-central1": 128,
    "us-east1": 142,
    "us-east4": 150,
    "us-east5": 202,
    "us-south1": 206,
    "us-west1": 138,
    "us-west2": 168,
    "us-west3": 180,
    "us-west4": 182,
}
_RESERVED = 4
_USUAL_PREFIX, _SHORTEST_PREFIX = 20, 16


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0] or zone


def subnet_of(region: str, addresses: int = 0) -> ipaddress.IPv4Network:
    """The region's subnet: a /20, or up to a /16 if there are more `addresses`."""
    prefix = _USUAL_PREFIX
    while prefix > _SHORTEST_PREFIX and 2 ** (32 - prefix) - _RESERVED < addresses:
        prefix -= 1
    number = _SUBNETS.get(region)
    if number is None:
        # An unknown region gets one of the unused numbers.
        number = 220 + hashlib.blake2b(region.encode(), digest_size=1).digest()[0] % 36
    return ipaddress.IPv4Network(f"10.{number}.0.0/{prefix}")
