# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parser of kubeconfig files: it agrees with a YAML parser on everything that it accepts."""

from __future__ import annotations

import json

import pytest
import yaml

from recipes.kubernetes_node import yaml_subset

KUBECTL = """# written by kubectl
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTi==
    extensions:
    - extension:
        last-update: Thu, 01 Jan 2026 10:00:00 UTC
        provider: minikube.sigs.k8s.io
      name: cluster_info
    server: https://192.168.49.2:8443
  name: minikube
contexts:
- context: {}
  name: "empty: context"
current-context: ""
kind: Config
preferences: {}
users:
- name: 'it''s'
  user:
    exec:
      args:
        - --project   # indented
        - "a\\tb"
        -
          - nested
      env: null
      installHint: Install the plugin
        by following https://example.com/x#y
      interactiveMode: Never
      provideClusterInfo: true
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem # current
"""


def test_reads_files_written_by_programs() -> None:
    assert yaml_subset.parsed(KUBECTL) == yaml.safe_load(KUBECTL)
    document = {
        "a": [{"b": "c", "d": [{"e": "f"}]}],
        "g": {"h": "1x"},
        "i": [],
        "j": {},
        "k": None,
        "l": ["m: n", "# o"],
    }
    assert yaml_subset.parsed(yaml.safe_dump(document)) == document
    assert yaml_subset.parsed(json.dumps(document)) == document
    assert yaml_subset.parsed("") is None


@pytest.mark.parametrize(
    "text",
    [
        "a: |\n  secret\n",
        "a: &x secret\n",
        "a: *x\n",
        "a: !!binary secret\n",
        "a: {b: secret}\n",
        "a: [secret]\n",
        "secret\n",
        "a: secret\n   b: c\n  d: e\n",
        "a: secret\na: b\n",
        'a: "secret\n',
        "a: 'secret' b\n",
        'a: "\\x"\n',
        "\ta: secret\n",
        "- a\nb: secret\n",
        "a: b\n- secret\n",
        "? a\n: secret\n",
    ],
)
def test_rejects_other_yaml_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d+ is not supported") as caught:
        yaml_subset.parsed(text)
    assert "secret" not in str(caught.value)
