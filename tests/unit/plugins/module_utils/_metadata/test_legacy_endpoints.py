# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata that disables legacy endpoints, its overrides, and calls of legacy endpoints."""

from __future__ import annotations

import base64
import gzip

import pytest
from ansible_collections.gce.guest.plugins.module_utils._metadata.legacy_endpoints import (
    Call,
    calls,
    effective_state,
    overrides,
    scripts_elsewhere,
    state_of,
)

BETA, OLDEST = "/computeMetadata/v1beta1/", "/0.1/"


@pytest.mark.parametrize(
    "value, state",
    [
        (None, "enabled"),
        ("TRUE", "disabled"),
        ("true", "disabled"),
        ("Yes", "disabled"),
        ("1", "disabled"),
        ("FALSE", "enabled"),
        ("n", "enabled"),
        ("", "unclear"),
        ("on", "unclear"),
    ],
)
def test_values_are_parsed_like_compute_engine_s_booleans(value: str | None, state: str) -> None:
    assert state_of(value) == state


@pytest.mark.parametrize(
    "own, project, effective, is_override",
    [
        (None, None, "enabled", False),
        (None, "TRUE", "disabled", False),
        ("TRUE", "TRUE", "disabled", False),
        ("yes", "TRUE", "disabled", False),
        ("FALSE", "TRUE", "enabled", True),
        ("FALSE", None, "enabled", False),
        ("TRUE", None, "disabled", True),
        ("TRUE", "FALSE", "disabled", True),
        ("perhaps", "TRUE", "unclear", True),
    ],
)
def test_instance_takes_precedence_over_the_project(
    own: str | None, project: str | None, effective: str, is_override: bool
) -> None:
    assert effective_state(own, project) == effective
    assert overrides(own, project) is is_override


@pytest.mark.parametrize(
    "text, endpoint",
    [
        ("curl http://metadata/computeMetadata/v1beta1/instance/id", BETA),
        ("curl http://metadata.google.internal/computeMetadata/v1beta1", BETA),
        ('"http:\\/\\/metadata\\/computeMetadata\\/v1beta1\\/project\\/project-id"', BETA),
        ("curl $MDS/computeMetadata//v1beta1/", BETA),
        ('curl "$BASE/v1beta1/instance/attributes/role"', BETA),
        ("requests.get(base + 'v1beta1/project/')", BETA),
        ("curl http://169.254.169.254/0.1/meta-data/zone", OLDEST),
        ("curl http://[fd20:ce::254]:80/0.1/", OLDEST),
        ("curl http://metadata/0.1", OLDEST),
        ("URL=$HOST/0.1/meta-data", OLDEST),
    ],
)
def test_calls_are_found_in_all_spellings(text: str, endpoint: str) -> None:
    assert calls({"startup-script": text}) == [Call("startup-script", 1, endpoint)]


@pytest.mark.parametrize(
    "text",
    [
        "curl -H Metadata-Flavor:Google http://metadata.google.internal/computeMetadata/v1/instance/id",
        "kubectl get --raw /apis/metrics.k8s.io/v1beta1/nodes",
        "apiVersion: policy/v1beta1",
        "https://serviceusage.googleapis.com/v1beta1/projects/acme/services",
        "https://osconfig.googleapis.com/v1beta1/instances",
        "https://example.com/v1beta1/project-files",
        "computeMetadata/v1beta10/instance",
        "https://example.com/tool/0.1/download",
        "https://example.com/3.0.1/meta-data",
        "http://metadata/0.15/",
        "http://metadata/0.1.2/",
        "version 0.1",
    ],
)
def test_similar_text_is_not_reported(text: str) -> None:
    assert calls({"startup-script": text}) == []


def test_each_line_is_reported_once_for_each_endpoint() -> None:
    script = (
        "#!/bin/sh\r\n"
        "curl http://metadata/computeMetadata/v1beta1/instance/id http://metadata/computeMetadata/v1beta1/project/\r\n"
        "\r\n"
        "# was http://metadata/0.1/meta-data/zone, then http://metadata/computeMetadata/v1beta1/instance/zone\r\n"
    )
    assert calls({"startup-script": script, "a": "$X/0.1/meta-data", "role": "web"}) == [
        Call("a", 1, OLDEST),
        Call("startup-script", 2, BETA),
        Call("startup-script", 4, OLDEST),
        Call("startup-script", 4, BETA),
    ]


@pytest.mark.parametrize("pack", [lambda document: document, gzip.compress])
def test_user_data_is_decoded_like_by_cloud_init(pack) -> None:
    document = b"#cloud-config\nruncmd:\n- curl http://metadata/computeMetadata/v1beta1/instance/id\n"
    encoded = base64.b64encode(pack(document)).decode()
    assert calls({"user-data": encoded, "user-data-encoding": "base64"}) == [Call("user-data", 3, BETA)]
    # Without the other key, it is not encoded as far as cloud-init knows.
    assert calls({"user-data": encoded}) == []


@pytest.mark.parametrize(
    "value", ["é http://metadata/0.1/", "H4sIAAAAAAAA/w==", base64.b64encode(b"\x1f\x8b?").decode()]
)
def test_invalid_encoded_user_data_is_searched_as_text(value: str) -> None:
    expected = [Call("user-data", 1, OLDEST)] if "0.1" in value else []
    assert calls({"user-data": value, "user-data-encoding": "base64"}) == expected


def test_urls_of_scripts_are_reported() -> None:
    metadata = {
        "startup-script": "echo",
        "startup-script-url": "gs://bucket/start.sh",
        "windows-startup-script-url": "https://example.com/x.ps1",
        "script-url-notes": "none",
    }
    assert scripts_elsewhere(metadata) == ["startup-script-url", "windows-startup-script-url"]
