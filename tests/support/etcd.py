# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd as a separate process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from .emulator import eventually
from .json_service import Certificate
from .ports import free_port
from .recipes import PATIENCE

MISSING = [name for name in ("etcd", "etcdctl") if shutil.which(name) is None]


class Etcd:
    """A member of an etcd, by default the only one. With a certificate, it also demands one from clients."""

    def __init__(
        self, folder: Path, certificate: Certificate | None = None, members: Mapping[str, str] | None = None
    ) -> None:
        """`members` are the URLs for peers by the name of each member, which is that of its folder."""
        self._folder = folder
        self._certificate = certificate
        self._members = members or {folder.name: f"http://127.0.0.1:{free_port()}"}
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self._spawn()
        if members is None:
            self.wait()

    def __enter__(self) -> Etcd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        self._spawn()
        self.wait()

    def wait(self) -> None:
        eventually(self._is_healthy, within=60, what="a healthy etcd")

    def _spawn(self) -> None:
        urls = [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        own = self._members[self._folder.name]
        peers = [f"--listen-peer-urls={own}", f"--initial-advertise-peer-urls={own}", f"--name={self._folder.name}"]
        cluster = ",".join(f"{name}={url}" for name, url in self._members.items())
        command = ["etcd", f"--data-dir={self._folder}", *urls, *peers, f"--initial-cluster={cluster}"]
        if self._certificate is not None:
            file, key = self._certificate.file, self._certificate.key_file
            command += [f"--cert-file={file}", f"--key-file={key}", "--client-cert-auth", f"--trusted-ca-file={file}"]
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def control(self, *arguments: str, user: str | None = None) -> str:
        """Run etcdctl. Returns its output."""
        # By default, it gives up after 2 and 5 seconds.
        patient = (f"--dial-timeout={PATIENCE:g}s", f"--command-timeout={PATIENCE:g}s")
        done = self._etcdctl(*patient, *arguments, user=user)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _is_healthy(self) -> bool:
        assert self.process.poll() is None
        return self._etcdctl("endpoint", "health").returncode == 0

    def _etcdctl(self, *arguments: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        options = [f"--endpoints={self.url}", *([] if user is None else [f"--user={user}"])]
        if self._certificate is not None:
            file, key = self._certificate.file, self._certificate.key_file
            options += [f"--cacert={file}", f"--cert={file}", f"--key={key}"]
        environ = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(
            ["etcdctl", *options, *arguments], env=environ, capture_output=True, text=True, check=False
        )
