# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test integration against an emulated fleet: `python tools/integration.py [TARGET ...]`.

The targets find the fleet of tests/integration/fleet.yml in these variables:
- `metadata_hosts`: the metadata server of each instance, by the instance's name,
- `emulator_control`: the URL of the emulator's control face,
- `emulator_compute`: the URL of its Compute API,
- `emulator_python`: a Python that has the requirements of the emulator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.emulator import EmulatorProcess  # noqa: E402


def main(targets: list[str]) -> int:
    fleet = yaml.safe_load((CHECKOUT / "tests" / "integration" / "fleet.yml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="gce-guest-integration-") as folder, EmulatorProcess(fleet) as emulator:
        copy = subprocess.run([CHECKOUT / "tools" / "copy", folder], check=True, capture_output=True, text=True)
        collection = Path(copy.stdout.strip())
        variables = {
            "metadata_hosts": emulator.metadata,
            "emulator_control": emulator.ready["control"],
            "emulator_compute": emulator.compute,
            "emulator_python": sys.executable,
        }
        config = collection / "tests" / "integration" / "integration_config.yml"
        config.write_text(json.dumps(variables, ensure_ascii=False), encoding="utf-8")
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        # Test the copy, not the collections path of the checkout.
        environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_COLLECTIONS_PATH"}
        command = ["ansible-test", "integration", "--local", "--python", python, "--color", "no", *targets]
        return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
