# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Default addresses: internal ones of the region's subnet, and ephemeral external ones."""

from __future__ import annotations

import collections
import functools
import ipaddress
from collections.abc import Iterable, Iterator

from .geography import subnet_of

# Value of an interface's external_ip: assigned when the VM starts, released when it stops.
EPHEMERAL = "ephemeral"

# Reserved for documentation (RFC 5737) and for benchmarks (RFC 2544): not routed on the internet.
_EXTERNAL = ("203.0.113.0/24", "198.18.0.0/15")


class InternalAddresses:
    """Addresses of the subnets of the network `default`, without those that the fleet file uses."""

    def __init__(self, wanted: Iterable[str], taken: Iterable[str]) -> None:
        """`wanted` has the region of each address that will be taken, `taken` the addresses in use."""
        self._taken = set(taken)
        self._subnets = {
            region: subnet_of(region, number + self._taken_in(region))
            for region, number in collections.Counter(wanted).items()
        }
        self._free = {region: self._all(subnet) for region, subnet in self._subnets.items()}

    def subnet(self, region: str) -> ipaddress.IPv4Network:
        return self._subnets.get(region) or subnet_of(region)

    def take(self, region: str) -> str | None:
        """The next free address of a region, or None."""
        return next(self._free[region], None)

    def _taken_in(self, region: str) -> int:
        start = str(subnet_of(region).network_address).rsplit(".", 2)[0] + "."
        return sum(address.startswith(start) for address in self._taken)

    def _all(self, subnet: ipaddress.IPv4Network) -> Iterator[str]:
        # Reserved: network, gateway, the last but one for future use, and broadcast.
        for number in range(int(subnet.network_address) + 2, int(subnet.broadcast_address) - 1):
            address = str(ipaddress.IPv4Address(number))
            if address not in self._taken:
                yield address


class ExternalAddresses:
    """Ephemeral addresses. A released one is reused only when all others are taken."""

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
    """The MAC address of an interface, made from its internal address as on the real platform."""
    return "42:01:" + ipaddress.IPv4Address(ip).packed.hex(":")


@functools.lru_cache(maxsize=64)
def _netmask(text: str) -> int:
    return int(ipaddress.IPv4Network(f"0.0.0.0/{text}").netmask)
