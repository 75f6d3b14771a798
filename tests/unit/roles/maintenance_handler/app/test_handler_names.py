# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata server at its own address, on networks that cannot resolve its name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.emulator import EmulatorProcess
from support.handler import HandlerProcess, task
from support.network import network_namespace
from support.vm import Vm

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are for root")

MakeHandler = Callable[..., HandlerProcess]


@contextmanager
def network_with_metadata_server(name_server: str) -> Iterator[tuple[Vm, tuple[str, ...]]]:
    """A VM whose metadata server answers at 169.254.169.254, and how to start a process on its network.

    `name_server` is "silent", or "none" for a closed port. /etc/hosts does not help either.
    """
    with network_namespace() as (name, outside, _inside):
        etc = Path("/etc/netns") / name
        etc.mkdir(parents=True)
        try:
            (etc / "hosts").write_text("127.0.0.1 localhost\n")
            (etc / "resolv.conf").write_text(f"nameserver {outside if name_server == 'silent' else '127.0.0.1'}\n")
            fleet = {"instances": [{"name": "vm", "address": outside, "upcoming_maintenance_none": "NONE"}]}
            with EmulatorProcess(fleet) as emulator:
                in_namespace = ("ip", "netns", "exec", name)
                target = f"DNAT --to-destination {emulator.metadata['vm']}"
                # Without ICMP, so that a missing name server is not reported.
                for command in (
                    "ip link set lo up",
                    f"ip route add default via {outside}",
                    "iptables -w -A INPUT -p icmp -j DROP",
                    f"iptables -w -t nat -A OUTPUT -d 169.254.169.254 -p tcp --dport 80 -j {target}",
                ):
                    subprocess.run([*in_namespace, *command.split()], check=True)
                yield Vm(emulator, "vm"), in_namespace
        finally:
            for file in etc.iterdir():
                file.unlink()
            etc.rmdir()


@pytest.mark.parametrize("name_server", ["none", "silent"])
def test_event_is_handled_without_name_resolution(name_server: str, make_handler: MakeHandler) -> None:
    """The name cannot be resolved, but the address answers (cloudfoundry/bosh-google-cpi-release#83)."""
    with network_with_metadata_server(name_server) as (vm, launcher):
        handler = make_handler(task("lb"), metadata_host=None, launcher=launcher).start()
        vm.announce("migrate")
        handler.until_state("drained")
        vm.withdraw("migrate")
        handler.until_over()
        assert handler.trace() == ["drain lb", "restore lb"]
        assert "no answer from the metadata server" not in handler.log()
        assert handler.stop() == 0
        handler.close()
