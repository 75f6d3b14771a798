# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation of plugins, in guides and in READMEs work."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from gce_emulator.state import fleet_file
from maintenance_handler.app import config
from support.emulator import EmulatorProcess
from support.guides import Block, blocks
from support.handler import HandlerProcess, task
from support.playbook import CHECKOUT
from support.ports import free_port
from support.receiver import Receiver
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
# Variables that the examples use.
VARIABLES = {"version": "1.4.2", "inventory": {"disk-1": "ok"}}

# Examples that do not run in the common play, by `Block.title`, and the test that runs them.
ELSEWHERE = {
    "guide_compute_api.rst: Gather announced maintenance": "test_the_example_of_impersonation_runs_without_it",
    "guide_emulator.rst: Install the emulator and the handler": "test_the_guide_to_the_emulator",
    "guide_emulator.rst: # fleet.yml": "test_the_emulator_accepts_the_fleets_of_examples",
    "guide_emulator.rst: web-1": "test_the_emulator_accepts_the_fleets_of_examples",
    "README.md: web-1": "test_the_emulator_accepts_the_fleets_of_examples",
    "guide_emulator.rst: db-1": "test_the_emulator_accepts_the_fleets_of_examples",
    "README.md: db-1": "test_the_emulator_accepts_the_fleets_of_examples",
    "guide_event_driven.rst: web-1": "test_the_emulator_accepts_the_fleets_of_examples",
    "guide_event_driven.rst: React to maintenance windows": "tests/unit/extensions/eda/test_rulebook.py",
    "guide_event_driven.rst: Notify the rulebook": "tests/unit/extensions/eda/test_rulebook.py",
    "guide_emulator.rst: Migrate the emulated VM": "test_the_guide_to_the_emulator",
    "guide_maintenance_handler.rst: Install the maintenance handler": "test_the_role_is_applied_as_in_examples",
    "guide_maintenance_handler.rst: Drain the VM": "tests/unit/plugins/modules/test_maintenance_drain.py",
    "guide_notifications.rst: Notify people of maintenance": "test_the_handler_accepts_the_targets_of_examples",
    "guide_recipes.rst: Drain web servers before maintenance": "test_the_handler_accepts_the_recipes_of_examples",
    "guide_recipes.rst: Drain web servers with slow requests": "test_the_handler_accepts_the_recipes_of_examples",
    "guide_recipes.rst: Drain workers by a recipe of our own": "test_the_recipe_of_the_guide_works",
    "README.md: Install the maintenance handler with a task": "test_the_role_is_applied_as_in_examples",
    "README.md: gce.guest": "test_the_requirement_is_met_by_this_version",
    "README.md: Install the maintenance handler": "test_the_role_is_applied_as_in_examples",
    "README.md: Install the handler into an image": "test_the_role_is_applied_as_in_examples",
    "README.md: Remove the maintenance handler": "test_the_role_is_applied_as_in_examples",
    # Root and systemd are required.
    "README.md: Install the emulator": "extensions/molecule/systemd/prepare.yml",
}

BLOCKS = blocks()
YAML = [block for block in BLOCKS if block.is_yaml]
HERE = [block for block in YAML if block.title not in ELSEWHERE]
HANDLER_TASKS = [block for block in YAML if "maintenance_handler_tasks:" in block.text]
HANDLER_RECIPES = [block for block in YAML if "maintenance_handler_recipes:" in block.text]
HANDLER_TARGETS = [block for block in YAML if "maintenance_handler_notify:" in block.text]
OWN_RECIPE = [
    block for block in BLOCKS if block.path.endswith("guide_recipes.rst") and block.language in ("json", "python")
]


LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}

# Arguments of `ansible-playbook` for playbooks of the collection, each once.
CONSOLE = "".join(block.text for block in BLOCKS if block.language in ("console", "sh", "shell")).replace("\\\n", " ")
PLAYBOOK_COMMANDS = [
    shlex.split(arguments)
    for arguments in sorted(set(re.findall(r"^(?:\$ )?ansible-playbook (.*gce\.guest\..*)$", CONSOLE, re.MULTILINE)))
]

EMULATOR_GUIDE = [block for block in BLOCKS if block.path.endswith("guide_emulator.rst")]

needs = pytest.mark.skipif(not all(map(shutil.which, ("curl", "jq"))), reason="the guide's script takes curl and jq")


def cloud(emulator: EmulatorProcess) -> dict[str, str]:
    """Environment variables for plays that use the emulator."""
    return {
        "GCP_PROJECT": "acme",
        "GCP_ACCESS_TOKEN": "ya29.planted",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": emulator.compute,
        "GCE_METADATA_HOST": emulator.metadata["web-1"],
        # google-auth uses it to detect that it runs on a VM.
        "GCE_METADATA_IP": emulator.metadata["web-1"],
    }


def tasks_of(block: Block) -> list[dict[str, Any]]:
    """The tasks for the handler in a play."""
    [play] = block.data
    variables = play["roles"][0]["vars"] if "roles" in play else play["tasks"][1]["vars"]
    # In YAML, `on` without quotes is a boolean.
    return [
        {("on" if key is True else key): value for key, value in task.items()}
        for task in variables["maintenance_handler_tasks"]
    ]


def as_play(block: Block) -> str:
    """A play that contains the block, which is a play, a part of a play or tasks. The text is unchanged."""
    if isinstance(block.data, list) and "hosts" in block.data[0]:
        return block.text
    play = f"- name: {json.dumps(block.title)}\n  hosts: localhost\n  gather_facts: false\n"
    if isinstance(block.data, list):
        return f"{play}  tasks:\n{textwrap.indent(block.text, '    ')}"
    task = "{name: Use it, gce.guest.custom_metadata_info: {}}"
    return f"{play}{textwrap.indent(block.text, '  ')}  tasks: [{task}]\n"


def run(
    folder: Path, plays: list[str], *arguments: str, timeout: float = 300, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run plays on localhost in a folder, with the checkout as the collection. Return exit status and output."""
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"localhost": LOCAL}}}), encoding="utf-8")
    (folder / "play.yml").write_text("\n".join(plays), encoding="utf-8")
    return ansible_playbook(
        folder, "-i", "inventory.json", "play.yml", *arguments, timeout=timeout, environment=environment
    )


def ansible_playbook(
    folder: Path, *arguments: str, timeout: float = 300, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    namespace = folder / "ansible_collections" / "gce"
    if not namespace.exists():
        namespace.mkdir(parents=True)
        (namespace / "guest").symlink_to(CHECKOUT, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            # fleet_status writes its page to it.
            "PWD": str(folder),
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
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
            environment=cloud(emulator),
        )
    assert status == 0, output
    assert len(HERE) > 20
    for words in ("OS Login is on.", "us-central1-a", "1.4.2", "line 1: /computeMetadata/v1beta1/", "at least"):
        assert words in output, words


def test_other_examples_are_run_elsewhere(tmp_path: Path) -> None:
    there = [block for block in YAML if block.title in ELSEWHERE]
    assert {block.title for block in there} == set(ELSEWHERE)
    for place in ELSEWHERE.values():
        assert place in globals() or (CHECKOUT / place).exists()
    lists = [block for block in there if isinstance(block.data, list)]
    # A rulebook is no playbook.
    plays = [as_play(block) for block in lists if "sources" not in block.data[0]]
    assert len(plays) == len(lists) - 1
    status, output = run(tmp_path, plays, "--syntax-check")
    assert status == 0, output


def test_the_example_of_impersonation_runs_without_it(tmp_path: Path) -> None:
    """Impersonation requests a token from Google's IAM service."""
    [block] = [block for block in YAML if "impersonate_service_account" in block.text]
    play, count = re.subn(r"^ *impersonate_service_account: .*\n", "", block.text, flags=re.MULTILINE)
    assert count == 1
    with EmulatorProcess(FLEET) as emulator:
        status, output = run(tmp_path, [play], environment=cloud(emulator))
    assert status == 0, output


def test_the_requirement_is_met_by_this_version() -> None:
    [block] = [block for block in YAML if block.title == "README.md: gce.guest"]
    [requirement] = block.data["collections"]
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))
    assert requirement["name"] == f"{galaxy['namespace']}.{galaxy['name']}"
    assert SpecifierSet(requirement["version"]).contains(galaxy["version"])


def test_the_role_is_applied_as_in_examples(tmp_path: Path) -> None:
    """Below a prefix, so that neither root nor systemd is required."""
    (tmp_path / "lb").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "lb").chmod(0o755)
    (tmp_path / "failover.yml").write_text("- hosts: localhost\n", encoding="utf-8")
    prefix = tmp_path / "vm"
    variables = {
        "ansible_become": False,
        "maintenance_handler_service": False,
        "maintenance_handler_prefix": str(prefix),
        "maintenance_handler_python": sys.executable,
        "maintenance_handler_path": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }

    def apply(block: Block, **more: Any) -> None:
        play = block.text.replace("/usr/local/bin/lb", str(tmp_path / "lb"))
        play = play.replace("/etc/drain/failover.yml", str(tmp_path / "failover.yml"))
        status, output = run(tmp_path, [play], "-e", json.dumps({**variables, **more}))
        assert status == 0, output

    config_path = prefix / "etc/gce-maintenance-handler/config.json"
    [removal] = [block for block in YAML if "tasks_from: uninstall" in block.text]
    [image] = [block for block in YAML if "maintenance_handler_start: false" in block.text]
    others = ("gce.guest.metadata_emulator", "maintenance_handler_fleet_limit")
    plays = [block for block in HANDLER_TASKS if not any(other in block.text for other in others)]
    [guide] = [block for block in plays if block.path.endswith("guide_maintenance_handler.rst")]
    # The READMEs have the same tasks, or some of them.
    assert len(plays) >= 3
    assert all(task in tasks_of(guide) for block in plays for task in tasks_of(block))
    apply(guide)
    assert json.loads(config_path.read_bytes())["tasks"]
    apply(removal)
    assert not config_path.exists()
    # The tasks are in the inventory.
    apply(image, maintenance_handler_tasks=[{"name": "lb", "on": ["migrate"], "drain": [str(tmp_path / "lb")]}])
    assert config_path.exists()


@pytest.mark.parametrize("command", PLAYBOOK_COMMANDS, ids=" ".join)
def test_the_commands_of_examples_run(command: list[str], tmp_path: Path) -> None:
    fleet_without_calls = json.loads(json.dumps(FLEET))
    del fleet_without_calls["instances"][0]["attributes"]["startup-script"]
    with EmulatorProcess(fleet_without_calls) as emulator, ExitStack() as stack:
        handler = HandlerProcess(tmp_path, emulator.metadata["web-1"], [task("lb", "terminate")])
        stack.callback(handler.close)
        handler.start()
        host = {
            **LOCAL,
            "ansible_become": False,
            "gce_metadata_host": emulator.metadata["web-1"],
            "maintenance_handler_allow_no_tasks": True,
            "maintenance_handler_service": False,
            "maintenance_handler_prefix": str(tmp_path / "vm"),
            "maintenance_handler_python": sys.executable,
            "gce_executable": str(handler.write_program()),
        }
        # The service of the example is the metadata server here.
        healthy = f"http://{emulator.metadata['web-1']}/"
        command = [word.replace("http://{{ inventory_hostname }}/healthz", healthy) for word in command]
        groups = {name: {"hosts": {"web-1": host}} for name in ("web", "canary", "canaries")}
        (tmp_path / "inventory").write_text(json.dumps({"all": {"children": groups}}), encoding="utf-8")
        status, output = ansible_playbook(tmp_path, *command, environment=cloud(emulator))
    assert status == 0, output
    assert "skipping: no hosts matched" not in output


@pytest.mark.parametrize("block", HANDLER_TASKS, ids=lambda block: block.title)
def test_the_handler_accepts_the_tasks_of_examples(block: Block) -> None:
    document = {"tasks": tasks_of(block), "state_dir": "/var/lib/x", "runtime_dir": "/run/x"}
    parsed = config.parse(json.dumps(document).encode())
    assert [task.name for task in parsed.tasks] == [task["name"] for task in tasks_of(block)]


@pytest.fixture
def own_recipes(tmp_path: Path) -> Path:
    """A directory with the recipe of the guide, `queue_worker`."""
    folder = tmp_path / "recipes" / "queue_worker"
    folder.mkdir(parents=True)
    for block, name in zip(OWN_RECIPE, ("recipe.json", "program.py"), strict=True):
        (folder / name).write_text(block.text, encoding="utf-8")
    return folder.parent


@pytest.mark.parametrize("block", HANDLER_RECIPES, ids=lambda block: block.title)
def test_the_handler_accepts_the_recipes_of_examples(block: Block, own_recipes: Path) -> None:
    [play] = block.data
    variables = play["roles"][0]["vars"] if "roles" in play else play["tasks"][1]["vars"]
    recipes = [
        {("on" if key is True else key): value for key, value in entry.items()}
        for entry in variables["maintenance_handler_recipes"]
    ]
    folders = {"recipe_folders": [str(own_recipes)]} if "maintenance_handler_recipe_folders" in variables else {}
    document = {"recipes": recipes, "state_dir": "/var/lib/x", "runtime_dir": "/run/x", **folders}
    assert len(config.parse(json.dumps(document).encode()).tasks) == len(recipes)


@pytest.mark.parametrize("block", HANDLER_TARGETS, ids=lambda block: block.title)
def test_the_handler_accepts_the_targets_of_examples(block: Block) -> None:
    [play] = block.data
    entries = [
        {("on" if key is True else key): value for key, value in entry.items()}
        for entry in play["roles"][0]["vars"]["maintenance_handler_notify"]
    ]
    document = {"notify": entries, "state_dir": "/var/lib/x", "runtime_dir": "/run/x"}
    assert [target["name"] for target in config.parse(json.dumps(document).encode()).notify] == [
        entry["name"] for entry in entries
    ]


@pytest.mark.parametrize(
    "block", [block for block in HANDLER_TARGETS if "smtp:" in block.text], ids=lambda block: block.title
)
def test_the_role_writes_the_targets_of_examples_and_shows_no_secret(block: Block, tmp_path: Path) -> None:
    """What it installs notifies a receiver in place of the hosts in the guide."""
    receiver = Receiver()
    prefix = tmp_path / "vm"
    variables = {
        "ansible_become": False,
        "maintenance_handler_allow_no_tasks": True,
        "maintenance_handler_service": False,
        "maintenance_handler_prefix": str(prefix),
        "maintenance_handler_python": sys.executable,
    }
    play = block.text.replace("hosts: web", "hosts: localhost")
    play = re.sub(r"https?://[a-z0-9.-]+\.(?:com|example\.com)(?::\d+)?(?=[/\s])", receiver.url, play)
    # The default of PagerDuty, and the mail server, cannot be reached from here.
    play = play.replace("preset: pagerduty", f"preset: pagerduty\n            url: {receiver.url}/v2/enqueue")
    play = play.replace("host: mail.example.com", "host: 127.0.0.1\n              port: 1")
    play = play.replace("[logger, --tag, maintenance]", f"[cp, /dev/stdin, {tmp_path}/logged]")
    try:
        status, output = run(tmp_path, [play], "--diff", "-e", json.dumps(variables))
        assert status == 0, output
        config_path = prefix / "etc/gce-maintenance-handler/config.json"
        assert config_path.stat().st_mode & 0o777 == 0o600
        written = json.loads(config_path.read_bytes())["notify"]
        assert written[1]["on"] == ["drained", "restored", "restore_failed"]
        launcher = prefix / "usr/local/bin/gce-maintenance-handler"
        command = [str(launcher), "notify-test", "--config", str(config_path)]
        environment = {**os.environ, "GCE_METADATA_HOST": "127.0.0.1:1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    finally:
        receiver.stop()
    assert "secret" not in output
    results = [line.partition(": ")[::2] for line in done.stdout.splitlines()]
    failed = {name for name, said in results if said.startswith("FAILED")}
    assert (done.returncode, failed) == (1, {"mail"}), done.stdout + done.stderr
    assert {name for name, _said in results} == {target["name"] for target in written}
    assert "secret" not in done.stdout + done.stderr
    paths = {call.path for call in receiver.calls}
    assert paths == {
        "/services/T0001/B0001/secret",
        "/v1/spaces/AAAA/messages",
        "/v2/enqueue",
        "/api/v2/alerts",
        "/maintenance",
        "/api/notes",
    }
    assert json.loads((tmp_path / "logged").read_bytes())["kind"] == "test"


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
    "block",
    [block for block in YAML if isinstance(block.data, dict) and "instances" in block.data],
    ids=lambda block: block.title,
)
def test_the_emulator_accepts_the_fleets_of_examples(block: Block) -> None:
    assert fleet_file.parse(block.data).instances


@needs
def test_the_guide_to_the_emulator(tmp_path: Path) -> None:
    ports = {port: str(free_port()) for port in ("18080", "18081")}

    def own(block: Block) -> Block:
        return Block(block.path, block.language, re.sub("18080|18081", lambda match: ports[match[0]], block.text))

    guide = [own(block) for block in EMULATOR_GUIDE]
    [install, migrate] = [as_play(block) for block in guide if block.is_yaml and "hosts:" in block.text]
    # It installs packages from PyPI, which may take long.
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
    """Those tests set up the fleet that each example requires."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests/unit/plugins" / kind).glob("*.py"))
    names = [path.stem for path in (CHECKOUT / "plugins" / kind).glob("*.py") if path.stem != "__init__"]
    called = set(re.findall(rf'examples\(\s*"{kind}", "(\w+)"', tests))
    if kind == "filter":
        called = {name for name in names if f'"{name.removeprefix("metadata_")}"' in tests}
    assert names
    assert set(names) == called


def test_the_playbooks_in_examples_have_the_variables() -> None:
    assert len(PLAYBOOK_COMMANDS) >= 5
    for command in PLAYBOOK_COMMANDS:
        [name] = [word for word in command if word.startswith("gce.guest.")]
        source = (CHECKOUT / "playbooks" / f"{name.rpartition('.')[2]}.yml").read_text(encoding="utf-8")
        for option, argument in itertools.pairwise(command):
            variable = argument.partition("=")[0]
            if option == "-e":
                variables = json.loads(argument) if argument.startswith("{") else [variable]
                for name in variables:
                    assert re.search(rf"^# {name} ", source, re.MULTILINE), command
