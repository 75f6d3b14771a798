# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lower bound: a module that only reads its parameters and returns."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    AnsibleModule(argument_spec={}, supports_check_mode=True).exit_json()


if __name__ == "__main__":
    main()
