# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's verdict: nothing that goes wrong passes for well."""

from __future__ import annotations

import dataclasses

import pytest

from demo.evidence import Note
from demo.verdict import figures, problems


def test_what_went_well_has_no_problem(good):
    assert problems(good) == []


def test_figures_are_taken_from_the_platform_and_the_tasks_themselves(good):
    found = figures(good)
    assert found.heard_after == pytest.approx(0.01)
    assert found.drained_after == pytest.approx(7.0)
    assert found.notice_left == pytest.approx(5.0)
    assert found.restored_after == pytest.approx(2.2)


def test_an_event_that_was_not_heard(spoilt):
    found = problems(spoilt(incidents=[], notes=(), raised_at=None))
    assert "gpu-1: its handler's history has no host termination that is over." in found
    assert "gpu-1: 'Leave' was not drained." in found
    assert figures(spoilt(incidents=[], notes=())).heard_after is None


def test_an_event_that_was_taken_for_another(good, spoilt):
    past = [{**good.incidents[0]["past"][0], "event": "migrate"}]
    found = problems(spoilt(incidents=[{**good.incidents[0], "past": past}]))
    assert found == ["gpu-1: its handler heard of migrate where there was one terminate."]


def test_one_event_in_two_incidents(good, spoilt):
    empty = {**good.incidents[0], "past": [], "steps": []}
    assert problems(spoilt(incidents=[good.incidents[0], empty])) == [
        "gpu-1: its handler made 2 incidents of one host termination."
    ]


def test_a_platform_that_did_not_answer(spoilt):
    assert problems(spoilt(raised_at=None)) == [
        "gpu-1: the emulator's journal has no answer about instance/maintenance-event before the handler heard of it."
    ]


def test_a_vm_that_was_never_stopped(spoilt):
    assert "gpu-1: the platform never stopped it, so the host termination was not shown." in problems(
        spoilt(stopped_at=None)
    )


@pytest.mark.parametrize("phase, done", [("drain", "drained"), ("restore", "restored")])
class TestATask:
    def test_that_was_not_run(self, good, spoilt, phase, done):
        notes = tuple(note for note in good.notes if (note.phase, note.task) != (phase, "Save"))
        assert f"gpu-1: 'Save' was not {done}." in problems(spoilt(notes=notes))

    def test_that_was_run_twice(self, good, spoilt, phase, done):
        notes = (*good.notes, *(note for note in good.notes if (note.phase, note.task) == (phase, "Save")))
        assert f"gpu-1: 'Save' was {done} 2 times." in problems(spoilt(notes=notes))

    def test_that_did_not_get_to_its_end(self, good, spoilt, phase, done):
        notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != (phase, "Save", "ends"))
        assert problems(spoilt(notes=notes)) == [f"gpu-1: 'Save' was not {done} to its end."]

    def test_that_failed(self, good, spoilt, phase, done):
        steps = [
            {**step, "outcome": "failed", "detail": "exit status 1"} if step["phase"] == phase else step
            for step in good.incidents[0]["steps"]
        ]
        assert f"gpu-1: the {phase} of 'Save' ended with: failed (exit status 1)." in problems(spoilt(steps=steps))


def test_a_task_without_a_restore_is_not_missed(good, spoilt):
    tasks = (good.tasks[0], dataclasses.replace(good.tasks[1], restores=False))
    steps = [step for step in good.incidents[0]["steps"] if (step["phase"], step["task"]) != ("restore", "Save")]
    notes = tuple(note for note in good.notes if (note.phase, note.task) != ("restore", "Save"))
    assert problems(spoilt(tasks=tasks, steps=steps, notes=notes)) == []


def test_a_task_that_is_for_other_events(good, spoilt):
    assert "gpu-1: 'Save' was run, and is not for a terminate." in problems(spoilt(tasks=good.tasks[:1]))


def test_a_history_that_the_tasks_contradict(good, spoilt):
    assert problems(spoilt(steps=good.incidents[0]["steps"][1:])) == [
        "gpu-1: its handler's history has 3 steps, and the tasks noted 4: they disagree."
    ]


def test_a_drain_that_ended_after_the_event(spoilt):
    assert problems(spoilt(stopped_at=1006.5)) == ["gpu-1: it was drained 0.5 s too late for the host termination."]


def test_a_restore_before_the_event_was_over(spoilt):
    assert problems(spoilt(booted_at=1017.0)) == ["gpu-1: it was being restored before the host termination was over."]


def test_files_that_are_not_as_before(spoilt):
    found = problems(spoilt(after={"service/load-balancer": "out of service", "disk/checkpoint": "at step 1"}))
    assert found == [
        "gpu-1: disk/checkpoint said nothing before, and says 'at step 1' now.",
        "gpu-1: service/load-balancer said 'in service' before, and says 'out of service' now.",
    ]


def test_processes_that_should_have_ended(spoilt):
    assert problems(spoilt(cut_off=("sleep 9",), left_running=("sleep 10",))) == [
        "gpu-1: when it lost its power, this was still running: sleep 9",
        "gpu-1: at the end, this was still running: sleep 10",
    ]


@pytest.mark.parametrize(
    "status, words", [(None, "did not"), (-11, "ended with exit status -11"), (1, "ended with exit status 1")]
)
def test_a_handler_that_did_not_stop_well(spoilt, status, words):
    assert problems(spoilt(exit_statuses=(status,))) == [f"gpu-1: the handler, asked to stop, {words}."]


def test_a_note_of_a_task_that_nobody_knows(good, spoilt):
    stray = Note(1001.0, "begins", "drain", "Stray")
    assert "gpu-1: its handler's history has 4 steps, and the tasks noted 5: they disagree." in problems(
        spoilt(notes=(*good.notes, stray))
    )


def test_a_vm_is_not_drained_while_a_task_has_not_ended(good, spoilt):
    notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != ("drain", "Save", "ends"))
    found = figures(spoilt(notes=notes))
    assert (found.drained_after, found.notice_left) == (None, None)


def test_a_vm_is_not_restored_while_it_is_not_as_before(spoilt):
    assert figures(spoilt(after={})).restored_after is None


def test_a_failed_task_is_told_once(good, spoilt):
    notes = tuple(note for note in good.notes if (note.phase, note.task, note.what) != ("drain", "Save", "ends"))
    steps = [dict(step) for step in good.incidents[0]["steps"]]
    steps[1] |= {"outcome": "timeout", "detail": ""}
    assert problems(spoilt(notes=notes, steps=steps)) == ["gpu-1: the drain of 'Save' ended with: timeout."]
