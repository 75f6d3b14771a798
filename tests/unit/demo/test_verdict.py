# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems that the demo finds, and its figures."""

from __future__ import annotations

import dataclasses

import pytest

from demo.evidence import Note
from demo.verdict import figures, problems


def test_success_has_no_problems(good):
    assert problems(good) == []


def test_figures_come_from_the_platform_and_the_tasks(good):
    found = figures(good)
    assert found.heard_after == pytest.approx(0.01)
    assert found.drained_after == pytest.approx(7.0)
    assert found.notice_left == pytest.approx(5.0)
    assert found.restored_after == pytest.approx(2.2)


def test_missed_event(spoilt):
    found = problems(spoilt(incidents=[], notes=(), raised_at=None))
    assert "gpu-1: the handler's history has no host termination." in found
    assert "gpu-1: 'Leave' was not drained." in found
    assert figures(spoilt(incidents=[], notes=())).heard_after is None


def test_event_mistaken_for_another(good, spoilt):
    past = [{**good.incidents[0]["past"][0], "event": "migrate"}]
    found = problems(spoilt(incidents=[{**good.incidents[0], "past": past}]))
    assert found == ["gpu-1: the handler noticed migrate instead of one terminate."]


def test_one_event_in_two_incidents(good, spoilt):
    empty = {**good.incidents[0], "past": [], "steps": []}
    assert problems(spoilt(incidents=[good.incidents[0], empty])) == [
        "gpu-1: the handler has 2 incidents for one host termination."
    ]


def test_a_signal_without_an_answer(spoilt):
    assert problems(spoilt(raised_at=None)) == [
        "gpu-1: the emulator's journal has no answer for instance/maintenance-event before the handler noticed it."
    ]


def test_a_vm_that_was_never_stopped(spoilt):
    assert "gpu-1: the platform did not stop the VM, so there was no host termination." in problems(
        spoilt(stopped_at=None)
    )


@pytest.mark.parametrize("phase, done", [("drain", "drained"), ("restore", "restored")])
class TestTask:
    def test_that_was_not_run(self, good, spoilt, phase, done):
        notes = tuple(note for note in good.notes if (note.phase, note.task) != (phase, "Save"))
        assert f"gpu-1: 'Save' was not {done}." in problems(spoilt(notes=notes))

    def test_that_was_run_twice(self, good, spoilt, phase, done):
        notes = (*good.notes, *(note for note in good.notes if (note.phase, note.task) == (phase, "Save")))
        assert f"gpu-1: 'Save' was {done} 2 times." in problems(spoilt(notes=notes))

    def test_that_did_not_complete(self, good, spoilt, phase, done):
        notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != (phase, "Save", "ends"))
        assert problems(spoilt(notes=notes)) == [f"gpu-1: 'Save' was not {done} completely."]

    def test_that_failed(self, good, spoilt, phase, done):
        steps = [
            {**step, "outcome": "failed", "detail": "exit status 1"} if step["phase"] == phase else step
            for step in good.incidents[0]["steps"]
        ]
        assert f"gpu-1: the {phase} of 'Save' ended with: failed (exit status 1)." in problems(spoilt(steps=steps))


def test_a_task_without_a_restore(good, spoilt):
    tasks = (good.tasks[0], dataclasses.replace(good.tasks[1], restores=False))
    steps = [step for step in good.incidents[0]["steps"] if (step["phase"], step["task"]) != ("restore", "Save")]
    notes = tuple(note for note in good.notes if (note.phase, note.task) != ("restore", "Save"))
    assert problems(spoilt(tasks=tasks, steps=steps, notes=notes)) == []


def test_a_task_for_other_events(good, spoilt):
    assert "gpu-1: 'Save' was run, but is not a task for terminate." in problems(spoilt(tasks=good.tasks[:1]))


def test_a_history_that_the_tasks_contradict(good, spoilt):
    assert problems(spoilt(steps=good.incidents[0]["steps"][1:])) == [
        "gpu-1: the handler's history has 3 steps, but the tasks noted 4."
    ]


def test_a_drain_that_ended_after_the_event(spoilt):
    assert problems(spoilt(stopped_at=1006.5)) == ["gpu-1: it was drained 0.5 s after the host termination."]


def test_a_restore_before_the_event_was_over(spoilt):
    assert problems(spoilt(booted_at=1017.0)) == ["gpu-1: its restore began before the host termination was over."]


def test_files_that_were_not_restored(spoilt):
    found = problems(spoilt(after={"service/load-balancer": "out of service", "disk/checkpoint": "at step 1"}))
    assert found == [
        "gpu-1: disk/checkpoint was nothing before and is 'at step 1' now.",
        "gpu-1: service/load-balancer was 'in service' before and is 'out of service' now.",
    ]


def test_processes_that_should_have_ended(spoilt):
    assert problems(spoilt(cut_off=("sleep 9",), left_running=("sleep 10",))) == [
        "gpu-1: still running at the power cut: sleep 9",
        "gpu-1: still running at the end: sleep 10",
    ]


@pytest.mark.parametrize(
    "status, words", [(None, "did not stop"), (-11, "stopped with exit status -11"), (1, "stopped with exit status 1")]
)
def test_handler_with_an_unclean_stop(spoilt, status, words):
    assert problems(spoilt(exit_statuses=(status,))) == [f"gpu-1: the handler {words}."]


def test_a_note_of_an_unknown_task(good, spoilt):
    stray = Note(1001.0, "begins", "drain", "Stray")
    assert "gpu-1: the handler's history has 4 steps, but the tasks noted 5." in problems(
        spoilt(notes=(*good.notes, stray))
    )


def test_a_vm_is_not_drained_while_a_task_has_not_ended(good, spoilt):
    notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != ("drain", "Save", "ends"))
    found = figures(spoilt(notes=notes))
    assert (found.drained_after, found.notice_left) == (None, None)


def test_a_vm_is_not_restored_while_it_is_not_as_before(spoilt):
    assert figures(spoilt(after={})).restored_after is None


def test_a_failed_task_is_reported_once(good, spoilt):
    notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != ("drain", "Save", "ends"))
    steps = [dict(step) for step in good.incidents[0]["steps"]]
    steps[1] |= {"outcome": "timeout", "detail": ""}
    assert problems(spoilt(notes=notes, steps=steps)) == ["gpu-1: the drain of 'Save' ended with: timeout."]


def test_requests_that_are_lost_in_spite_of_the_handler(spoilt):
    assert problems(spoilt(lost_with=2, lost_without=5)) == ["gpu-1: 2 requests were lost in spite of the handler."]
    assert problems(spoilt(lost_without=5)) == []
