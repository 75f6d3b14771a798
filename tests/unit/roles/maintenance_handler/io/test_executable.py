# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs of tasks are searched."""

from __future__ import annotations

import pytest

from maintenance_handler.io.executable import search_path

LOGIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"


@pytest.mark.parametrize(
    "configured, inherited, path",
    [
        (None, "", LOGIN),
        (None, "/usr/bin:/bin", "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/snap/bin"),
        (None, f"/opt/bin:{LOGIN}", f"/opt/bin:{LOGIN}"),
        ("/opt/bin", LOGIN, "/opt/bin"),
    ],
)
def test_path_is_the_configured_one_or_the_inherited_one_and_a_login_s(
    configured: str | None, inherited: str, path: str
) -> None:
    assert search_path(configured, inherited) == path
