# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example in the documentation works: those of plugins, and those of guides and READMEs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from gce_emulator.state import fleet_file
from maintenance_handler.app import config
from support.emulator import EmulatorProcess
from support.guides import Block, blocks
from support.playbook import CHECKOUT
from support.recipes import Recipe

FLEET: dict[str, Any] = {
    "project": "acme",
    "speed": 1000,
    "attributes": {"enable-oslogin": "TRUE"},
    "instances": [
        {
            "name": "web-1",
            "labels": {"env": "prod", "role": "database"},
            "attributes": {
                "enable-guest-attributes": "TRUE",
                "startup-script": "curl http://metadata/computeMetadata/v1beta1/instance/id",
            },
            "guest_attributes_over_budget": "allow",
        },
        {"name": "web-2", "zone": "europe-west1-c", "labels": {"env": "test"}, "attributes": {"release": "1.4.1"}},
        {"name": "batch-1", "labels": {"pool": "spot"}, "scheduling": {"preemptible": True}},
        {"name": "gpu-1", "machine_type": "a3-megagpu-8g"},
    ],
    "node_groups": [{"name": "licensed", "nodes": [{}]}],
    "reservations": [{"name": "train", "blocks": [{"name": "train-block-0001", "count": 2}]}],
}
# What the examples take for granted.
VARIABLES = {"version": "1.4.2", "inventory": {"disk-1": "ok"}}

# Examples that are not run here, by what `Block.title` says, and why.
ELSEWHERE = {
    "guide_compute_api.rst: Gather announced maintenance": "Impersonation asks Google's own IAM service.",
    "guide_emulator.rst: Install an emulated VM's metadata server, and the handler that listens to it": "See below.",
    "guide_emulator.rst: # fleet.yml": "It is a file for the emulator. See below.",
    "guide_emulator.rst: db-1": "It is a file for the emulator. See below.",
    "README.md: db-1": "It is a file for the emulator. See below.",
    "guide_emulator.rst: Migrate the emulated VM": "See below.",
    "guide_maintenance_handler.rst: Install the maintenance handler": "It takes root and systemd. See below.",
    "guide_recipes.rst: Drain web servers before maintenance": "It takes root and systemd. See below.",
    "guide_recipes.rst: Drain web servers with slow requests": "It takes root and systemd. See below.",
    "guide_recipes.rst: Drain workers by a recipe of our own": "It takes root and systemd. See below.",
    "README.md: Install the maintenance handler with a task": "It takes root and systemd. See below.",
    "README.md: gce.guest": "It is a requirements.yml for ansible-galaxy, and takes Galaxy.",
    "README.md: Install the maintenance handler": "It takes root and systemd. See below.",
    "README.md: Install the handler into an image": "It takes root. Molecule makes such an image.",
    "README.md: Remove the maintenance handler": "It takes root and systemd. Molecule removes it.",
    "README.md: Install the emulator": "It takes root and systemd. Molecule installs it.",
}

BLOCKS = blocks()
YAML = [block for block in BLOCKS if block.is_yaml]
HERE = [block for block in YAML if block.title not in ELSEWHERE]
HANDLER_TASKS = [block for block in YAML if "maintenance_handler_tasks:" in block.text]
HANDLER_RECIPES = [block for block in YAML if "maintenance_handler_recipes:" in block.text]
OWN_RECIPE = [
    block for block in BLOCKS if block.path.endswith("guide_recipes.rst") and block.language in ("json", "python")
]


EMULATOR_GUIDE = [block for block in BLOCKS if block.path.endswith("guide_emulator.rst")]

needs = pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq"))), reason="the guide's script takes curl and jq")


def free_ports(count: int) -> list[str]:
    """Ports of the loopback that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _number in range(count)]
    try:
        return [str(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def as_play(block: Block) -> str:
    """A play of the tasks, of the play, or of the part of a play that a block is; the text as it is in the guide."""
    if isinstance(block.data, list) and "hosts" in block.data[0]:
        return block.text
    play = f"- name: {json.dumps(block.title)}\n  hosts: localhost\n  gather_facts: false\n"
    if isinstance(block.data, list):
        return f"{play}  tasks:\n{textwrap.indent(block.text, '    ')}"
    task = "{name: Go by it, gce.guest.custom_metadata_info: {}}"
    return f"{play}{textwrap.indent(block.text, '  ')}  tasks: [{task}]\n"


def run(folder: Path, plays: list[str], *arguments: str, timeout: float = 300, **environment: str) -> tuple[int, str]:
    """Run plays in a folder, on localhost, with the checkout as the collection."""
    namespace = folder / "ansible_collections" / "gce"
    if not namespace.exists():
        namespace.mkdir(parents=True)
        (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"localhost": local}}}), encoding="utf-8")
    (folder / "play.yml").write_text("\n".join(plays), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.json", "play.yml", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_examples_of_guides_run(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "start.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    with EmulatorProcess(FLEET) as emulator:
        emulator.control.set("web-1", "instance/guest-attributes/deployment/state", "ready")
        emulator.control.set(
            "web-1",
            "instance/upcoming-maintenance",
            {"window_start_time": "2099-01-01T00:00:00Z", "can_reschedule": True},
        )
        status, output = run(
            tmp_path,
            [as_play(block) for block in HERE],
            "-e",
            json.dumps(VARIABLES),
            GCP_PROJECT="acme",
            GCP_ACCESS_TOKEN="ya29.planted",
            CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=emulator.compute,
            GCE_METADATA_HOST=emulator.metadata["web-1"],
            # Where google-auth looks whether it is on a VM, whose credentials are then the default ones.
            GCE_METADATA_IP=emulator.metadata["web-1"],
        )
    assert status == 0, output
    assert len(HERE) > 20
    for words in ("OS Login is on.", "us-central1-a", "1.4.2", "line 1: /computeMetadata/v1beta1/", "at least"):
        assert words in output, words


def test_the_examples_of_guides_that_are_run_elsewhere_are_plays(tmp_path: Path) -> None:
    there = [block for block in YAML if block.title in ELSEWHERE]
    # None is left from an example that is gone.
    assert {block.title for block in there} == set(ELSEWHERE)
    plays = [as_play(block) for block in there if isinstance(block.data, list)]
    status, output = run(tmp_path, plays, "--syntax-check")
    assert status == 0, output


@pytest.mark.parametrize("block", HANDLER_TASKS, ids=lambda block: block.title)
def test_the_handler_takes_the_tasks_of_examples(block: Block) -> None:
    [play] = block.data
    variables = play["roles"][0]["vars"] if "roles" in play else play["tasks"][1]["vars"]
    document = {"tasks": variables["maintenance_handler_tasks"], "state_dir": "/var/lib/x", "runtime_dir": "/run/x"}
    # YAML's own reading of `on`, if it is not in quotes.
    document["tasks"] = [
        {("on" if key is True else key): value for key, value in task.items()} for task in document["tasks"]
    ]
    parsed = config.parse(json.dumps(document).encode())
    assert [task.name for task in parsed.tasks] == [task["name"] for task in document["tasks"]]


@pytest.fixture
def own_recipes(tmp_path: Path) -> Path:
    """A directory with the recipe of the guide, `queue_worker`."""
    folder = tmp_path / "recipes" / "queue_worker"
    folder.mkdir(parents=True)
    for block, name in zip(OWN_RECIPE, ("recipe.json", "program.py"), strict=True):
        (folder / name).write_text(block.text, encoding="utf-8")
    return folder.parent


@pytest.mark.parametrize("block", HANDLER_RECIPES, ids=lambda block: block.title)
def test_the_handler_takes_the_recipes_of_examples(block: Block, own_recipes: Path) -> None:
    [play] = block.data
    variables = play["roles"][0]["vars"] if "roles" in play else play["tasks"][1]["vars"]
    recipes = [
        {("on" if key is True else key): value for key, value in entry.items()}
        for entry in variables["maintenance_handler_recipes"]
    ]
    folders = {"recipe_folders": [str(own_recipes)]} if "maintenance_handler_recipe_folders" in variables else {}
    document = {"recipes": recipes, "state_dir": "/var/lib/x", "runtime_dir": "/run/x", **folders}
    assert len(config.parse(json.dumps(document).encode()).tasks) == len(recipes)


def test_the_recipe_of_the_guide_works(own_recipes: Path, tmp_path: Path) -> None:
    jobs, stop_file = tmp_path / "jobs", tmp_path / "stop"
    recipe = Recipe(str(own_recipes / "queue_worker"), tmp_path / "records", jobs=str(jobs), stop_file=str(stop_file))
    assert "is the worker installed?" in recipe.refuses()
    jobs.mkdir()
    recipe.does("check")
    (jobs / "1").touch()
    done = recipe.run("drain", timeout=1.0)
    assert (done.returncode, done.stdout) == (3, "the time is over: 1 jobs\n")
    (jobs / "1").unlink()
    recipe.does("drain")
    assert stop_file.exists()
    assert recipe.does("state") == "no jobs, stopped by this recipe\n"
    for _time in range(2):
        recipe.does("restore")
        assert not stop_file.exists()
    stop_file.touch()
    for verb in ("drain", "restore"):
        recipe.does(verb)
    assert stop_file.exists()


def test_the_guide_to_recipes_is_up_to_date() -> None:
    spec = spec_from_file_location("recipes_guide", CHECKOUT / "tools" / "recipes_guide.py")
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    guide = tool.GUIDE.read_text(encoding="utf-8")
    assert guide == tool.renewed(guide), "run: python tools/recipes_guide.py"


@pytest.mark.parametrize(
    "block", [block for block in YAML if block.text.startswith("# fleet.yml")], ids=lambda block: block.title
)
def test_the_emulator_takes_the_fleets_of_examples(block: Block) -> None:
    assert fleet_file.parse(block.data).instances


@needs
def test_the_guide_to_the_emulator_runs_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    ports = dict(zip(("18080", "18081"), free_ports(2), strict=True))

    def own(block: Block) -> Block:
        return Block(block.path, block.language, re.sub("18080|18081", lambda match: ports[match[0]], block.text))

    guide = [own(block) for block in EMULATOR_GUIDE]
    [install, migrate] = [as_play(block) for block in guide if block.is_yaml and "hosts:" in block.text]
    # It installs from PyPI, which takes as long as it takes.
    status, output = run(tmp_path, [install], timeout=900)
    assert status == 0, output
    # The others are about gcloud and about containers.
    scripts = [block.text for block in guide if block.language == "sh" and re.search(r"\bcontrol\b", block.text)]
    assert len(scripts) > 4
    playbook = tmp_path / "migrate.yml"
    playbook.write_text(migrate, encoding="utf-8")
    last = f"{sys.executable} -m ansible playbook -i inventory.json {playbook}\n"
    done = subprocess.run(
        ["sh", "-c", "\n".join([*scripts, last])],
        cwd=tmp_path,
        env={**os.environ, "no_proxy": "*", "ANSIBLE_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "restore  Leave the load balancer" in done.stdout


@pytest.mark.parametrize("kind", ["modules", "lookup", "filter"])
def test_the_examples_of_plugins_are_run_by_their_tests(kind: str) -> None:
    """There, each with the fleet and the steering that it takes."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests/unit/plugins" / kind).glob("*.py"))
    names = [path.stem for path in (CHECKOUT / "plugins" / kind).glob("*.py") if path.stem != "__init__"]
    called = set(re.findall(rf'examples\(\s*"{kind}", "(\w+)"', tests))
    if kind == "filter":
        called = {name for name in names if f'"{name.removeprefix("metadata_")}"' in tests}
    assert names
    assert set(names) == called


def test_the_playbooks_in_examples_take_the_variables_that_they_are_given() -> None:
    text = "".join(block.text for block in BLOCKS if block.language in ("console", "sh", "shell"))
    commands = [
        line for line in text.replace("\\\n", " ").splitlines() if "ansible-playbook" in line and "gce.guest." in line
    ]
    assert len(commands) > 5
    for command in commands:
        name = re.search(r"\bgce\.guest\.(\w+)", command)
        source = (CHECKOUT / "playbooks" / f"{name[1] if name else ''}.yml").read_text(encoding="utf-8")
        for variable in re.findall(r"(?<=-e )\w+(?==)", command):
            assert re.search(rf"^# {variable} ", source, re.MULTILINE) or variable.startswith("maintenance_handler_"), (
                command
            )
