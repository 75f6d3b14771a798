# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a limit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from client.errors import Refusal
from fleet_limit.options import OPTIONS, problems, validated
from support.playbook import CHECKOUT

ETCD: dict[str, Any] = {
    "backend": "etcd",
    "group": "web",
    "slots": 2,
    "endpoints": ["https://10.0.0.2:2379", "https://[::1]:2379/"],
}
CONSUL = {"backend": "consul", "group": "web", "slots": 2, "address": "http://127.0.0.1:8500"}
FLEETLOCK = {"backend": "fleetlock", "group": "web", "url": "http://fleetlock.example.com/base/"}


def test_valid_options_get_their_defaults() -> None:
    limit = validated(ETCD)
    assert (limit["ttl"], limit["prefix"], limit["username"]) == (600, "/gce.guest/limit", None)
    # Null is the same as no value, also for options of another backend.
    assert validated({**CONSUL, "datacenter": None, "username": None})["prefix"] == "gce.guest/limit"
    assert validated(FLEETLOCK)["url"] == FLEETLOCK["url"]


@pytest.mark.parametrize(
    "limit, problem",
    [
        ([], "limit must be an object"),
        ({}, "backend must be one of etcd, consul, fleetlock"),
        ({"backend": "zookeeper"}, 'backend must be one of etcd, consul, fleetlock, not "zookeeper"'),
        ({"backend": ["etcd"]}, 'backend must be one of etcd, consul, fleetlock, not ["etcd"]'),
        ({**ETCD, "slot": 1}, "etcd has no option 'slot'; did you mean slots?"),
        ({**ETCD, "address": "http://x"}, "etcd has no option 'address'; it has backend, group,"),
        ({**ETCD, "slots": 0}, "slots must be a whole number from 1 to 1000, not 0"),
        ({**ETCD, "slots": True}, "slots must be a whole number from 1 to 1000, not true"),
        ({**ETCD, "slots": "1"}, 'slots must be a whole number from 1 to 1000, not "1"'),
        ({**ETCD, "slots": 1.0}, "slots must be a whole number from 1 to 1000, not 1.0"),
        ({**ETCD, "slots": None}, "slots is missing: it must be a whole number"),
        ({**ETCD, "group": "a/b"}, "group must be a letter or digit, and then"),
        ({**ETCD, "group": ".."}, "group must be a letter or digit, and then"),
        ({**ETCD, "group": "web\n"}, "group must be a letter or digit, and then"),
        ({**ETCD, "ttl": 1}, "ttl must be a whole number of seconds from 2 to 86400, not 1"),
        ({**CONSUL, "ttl": 9}, "ttl must be a whole number of seconds from 10 to 86400, not 9"),
        ({**ETCD, "prefix": "/a//b"}, "prefix must be names"),
        ({**ETCD, "prefix": "/a/../b"}, "prefix must be names"),
        ({**ETCD, "prefix": ""}, "prefix must be names"),
        ({**ETCD, "endpoints": "https://10.0.0.2:2379"}, "endpoints must be a list of different URLs"),
        ({**ETCD, "endpoints": []}, "endpoints must be a list of different URLs"),
        ({**ETCD, "endpoints": ["10.0.0.2:2379"]}, "endpoints must be a list of different URLs"),
        ({**ETCD, "endpoints": [ETCD["endpoints"][0]] * 2}, "endpoints must be a list of different URLs"),
        ({**ETCD, "endpoints": [{}]}, "endpoints must be a list of different URLs"),
        ({**CONSUL, "address": "ftp://x"}, "address must be a URL with http or https"),
        ({**CONSUL, "address": "http://"}, "address must be a URL with http or https"),
        ({**CONSUL, "address": "http://x:99999"}, "address must be a URL with http or https"),
        ({**CONSUL, "address": "http://[::1"}, "address must be a URL with http or https"),
        ({**CONSUL, "address": "http://x/?a=b c"}, "address must be a URL with http or https"),
        ({**CONSUL, "token_file": "token"}, 'token_file must be the absolute path of a file, not "token"'),
        ({**ETCD, "client_cert": "/c.pem"}, "client_cert and client_key must be given together"),
        ({**ETCD, "username": "gce"}, "username and password_file must be given together"),
        ({**CONSUL, "ca_file": "/ca.pem"}, "ca_file is for https, and no URL begins with https://"),
        ({**FLEETLOCK, "slots": 1}, "slots must not be given for fleetlock"),
        ({**FLEETLOCK, "group": "a_b"}, "group must be a letter or digit, and then"),
    ],
)
def test_each_problem_is_one_sentence(limit: Any, problem: str) -> None:
    [found] = problems(limit)

    assert found.startswith(problem)


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(Refusal, match=r"no option 'a'.*; slots must.*; endpoints is missing"):
        validated({"backend": "etcd", "group": "web", "slots": -1, "a": 1})


def test_a_password_in_a_url_is_not_repeated() -> None:
    [found] = problems({**CONSUL, "address": "http://me:s3cret@x"})

    assert "without user" in found
    assert "s3cret" not in found


@pytest.mark.parametrize("backend", OPTIONS)
def test_the_guide_has_all_options(backend: str) -> None:
    guide = (CHECKOUT / "docs/docsite/rst/guide_fleet_limit.rst").read_text(encoding="utf-8")
    [(_title, section)] = re.findall(rf"^({backend})\n~+\n(.*?)(?=^[~=-]+$|\Z)", guide, re.MULTILINE | re.DOTALL | re.I)
    rows = re.findall(r"^   \* - (``.*)\n     -(.*)\n", section, re.MULTILINE)

    defaults = {name: default for names, default in rows for name in re.findall("``([a-z_]+)``", names)}
    assert set(defaults) == set(OPTIONS[backend])
    for name, option in OPTIONS[backend].items():
        if option.default is not None:
            assert defaults[name].strip(" `") == str(option.default)
        assert (defaults[name] == " required") == (option.required or name == "backend")
