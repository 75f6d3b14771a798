# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The method of amazon.aws.ec2_metadata_facts on Compute Engine: list each directory, fetch each key."""

from __future__ import annotations

from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url

# A response to recursive=true contains neither.
NOT_IN_TREES = ("token", "identity")


def main() -> None:
    module = AnsibleModule(argument_spec={"url": {"type": "str", "required": True}}, supports_check_mode=True)
    module.exit_json(value=dict(crawl(module, module.params["url"])))


def crawl(module: AnsibleModule, url: str) -> Iterator[tuple[str, str]]:
    for name in fetch(module, url).splitlines():
        if name.endswith("/"):
            yield from crawl(module, url + name)
        elif name not in NOT_IN_TREES:
            yield url + name, fetch(module, url + name)


def fetch(module: AnsibleModule, url: str) -> str:
    response, info = fetch_url(module, url, headers={"Metadata-Flavor": "Google"}, force=True)
    # Listed keys may be missing: upcoming-maintenance exists only while maintenance is announced.
    return response.read().decode() if info["status"] == 200 else ""


if __name__ == "__main__":
    main()
