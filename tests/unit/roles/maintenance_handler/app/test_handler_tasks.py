# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that misbehave, run as another user, or are playbooks."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.handler import HandlerProcess, steps, task
from support.vm import Vm

MakeHandler = Callable[..., HandlerProcess]


def drained(vm: Vm, handler: HandlerProcess) -> dict[str, dict[str, object]]:
    """Start the handler, have it drain, and answer the first step of each task."""
    handler.start()
    vm.announce("migrate")
    handler.until_state("drained")
    first: dict[str, dict[str, object]] = {}
    for step in handler.status()["incident"]["steps"]:
        first.setdefault(step["task"], step)
    return first


def test_hanging_task_is_ended_with_all_its_children(vm: Vm, make_handler: MakeHandler) -> None:
    """Others have no deadline, or one for all events."""
    stubborn = "trap '' TERM; sleep 600 & while true; do sleep 600; done"
    handler = make_handler(
        task("stubborn", drain=stubborn, timeout=0.5, stage=10),
        task("polite", drain="trap 'echo bye; exit 0' TERM; sleep 600 & wait", timeout=0.5, stage=10),
        task("next", stage=20),
    )
    done = drained(vm, handler)
    assert (done["stubborn"]["outcome"], done["stubborn"]["detail"]) == ("timeout", "timed out")
    # It was ended because its time was up, however it took that.
    assert done["polite"]["outcome"] == "timeout"
    assert done["next"]["outcome"] == "ok"
    handler.until(lambda: handler.descendants() == [], "no process is left")


def test_task_may_leave_a_process_with_its_output_open(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("starts a daemon", drain="setsid sleep 600 & echo started"), task("next", stage=60))
    done = drained(vm, handler)
    assert done["starts a daemon"]["outcome"] == done["next"]["outcome"] == "ok"
    handler.until(lambda: len(handler.descendants()) == 1, "one process that is left")
    handler.until_logged("drain 'starts a daemon': started")


def test_endless_output_is_truncated_in_the_log(vm: Vm, make_handler: MakeHandler) -> None:
    prints = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf 'x%.0s' $(seq 5000)"
    handler = make_handler(task("noisy", "migrate", drain=prints, timeout=30))
    assert drained(vm, handler)["noisy"]["outcome"] == "ok"
    handler.until_logged("(more output is not logged)")
    lines = [line for line in handler.log().splitlines() if "drain 'noisy'" in line]
    assert "line 0" in lines[1]
    assert any(line.endswith("(more output is not logged)") for line in lines)
    assert len(lines) < 250
    assert max(len(line) for line in lines) < 1200


def test_last_line_of_a_failed_task_is_its_reason(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain="echo; printf 'caf\\351 \\033[1mclosed'; exit 4"))
    done = drained(vm, handler)
    assert done["lb"]["outcome"] == "failed"
    # Not in the status, which everybody may read.
    assert done["lb"]["detail"] == "exit status 4"
    assert "closed" not in json.dumps(handler.status())
    assert handler.journal()["incident"]["steps"][0]["output"].startswith("caf")
    vm.withdraw("migrate")
    (step,) = [one for one in handler.until_over()["steps"] if one["phase"] == "drain"]
    assert step["output"].startswith("caf")
    shown = handler.command("history").stdout
    assert "exit status 4: caf" in shown
    assert "\x1b" not in shown


def test_task_that_closes_its_output_is_waited_for(vm: Vm, make_handler: MakeHandler) -> None:
    silent = 'exec >/dev/null 2>&1 0<&-; sleep 0.3; touch "$FOLDER/done"; exit 5'
    handler = make_handler(task("silent", drain=silent))
    done = drained(vm, handler)
    assert (done["silent"]["outcome"], done["silent"]["detail"]) == ("failed", "exit status 5")
    assert (handler.folder / "done").exists()


def test_missing_program_fails_only_its_task(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler()
    gone = handler.folder / "gone"
    handler.configure(
        tasks=[
            {"name": "gone", "on": ["migrate"], "drain": [str(gone)], "restore": ["true"], "stage": 10, "timeout": 5},
            {"name": "no format", "on": ["migrate"], "drain": [str(handler.folder / "empty")], "timeout": 5},
            task("beside it", stage=10),
            task("next", stage=20),
        ]
    )
    (handler.folder / "empty").write_bytes(b"\x00\x01")
    (handler.folder / "empty").chmod(0o755)
    handler.start()
    # Reported, but the VM keeps its other tasks.
    handler.until_logged(f"task 'gone', field 'drain': program '{gone}' does not exist")
    handler.until(lambda: len(handler.status()["problems"]) == 2, "the problems of two tasks")
    vm.announce("migrate")
    handler.until_state("drained")
    done = {step["task"]: step for step in handler.status()["incident"]["steps"]}
    assert done["gone"]["outcome"] == done["no format"]["outcome"] == "not started"
    assert done["gone"]["detail"].startswith(f"{gone} cannot be started: ")
    assert done["beside it"]["outcome"] == done["next"]["outcome"] == "ok"
    handler.until_logged("drain 'gone': not started")
    log = handler.log()
    assert 0 < log.index("drain 'gone' starts") < log.index("drain 'gone': not started")
    vm.withdraw("migrate")
    assert ("restore", "gone", "ok") in steps(handler.until_over())


def test_task_killed_by_a_signal_is_reported_with_the_signal(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(task("lb", drain="kill -SEGV $$"))
    assert drained(vm, handler)["lb"]["detail"] == "ended by SIGSEGV"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a task as another user")
def test_runs_a_task_as_its_user(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        {
            "name": "lb",
            "on": ["migrate"],
            "user": "nobody",
            "drain": ["sh", "-c", 'echo "$(id -un) $(id -Gn) $USER $LOGNAME $HOME $(pwd) $(grep -c event -)"'],
            "timeout": 30,
        }
    )
    assert drained(vm, handler)["lb"]["outcome"] == "ok"
    handler.until_logged("drain 'lb': nobody")
    line = next(line for line in handler.log().splitlines() if "drain 'lb': nobody" in line)
    who, *groups, user, logname, home, folder, read = line.partition("drain 'lb': ")[2].split()
    assert (who, user, logname, home, folder) == ("nobody", "nobody", "nobody", "/nonexistent", "/")
    assert "root" not in groups
    assert read == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a task as another user")
def test_ends_a_task_of_another_user_in_time(vm: Vm, make_handler: MakeHandler) -> None:
    handler = make_handler(
        # Enough to look up the user, too.
        {"name": "lb", "on": ["migrate"], "user": "nobody", "drain": ["sleep", "600"], "timeout": 4}
    )
    assert drained(vm, handler)["lb"]["outcome"] == "timeout"


def write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_runs_a_playbook_on_this_machine_with_the_event(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    write_program(
        programs / "ansible-playbook",
        f"#!{sys.executable}\nimport json, os, sys\n"
        'with open(os.environ["FOLDER"] + "/" + os.environ["GCE_EVENT_PHASE"], "w") as file:\n'
        "    json.dump(sys.argv[1:], file)\n",
    )
    for name in ("drain.yml", "restore.yml"):
        (tmp_path / name).write_text("[]")
    handler = make_handler(
        {
            "name": "database",
            "on": ["migrate"],
            "playbook": str(tmp_path / "drain.yml"),
            "restore_playbook": str(tmp_path / "restore.yml"),
            "timeout": 10,
        },
        environ={"PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert drained(vm, handler)["database"]["outcome"] == "ok"
    vm.withdraw("migrate")
    handler.until_over()
    for phase in ("drain", "restore"):
        *options, variables, playbook = json.loads((handler.folder / phase).read_text())
        assert options == ["-i", "localhost,", "-c", "local", "-e"]
        assert playbook == str(tmp_path / f"{phase}.yml")
        told = json.loads(variables.replace("!unsafe ", ""))
        assert told["gce_event_phase"] == phase
        assert (told["gce_event"]["name"], told["gce_event"]["phase"]) == ("migrate", phase)


def test_runs_a_playbook_with_the_installed_ansible(vm: Vm, make_handler: MakeHandler, tmp_path: Path) -> None:
    ansible = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if ansible is None:
        pytest.skip("there is no ansible-playbook")
    playbook = tmp_path / "drain.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "localhost",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "ansible.builtin.copy": {
                                "dest": str(tmp_path / "told"),
                                "content": "{{ gce_event.name }} {{ gce_event_phase }} {{ gce_event.rehearsal }} "
                                "{{ gce_event.value }} {{ gce_event.reasons }}",
                            }
                        }
                    ],
                }
            ]
        )
    )
    handler = make_handler(
        {"name": "database", "on": ["migrate"], "playbook": str(playbook), "timeout": 50},
        unknown_event="migrate",
        environ={
            "PATH": f"{Path(ansible).parent}:{os.environ['PATH']}",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
        },
    )
    handler.start()
    vm.set("maintenance-event", f"{{{{ lookup('pipe', 'touch {tmp_path}/executed') }}}}")
    handler.until(lambda: handler.state() == "drained", "the end of the playbook", within=50)
    assert steps(handler.status()["incident"]) == [("drain", "database", "ok")], handler.log()
    assert (tmp_path / "told").read_text() == "migrate drain False migrate []"
    assert not (tmp_path / "executed").exists()
