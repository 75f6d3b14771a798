# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reports on single SSH keys in custom metadata.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._compute.api import ComputeApi
from .._compute.errors import ComputeError
from .._compute.ssh_key_reach import Ignoring, of_instances, of_project, of_zone
from .._metadata.custom import MetadataChange
from .._metadata.ssh_keys import BOTH, LEGACY_KEY, changes, described
from .._metadata.text import as_bool
from .metadata_targets import MetadataTarget


def ssh_key_result(
    module: AnsibleModule, api: ComputeApi, scope: str, targets: Sequence[MetadataTarget]
) -> dict[str, Any]:
    """What the option `ssh_keys` adds to the result, with warnings. Empty without this option."""
    option = module.params["ssh_keys"]
    if option is None:
        return {}
    done = [target for target in targets if target.done]
    lines = [changes(target.done.before, target.done.after) for target in done if target.done]
    result: dict[str, Any] = {
        "ssh_keys_added": sorted({line for added, _removed in lines for line in added}),
        "ssh_keys_removed": sorted({line for _added, removed in lines for line in removed}),
    }
    if option["present"]:
        try:
            ignoring = _ignoring(api, scope, done)
        except ComputeError as error:
            module.warn(f"Whether all instances accept the SSH keys is unknown. {error}")
        else:
            _warn_of_ignored(module, ignoring)
            result["ssh_keys_ignored"] = [asdict(each) for each in ignoring]
    if scope == "instance":
        _warn_of_unblocked(module, done)
    return result


def with_described_keys(diff: Mapping[str, Mapping[str, str]], change: MetadataChange) -> dict[str, dict[str, str]]:
    """A diff with SSH keys as user, type and fingerprint, without their comments."""
    shown = {side: dict(values) for side, values in diff.items()}
    for side, values in (("before", change.before), ("after", change.after)):
        for key in BOTH:
            if key in values:
                lines = [line for line in values[key].split("\n") if line.strip()]
                shown[side][key] = "".join(f"{described(line)}\n" for line in lines)
    return shown


def _ignoring(api: ComputeApi, scope: str, done: Sequence[MetadataTarget]) -> list[Ignoring]:
    if scope == "instance":
        return of_instances(api, [(target.name, str(target.zone), target.values) for target in done])
    if scope == "zonal":
        return [each for target in done for each in of_zone(api, str(target.zone), target.values)]
    return [each for target in done for each in of_project(api, target.values)]


def _warn_of_ignored(module: AnsibleModule, ignoring: Sequence[Ignoring]) -> None:
    if ignoring:
        shown = "; ".join(f"{each.zone}/{each.name}: {each.reason}" for each in ignoring[:3])
        more = f"; and {len(ignoring) - 3} more, see ssh_keys_ignored" if len(ignoring) > 3 else ""
        count = f"{len(ignoring)} instance{'s' if len(ignoring) > 1 else ''}"
        module.warn(f"The SSH keys are ignored by {count}. {shown}{more}.")


def _warn_of_unblocked(module: AnsibleModule, done: Sequence[MetadataTarget]) -> None:
    """An instance without sshKeys accepts the project's keys; with it, it does not."""
    for target in done:
        is_removed = target.done is not None and LEGACY_KEY in target.done.deleted
        if is_removed and not as_bool(target.values.get("block-project-ssh-keys")):
            module.warn(
                f"{target.name} loses the last line of sshKeys, and accepts the project's SSH keys from now on. To "
                "prevent that, set block-project-ssh-keys to TRUE."
            )
