# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of a handler on a VM. After each, no event is missed, the handler is still running, and all is restored once.

And a person can tell: the log has one line about it, and a metric counts it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.io.files import write_whole
from support.emulator import EmulatorProcess
from support.handler import UNTIL_RELEASED, HandlerProcess, task
from support.hanging import UnreadLog, hung_mount, path_with_slow_groups
from support.network import network_namespace
from support.proof import Run, Table, judged
from support.vm import Vm

pytestmark = pytest.mark.proof
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and network namespaces are for root")

MakeHandler = Callable[..., HandlerProcess]

METADATA = "The metadata server"
EVENTS = "Events"
MACHINE = "The machine"
TASKS = "Tasks"

FAILED_POLLS = 'polls_total{key="instance/maintenance-event",result="failure"}'
NEW_OUTAGE = r" warning (?!.*is answered again)(?!.*s now\)).*instance/maintenance-event"
MIGRATE_ON = r"migrate is announced"
PREFIX = "gce_maintenance_handler_"


class Try:
    """One row's handler, from its start until everything is over."""

    def __init__(self, table: Table, section: str, name: str, metric: str, vm: Vm, make_handler: MakeHandler) -> None:
        self._table = table
        self._row = (section, name)
        self._metric = metric
        self._make_handler = make_handler
        self.vm = vm
        table.tried(section, name, PREFIX + metric)

    def make(self, *tasks: dict[str, Any], **settings: Any) -> HandlerProcess:
        self.handler = self._make_handler(*tasks, **settings)
        return self.handler

    def survived(self, line: str, *announced: str, interrupted: tuple[Run, ...] = (), incidents: int = 1) -> None:
        """Everything is over, or will be soon: nothing was missed, lost or done twice, and it can be seen."""
        handler = self.handler
        handler.until_over(incidents)
        self.settle(line, *announced, interrupted=interrupted)

    def settle(self, line: str, *announced: str, interrupted: tuple[Run, ...] = ()) -> None:
        handler = self.handler
        handler.until(lambda: sample(handler, PREFIX + self._metric) > 0, f"the metric {self._metric}")
        assert handler.running.poll() is None, handler.log()
        verdict = judged(handler, announced, interrupted)
        assert verdict.is_clean, (verdict, handler.trace(), handler.log())
        assert len(re.findall(line, handler.log())) == 1, handler.log()
        self._table.survived(*self._row, verdict)


Prove = Callable[[str, str, str], Try]

NEXT = task("next", stage=60)


@pytest.fixture
def prove(table: Table, vm: Vm, make_handler: MakeHandler) -> Prove:
    """Begins a try: section, name of the row, and the metric that shows it."""
    return lambda section, name, metric: Try(table, section, name, metric, vm, make_handler)


def sample(handler: HandlerProcess, name: str) -> float:
    """The value of a metric; the sum of all that have the labels that the name has."""
    path = Path(handler.config["metrics_textfile"])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    wanted, labels = _name_and_labels(name)
    found = [
        (*_name_and_labels(line.rpartition(" ")[0]), float(line.rpartition(" ")[2])) for line in lines if line[0] != "#"
    ]
    return sum(value for one, its_labels, value in found if one == wanted and labels <= its_labels)


def _name_and_labels(sample: str) -> tuple[str, set[str]]:
    name, _brace, labels = sample.rstrip("}").partition("{")
    return name, set(filter(None, labels.split(",")))


def is_healthy(handler: HandlerProcess) -> bool:
    return sample(handler, f"{PREFIX}healthy") == 1


def window(starts_in: float, **fields: Any) -> dict[str, Any]:
    start = (datetime.now(UTC) + timedelta(seconds=starts_in)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"window_start_time": start, **fields}


# The metadata server


@pytest.mark.parametrize(
    "kind, name",
    [
        ("503", "answers 503"),
        ("429", "answers 429"),
        ("reset", "resets connections"),
        ("refuse", "refuses connections"),
        ("html", "answers with a page of HTML and status 200"),
        ("truncate", "ends its answers in the middle"),
        ("garbage", "answers with something other than HTTP"),
    ],
)
def test_outage(kind: str, name: str, prove: Prove) -> None:
    """503 ended the handler (aws/aws-node-termination-handler#916), HTML the agent (guest-agent#320)."""
    trial = prove(METADATA, f"It {name}", FAILED_POLLS)
    handler, vm = trial.make(task("lb")).start(), trial.vm
    fault = vm.fault(kind)
    handler.until_blind()
    handler.until(lambda: not is_healthy(handler), "the metric of an outage")
    vm.announce("migrate")
    vm.heal(fault)
    handler.until_state("drained")
    handler.until(lambda: is_healthy(handler), "the metric of the outage's end")
    vm.withdraw("migrate")
    trial.survived(NEW_OUTAGE, "migrate")


def test_outage_of_an_hour(prove: Prove) -> None:
    """503 from the metadata server ended the handler (aws/aws-node-termination-handler#916)."""
    trial = prove(METADATA, "It answers 503 for an hour (of simulated time)", FAILED_POLLS)
    handler = trial.make(task("lb"), environ={"TIME": "skip"}).start(module="support.steered")
    fault = trial.vm.fault("503")
    handler.until(lambda: re.search(r"\((for 36\d\d s now)\)", handler.log()), "an hour", within=60)
    trial.vm.announce("migrate")
    trial.vm.heal(fault)
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.survived(NEW_OUTAGE, "migrate")


def test_hanging_get_past_its_deadline(prove: Prove) -> None:
    """A hanging GET never ends on a half-open connection (GoogleCloudPlatform/compute-image-packages#94)."""
    trial = prove(METADATA, "It accepts a request and never answers it", FAILED_POLLS)
    handler, vm = trial.make(task("lb")).start(), trial.vm
    vm.fault("hang", count=len(handler.watched_keys()))
    handler.until_logged("there was no complete answer within 11 s")
    vm.announce("migrate")
    handler.until_state("drained")
    vm.withdraw("migrate")
    trial.survived(NEW_OUTAGE, "migrate")


@needs_root
def test_half_open_connection(prove: Prove) -> None:
    """A live migration can leave a half-open connection (GoogleCloudPlatform/compute-image-packages#94)."""
    trial = prove(METADATA, "Its connections become half open: packets are dropped without a reset", FAILED_POLLS)
    with network_namespace() as (name, outside, _inside):
        fleet = {"instances": [{"name": "far", "address": outside, "upcoming_maintenance_none": "NONE"}]}
        with EmulatorProcess(fleet) as emulator:
            vm = Vm(emulator, "far")
            launcher = ("ip", "netns", "exec", name)
            handler = trial.make(task("lb"), metadata_host=vm.host, launcher=launcher).start()
            handler.until(lambda: vm.hanging_gets() == len(handler.watched_keys()), "a hanging GET for each key")
            in_namespace = ["ip", "netns", "exec", name]
            listed = subprocess.run([*in_namespace, "cat", "/proc/net/tcp"], check=True, capture_output=True, text=True)
            # Local address and state of each connection; 01 is ESTABLISHED.
            rows = [line.split() for line in listed.stdout.splitlines()[1:]]
            for port in {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "01"}:
                for chain, option in (("OUTPUT", "--sport"), ("INPUT", "--dport")):
                    rule = ["iptables", "-w", "-A", chain, "-p", "tcp", option, str(port), "-j", "DROP"]
                    subprocess.run([*in_namespace, *rule], check=True)
            vm.announce("migrate")
            handler.until(lambda: handler.state() == "drained", "the drain", within=30)
            vm.withdraw("migrate")
            trial.survived(NEW_OUTAGE, "migrate")
            handler.close()


def test_key_that_is_created(prove: Prove) -> None:
    trial = prove(METADATA, "It answers 404, and then 200", 'steps_total{outcome="ok",phase="drain"}')
    trial.vm.control.remove(trial.vm.name, "instance/maintenance-event")
    handler = trial.make(task("lb")).start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.survived(MIGRATE_ON, "migrate")


def test_changing_etag(prove: Prove) -> None:
    name = "The etag changes with each answer, and the value does not"
    trial = prove(METADATA, name, 'polls_total{key="instance/maintenance-event",result="answer"}')
    handler = trial.make(task("lb")).start()
    trial.vm.fault("etag-flap")
    begun = len(trial.vm.requests("maintenance-event"))
    handler.until(lambda: len(trial.vm.requests("maintenance-event")) > begun + 2, "three answers")
    assert handler.state() == "idle"
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.survived(MIGRATE_ON, "migrate")


def test_brief_change_of_a_value(prove: Prove) -> None:
    """A value that changes and changes back has the old etag again."""
    name = "A value changes, and changes back at once"
    trial = prove(METADATA, name, 'polls_total{key="instance/preempted",result="answer"}')
    handler, vm = trial.make(task("lb")).start(), trial.vm
    vm.announce("preempt")
    vm.withdraw("preempt")
    vm.announce("preempt")
    handler.until(lambda: handler.state() == "drained" and handler.signals(), "the drain")
    vm.withdraw("preempt")
    handler.until(lambda: handler.history() and handler.state() == "idle", "the end")
    trial.settle(r"preempt is announced(?s:.*)\Z", "preempt")


# Events


def test_event_announced_before_the_start(prove: Prove) -> None:
    trial = prove(EVENTS, "An event is on when the handler starts", "incidents_total")
    trial.vm.announce("migrate")
    handler = trial.make(task("lb")).start()
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.survived(MIGRATE_ON, "migrate")


def test_cancelled_event(prove: Prove) -> None:
    """A node stayed drained (aws/aws-node-termination-handler#78, kubereboot/kured#63)."""
    name = "An event is cancelled in the middle of its drain"
    trial = prove(EVENTS, name, 'steps_total{outcome="cancelled",phase="drain"}')
    handler = trial.make(task("lb", stage=10), task("queue", stage=20, drain=UNTIL_RELEASED), task("db", stage=30))
    handler.start()
    trial.vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue")
    trial.vm.withdraw("terminate")
    trial.survived(r"drain 'queue': cancelled", "terminate")
    assert "drain db" not in handler.trace()


def test_migration_that_becomes_a_termination(prove: Prove) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    trial = prove(EVENTS, "A migration becomes a termination", "incidents_total")
    handler = trial.make(task("lb"), task("db", "terminate", stage=60)).start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.announce("terminate")
    handler.until_traced("drain lb", "drain db")
    trial.vm.withdraw("terminate")
    trial.survived("terminate is announced", "migrate", "terminate")


def test_preemption_during_another_event(prove: Prove) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    trial = prove(EVENTS, "A preemption comes in the middle of a drain for a migration", "incidents_total")
    handler = trial.make(task("lb", drain=UNTIL_RELEASED), task("db", stage=60)).start()
    trial.vm.announce("migrate")
    handler.until_traced("drain lb")
    trial.vm.announce("preempt")
    handler.until(lambda: len(handler.signals()) == 2, "both events")
    handler.release()
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.vm.withdraw("preempt")
    trial.survived("preempt is announced", "migrate", "preempt")


def test_event_during_the_restore(prove: Prove) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    trial = prove(EVENTS, "An event comes in the middle of a restore", "incidents_total")
    handler = trial.make(task("lb", stage=10), task("queue", stage=20, restore=UNTIL_RELEASED)).start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    handler.until_traced("drain lb", "drain queue", "restore queue")
    trial.vm.announce("terminate")
    handler.until_traced("drain lb", "drain queue", "restore queue", "drain queue")
    handler.release()
    handler.until_state("drained")
    trial.vm.withdraw("terminate")
    trial.survived("restore 'queue': cancelled", "migrate", "terminate")


def test_announced_window(prove: Prove) -> None:
    trial = prove(EVENTS, "A window is announced", 'steps_total{outcome="ok",phase="drain"}')
    handler = trial.make(task("db", "window", lead=30, timeout=20)).start()
    trial.vm.set("upcoming-maintenance", window(32))
    handler.until_state("drained")
    trial.vm.withdraw("window")
    trial.survived("window is announced", "window")


def test_moved_window(prove: Prove) -> None:
    """An event days away was handled at once (aws/aws-node-termination-handler#903), or never (#361)."""
    trial = prove(EVENTS, "A window is moved, after its drain", 'steps_total{outcome="ok",phase="restore"}')
    handler = trial.make(task("db", "window", lead=3600)).start()
    trial.vm.set("upcoming-maintenance", window(1800))
    handler.until_state("drained")
    trial.vm.set("upcoming-maintenance", window(3 * 86400))
    handler.until_traced("drain db", "restore db")
    trial.vm.set("upcoming-maintenance", window(1700))
    handler.until_traced("drain db", "restore db", "drain db")
    handler.until_state("drained")
    trial.vm.withdraw("window")
    # Announced, and announced anew by each of its moves.
    trial.survived(r"window is announced \(PENDING\), 259\d\d\d\.\d s left", "window")


def test_cancelled_window(prove: Prove) -> None:
    trial = prove(EVENTS, "A window is cancelled", "incidents_total")
    handler = trial.make(task("db", "window")).start()
    trial.vm.set("upcoming-maintenance", window(1800))
    handler.until_state("drained")
    trial.vm.withdraw("window")
    trial.survived(r"window is cancelled", "window")


def test_window_that_starts_early(prove: Prove) -> None:
    trial = prove(EVENTS, "A window begins before its time", 'steps_total{outcome="ok",phase="drain"}')
    handler = trial.make(task("db", "window", lead=600)).start()
    trial.vm.set("upcoming-maintenance", window(7200))
    handler.until_state("announced")
    trial.vm.set("upcoming-maintenance", window(7200, maintenance_status="ONGOING"))
    handler.until_state("drained")
    trial.vm.withdraw("window")
    trial.survived(r"window is announced \(ONGOING\)", "window")


def test_stop_during_another_event(prove: Prove) -> None:
    """A second event crashed the handler or was lost (aws/aws-node-termination-handler#307)."""
    trial = prove(EVENTS, "A graceful shutdown comes in the middle of a drain for a migration", "incidents_total")
    handler = trial.make(task("lb", "migrate", "stop", drain=UNTIL_RELEASED), task("db", "stop", stage=60)).start()
    trial.vm.announce("migrate")
    handler.until_traced("drain lb")
    trial.vm.announce("stop")
    handler.until(lambda: len(handler.signals()) == 2, "both events")
    handler.release()
    handler.until_traced("drain lb", "drain db")
    trial.vm.withdraw("migrate")
    trial.vm.withdraw("stop")
    trial.survived("stop is announced", "migrate", "stop")


def test_stop_without_grace_during_another_event(prove: Prove) -> None:
    name = "A graceful shutdown is ended by a second stop without grace"
    trial = prove(EVENTS, name, 'steps_total{outcome="ok",phase="drain"}')
    handler = trial.make(task("lb", "stop", drain=UNTIL_RELEASED, timeout=300)).start()
    trial.vm.announce("stop")
    handler.until_traced("drain lb")
    trial.vm.set("shutdown-details/stop-state", "STOPPING")
    handler.until(lambda: [one["seconds_left"] <= 30 for one in handler.signals()] == [True], "the nearer deadline")
    handler.release()
    handler.until_state("drained")
    trial.vm.withdraw("stop")
    trial.survived(r"stop is announced \(STOPPING\)", "stop")


def test_power_cut_without_notice(prove: Prove) -> None:
    trial = prove(EVENTS, "The power is cut while nothing is drained", "unannounced_restarts_total")
    handler = trial.make(task("resync", "restart")).start()
    handler.until(lambda: handler.journal().get("instance_id"), "the instance in the journal")
    handler.kill()
    handler.boot("boot-2")
    handler.start()
    trial.survived("restarted without an orderly stop", "restart")


# The machine


@pytest.mark.parametrize("hours", [1, -1])
def test_wall_clock_is_set(hours: int, prove: Prove) -> None:
    trial = prove(MACHINE, f"The wall clock is set by {hours:+d} h in the middle of a drain", "wall_clock_jumps_total")
    slow = f'echo $GCE_EVENT_DEADLINE_SECONDS > "$FOLDER/left"; {UNTIL_RELEASED}'
    handler = trial.make(task("lb", stage=10, drain=slow), task("db", stage=20, drain="sleep 0.2"))
    handler.start(module="support.steered")
    trial.vm.announce("migrate")
    handler.until_traced("drain lb")
    write_whole(handler.folder / "wall", str(3600 * hours).encode())
    handler.until_logged("the wall clock jumped")
    handler.release()
    handler.until_state("drained")
    incident = handler.status()["incident"]
    # Neither was cut short, nor given more than there is.
    assert [step["outcome"] for step in incident["steps"]] == ["ok", "ok"]
    assert 0 < incident["signals"][0]["seconds_left"] <= 60
    assert 0 < incident["steps"][1]["seconds_left"] <= 60
    trial.vm.withdraw("migrate")
    trial.survived(re.escape(f"the wall clock jumped by {3600 * hours:+d} s"), "migrate")


def test_journal_of_another_instance(prove: Prove) -> None:
    trial = prove(MACHINE, "The journal is from another VM: an image of a drained VM", "journal_set_aside_total")
    vm = trial.vm
    handler = trial.make(task("lb")).start()
    handler.until(lambda: handler.journal().get("instance_id"), "the instance's id in the journal")
    vm.announce("terminate")
    handler.until_state("drained")
    handler.kill()
    vm.withdraw("terminate")
    image = handler.state_dir
    clone = trial.make(task("lb"))
    shutil.copytree(image, clone.state_dir)
    vm.set("id", 4242)
    clone.boot("boot-of-the-clone")
    clone.start()
    clone.until_logged("setting it aside")
    assert clone.trace() == []
    vm.announce("migrate")
    clone.until_state("drained")
    vm.withdraw("migrate")
    trial.survived("setting it aside", "migrate")


def test_truncated_journal(prove: Prove) -> None:
    name = "The journal's last entry is cut off, and the handler starts again"
    trial = prove(MACHINE, name, 'steps_total{outcome="ok",phase="restore"}')
    handler = trial.make(task("lb", stage=10), task("db", stage=20)).start()
    trial.vm.announce("terminate")
    handler.until_state("drained")
    handler.kill()
    journal = handler.state_dir / "journal.json"
    written = journal.read_bytes().rstrip()
    # What is lost is that the last step has ended.
    journal.write_bytes(written[:-200])
    handler.start()
    handler.until_state("drained")
    trial.vm.withdraw("terminate")
    trial.survived("resuming incident", "terminate", interrupted=(("drain", "db"),))


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "incid', b"\xff\xfe\x00", None])
def test_unreadable_journal(content: bytes | None, prove: Prove) -> None:
    trial = prove(MACHINE, "The journal cannot be read", "journal_set_aside_total")
    handler = trial.make(task("lb"))
    handler.state_dir.mkdir()
    journal = handler.state_dir / "journal.json"
    if content is None:
        journal.mkdir()
    else:
        journal.write_bytes(content)
    trial.vm.announce("migrate")
    handler.start()
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    trial.survived(r"the journal was moved to .*journal\.json\.unreadable", "migrate")


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(disk: Path) -> None:
    """Leave not a block free."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(b"\0" * free)


@needs_root
def test_full_disk_at_the_start(prove: Prove) -> None:
    trial = prove(MACHINE, "The disk is full when the handler starts", "journal_failures_total")
    handler = trial.make(task("lb"))
    with small_disk(handler.state_dir) as disk:
        fill(disk)
        handler.start()
        trial.vm.announce("migrate")
        handler.until_state("drained")
        assert handler.command("status").returncode == 1
        (disk / "ballast").unlink()
        trial.vm.withdraw("migrate")
        trial.survived("Writing the journal .*No space left", "migrate")
        assert handler.command("status").returncode == 0
        handler.close()


@needs_root
def test_disk_that_fills_up(prove: Prove) -> None:
    trial = prove(MACHINE, "The disk fills up while the handler runs, which is then killed", "incidents_total")
    handler = trial.make(task("lb", stage=10), task("db", stage=20))
    with small_disk(handler.state_dir) as disk:
        handler.start()
        handler.until(lambda: handler.journal().get("instance_id"), "the journal")
        fill(disk)
        trial.vm.announce("migrate")
        handler.until_state("drained")
        trial.vm.withdraw("migrate")
        handler.until_state("idle")
        handler.until_logged("Writing the history")
        before = sorted(handler.trace())
        handler.kill()
        # In the journal it is over, so that nothing is restored again.
        assert handler.journal()["incident"] is None
        handler.start()
        (disk / "ballast").unlink()
        trial.vm.announce("terminate")
        handler.until_state("drained")
        trial.vm.withdraw("terminate")
        trial.survived("Writing the history .*No space left", "terminate")
        assert sorted(handler.trace()) == sorted([*before, *before])
        handler.close()


def test_stalled_disk(prove: Prove) -> None:
    """A disk that stalls for 25 s must not delay the drain."""
    trial = prove(MACHINE, "The journal's disk does not answer, during a whole drain", "journal_failures_total")
    handler = trial.make(task("lb", stage=10), task("db", stage=20), journal_wait=1).start(module="support.stalling")
    handler.until(lambda: handler.journal().get("instance_id"), "the journal")
    stalled = handler.folder / "stalled"
    stalled.touch()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    handler.until_logged("no response from the disk")
    stalled.unlink()
    handler.until_logged("the journal is writable again")
    trial.vm.withdraw("migrate")
    trial.survived("Writing the journal .*no response from the disk for 1 s", "migrate")


def test_unread_log(prove: Prove) -> None:
    """A pipe on stderr that is not read blocked the main loop (patroni/patroni#1331)."""
    trial = prove(MACHINE, "The log is not read, and a task fills it", 'steps_total{outcome="ok",phase="drain"}')
    prints = 'i=0; while [ $i -lt 150 ]; do i=$((i+1)); printf "line $i %0900d\\n" 0; done'
    handler = trial.make(task("lb", stage=10, drain=prints), NEXT)
    log = UnreadLog(handler.folder)
    handler.launch_by(log.launcher)
    handler.start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    handler.until_over()
    assert handler.log() == ""
    log.read()
    handler.until_logged("restore 'lb': ok")
    trial.survived("drain 'lb': line 150 ", "migrate")


@needs_root
def test_read_only_state_directory(prove: Prove) -> None:
    trial = prove(MACHINE, "The state directory is read-only", "journal_failures_total")
    handler = trial.make(task("lb", stage=10), task("db", stage=20))
    with small_disk(handler.state_dir) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        handler.start()
        trial.vm.announce("migrate")
        handler.until_state("drained")
        assert handler.command("status").returncode == 1
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        trial.vm.withdraw("migrate")
        trial.survived("Writing the journal .*Read-only", "migrate")
        handler.close()


@needs_root
def test_disk_without_room_for_a_lock(prove: Prove) -> None:
    trial = prove(MACHINE, "No lock can be created", "lock_failures_total")
    handler = trial.make(task("lb", stage=10), task("db", stage=20))
    with small_disk(handler.folder / "disk") as disk:
        (disk / "a").mkdir()
        (disk / "b").mkdir()
        handler.configure(state_dir=str(disk / "a"), runtime_dir=str(disk / "b"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        handler.start(ready=False)
        handler.until_logged("the metadata server has answered: ready")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        trial.vm.announce("migrate")
        handler.until_state("drained")
        trial.vm.withdraw("migrate")
        trial.survived("Taking a lock: .*The handler runs without a lock", "migrate")
        handler.close()


def test_two_handlers(prove: Prove) -> None:
    trial = prove(MACHINE, "A second handler is started on the same state directory", "healthy")
    handler = trial.make(task("lb")).start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    second = handler.command("run")
    assert second.returncode == 1
    assert second.stderr.count("is locked by another process") == 1
    trial.vm.withdraw("migrate")
    trial.survived(MIGRATE_ON, "migrate")


# Tasks


@pytest.mark.parametrize(
    "name, drain, outcome, line",
    [
        (
            "A task ignores SIGTERM",
            "trap '' TERM; while :; do sleep 600; done",
            "timeout",
            r"drain 'bad': timeout .*timed out",
        ),
        ("A task leaves a process behind", "setsid sleep 600 & echo left", "ok", r"drain 'bad': left"),
        (
            "A task prints a gigabyte",
            "yes 'a line of output' | head -c 1000000000",
            "ok",
            r"drain 'bad': \(more output is not logged\)",
        ),
        (
            "A task closes its output",
            "exec >/dev/null 2>&1 <&-; sleep 0.3; exit 5",
            "failed",
            r"drain 'bad': failed .*exit status 5",
        ),
        (
            "A task needs a terminal",
            "echo 'password?' > /dev/tty && read answer < /dev/tty",
            "failed",
            r"drain 'bad': failed .*/dev/tty",
        ),
    ],
)
def test_misbehaving_task(name: str, drain: str, outcome: str, line: str, prove: Prove) -> None:
    """Others have no deadline, or one for all events."""
    trial = prove(TASKS, name, f'steps_total{{outcome="{outcome}",phase="drain"}}')
    limit = 4 if outcome == "timeout" else 20
    handler = trial.make(task("bad", drain=drain, stage=10, timeout=limit), NEXT).start()
    trial.vm.announce("migrate")
    handler.until(lambda: handler.state() == "drained", "the drain", within=40)
    assert handler.trace() == ["drain bad", "drain next"]
    trial.vm.withdraw("migrate")
    trial.survived(line, "migrate")


def test_missing_program(prove: Prove) -> None:
    trial = prove(TASKS, "A task's program does not exist", 'steps_total{outcome="not started",phase="drain"}')
    handler = trial.make(task("bad", stage=10), NEXT)
    gone = {**task("bad", stage=10), "drain": ["/no/such/program"]}
    handler.configure(tasks=[gone, NEXT])
    handler.start()
    trial.vm.announce("migrate")
    handler.until_state("drained")
    trial.vm.withdraw("migrate")
    handler.until_over()
    # Its drain could not note anything, and it is restored all the same.
    trial.survived(
        r"drain 'bad': not started .*/no/such/program cannot be started", "migrate", interrupted=(("drain", "bad"),)
    )


BESIDE = task("beside", stage=10)
NOT_STARTED = 'steps_total{outcome="not started",phase="drain"}'


def drain_beside(trial: Try, handler: HandlerProcess) -> None:
    """The one that hangs is given up; the one in its stage and the one after it have run."""
    trial.vm.announce("migrate")
    handler.until_state("drained")
    assert handler.trace() == ["drain beside", "drain next"]
    trial.vm.withdraw("migrate")


@needs_root
def test_hanging_user_database(prove: Prove) -> None:
    """A slow user database must not delay tasks of root in the same stage."""
    trial = prove(TASKS, "The user database does not answer for a task's user", NOT_STARTED)
    bad = task("bad", stage=10, timeout=3, restore=None, user="nobody")
    handler = trial.make(bad, BESIDE, NEXT)
    handler.configure(path=path_with_slow_groups(handler.folder))
    handler.start()
    drain_beside(trial, handler)
    trial.survived(r"drain 'bad': not started .*the user 'nobody'", "migrate")


@needs_root
def test_program_on_a_hanging_file_system(prove: Prove) -> None:
    trial = prove(TASKS, "A task's program is on a file system that does not answer", NOT_STARTED)
    handler = trial.make(BESIDE, NEXT)
    with hung_mount(handler.folder / "share") as share:
        bad = {**task("bad", stage=10, timeout=3, restore=None), "drain": [str(share / "program")]}
        handler.configure(tasks=[bad, BESIDE, NEXT])
        handler.start()
        drain_beside(trial, handler)
        trial.survived(r"drain 'bad': not started .*could not be started in time: reading ", "migrate")
        handler.kill()
