# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses for those who do not say which they want: internal ones of a region's subnet, ephemeral external ones."""

from __future__ import annotations

import collections
import functools
import ipaddress
from collections.abc import Iterable, Iterator

from .geography import subnet_of

# As an interface's external_ip: one that is given when the VM starts and taken when it stops.
EPHEMERAL = "ephemeral"

# For documentation, and for benchmarks when those are used up: neither is anywhere on the internet.
_EXTERNAL = ("203.0.113.0/24", "198.18.0.0/15")


class InternalAddresses:
    """The addresses of the subnets that the network `default` has, without those that somebody has named."""

    def __init__(self, wanted: Iterable[str], taken: Iterable[str]) -> None:
        """`wanted` is the region of each address that will be asked for."""
        self._taken = set(taken)
        self._subnets = {
            region: subnet_of(region, number + self._taken_in(region))
            for region, number in collections.Counter(wanted).items()
        }
        self._free = {region: self._all(subnet) for region, subnet in self._subnets.items()}

    def subnet(self, region: str) -> ipaddress.IPv4Network:
        return self._subnets.get(region) or subnet_of(region)

    def take(self, region: str) -> str | None:
        """None when there are no more."""
        return next(self._free[region], None)

    def _taken_in(self, region: str) -> int:
        start = str(subnet_of(region).network_address).rsplit(".", 2)[0] + "."
        return sum(address.startswith(start) for address in self._taken)

    def _all(self, subnet: ipaddress.IPv4Network) -> Iterator[str]:
        # The first two and the last two are reserved: the network, its gateway, and for future use.
        for number in range(int(subnet.network_address) + 2, int(subnet.broadcast_address) - 1):
            address = str(ipaddress.IPv4Address(number))
            if address not in self._taken:
                yield address


class ExternalAddresses:
    """Ephemeral addresses. One that was given back is given again only when all others are used up."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = frozenset(taken)
        self.reset()

    def reset(self) -> None:
        self._fresh = self._all()
        self._returned: collections.deque[str] = collections.deque()

    def take(self) -> str:
        address = next(self._fresh, None)
        return self._returned.popleft() if address is None else address

    def give_back(self, address: str) -> None:
        self._returned.append(address)

    def _all(self) -> Iterator[str]:
        for network in map(ipaddress.IPv4Network, _EXTERNAL):
            for number in range(int(network.network_address) + 2, int(network.broadcast_address)):
                address = str(ipaddress.IPv4Address(number))
                if address not in self._taken:
                    yield address


def gateway_of(ip: str, subnetmask: str) -> str:
    """The first address of the subnet that this address is in. Raises ValueError."""
    mask = _netmask(subnetmask)
    return str(ipaddress.IPv4Address((int(ipaddress.IPv4Address(ip)) & mask) + 1))


def mac_of(ip: str) -> str:
    """As on the real platform, an interface's MAC address is made of its internal address."""
    return "42:01:" + ipaddress.IPv4Address(ip).packed.hex(":")


@functools.lru_cache(maxsize=64)
def _netmask(text: str) -> int:
    return int(ipaddress.IPv4Network(f"0.0.0.0/{text}").netmask)
