# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a kubeconfig file: the API server's URL and the credentials of a context."""

from __future__ import annotations

import os
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from client import secret_file, tls
from recipes.api import Api
from recipes.kubernetes_node import yaml_subset
from recipes.run import Refusal, Run

_REMEDY = "give the user of the kubeconfig file the rights in the documentation of kubernetes_node"


def api(run: Run, path: str, context_name: str | None) -> Api:
    """The API as the user of a context, by default of the current one. Raises `Refusal`."""
    try:
        config = yaml_subset.parsed(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise Refusal(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise Refusal(f"{path} cannot be parsed: {exc}; write it as JSON (kubectl config view --raw -o json)") from None
    if not isinstance(config, dict):
        raise Refusal(f"{path} is not a kubeconfig file")
    context_name = context_name or str(config.get("current-context") or "")
    if not context_name:
        raise Refusal(f"{path} has no current-context: set 'context'")
    context = _named(config, "contexts", "context", context_name, path)
    cluster = _named(config, "clusters", "cluster", str(context.get("cluster")), path)
    user = _named(config, "users", "user", str(context.get("user")), path)
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise Refusal(f"{path}: the server of cluster {context.get('cluster')!r} is not a URL")
    if cluster.get("insecure-skip-tls-verify"):
        raise Refusal(f"{path} has insecure-skip-tls-verify: give the cluster a certificate-authority instead")
    with tempfile.TemporaryDirectory() as folder:
        files = _Files(Path(path).parent, Path(folder))
        headers = {}
        token = user.get("token") or _token_of_file(files.path(user, "tokenFile"))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        certificate, key = files.path(user, "client-certificate"), files.path(user, "client-key")
        authority = files.path(cluster, "certificate-authority")
        if not token and certificate is None:
            kinds = ", ".join(user) or "nothing"
            raise Refusal(
                f"{path}: user {context.get('user')!r} needs a token, a tokenFile or a client-certificate (it has "
                f"{kinds}): commands that fetch credentials are not supported"
            )
        secured = tls.context(authority, certificate, key) if server.startswith("https://") else None
    return Api(server, run, _REMEDY, headers, secured)


class _Files:
    """Files of a kubeconfig: named relative to it, or its own data, which OpenSSL reads from files only."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._home = home
        self._folder = folder

    def path(self, entry: dict[str, Any], name: str) -> str | None:
        data = entry.get(f"{name}-data")
        if data:
            file = self._folder / name
            try:
                content = b64decode(str(data))
            except ValueError:
                raise Refusal(f"{name}-data in the kubeconfig file is not valid base64") from None
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            return str(file)
        return str(self._home / str(entry[name])) if entry.get(name) else None


def _token_of_file(path: str | None) -> str:
    return "" if path is None else secret_file.read(path)


def _named(config: dict[str, Any], kind: str, field: str, name: str, path: str) -> dict[str, Any]:
    entries = config.get(kind)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(field), dict):
            found: dict[str, Any] = entry[field]
            return found
    raise Refusal(f"{path} has no {field} {name!r}")
