# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe patroni_switchover while Patroni starts, with an HTTP server that implements the documented API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.json_service import Call, JsonService
from support.recipes import Recipe


class Patroni(JsonService):
    """A cluster of two. The API is that of a version before 3.3, which does not show the name of its member."""

    def __init__(self) -> None:
        super().__init__()
        self.leader = "own"
        # So many answers list only the other member: the key of a VM that was off has expired.
        self.unlisted = 0

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path == "/switchover":
            self.leader = "other"
            return 200, "Successfully switched over"
        if call.path == "/cluster":
            names = ["own", "other"]
            if self.unlisted:
                self.unlisted -= 1
                names.remove("own")
            return 200, {"members": [self.member(name) for name in names]}
        return 200, {"state": "running", "patroni": {"version": "3.0.2"}}

    def member(self, name: str) -> dict[str, Any]:
        url = f"{self.url}/patroni" if name == "own" else "http://10.0.0.2:8008/patroni"
        role = "leader" if name == self.leader else "replica"
        return {"name": name, "role": role, "state": "running", "api_url": url}


@pytest.fixture
def patroni() -> Iterator[Patroni]:
    service = Patroni()
    yield service
    service.stop()


def test_waits_until_the_member_is_back_in_the_cluster(patroni: Patroni, tmp_path: Path) -> None:
    recipe = Recipe("patroni_switchover", tmp_path, rest_api=patroni.url)
    recipe.does("drain")
    assert patroni.leader == "other"
    patroni.unlisted = 3
    assert "runs as a member of the cluster" in recipe.does("restore", timeout=30)
    assert patroni.unlisted == 0
    assert "nothing to restore" in recipe.does("restore")
