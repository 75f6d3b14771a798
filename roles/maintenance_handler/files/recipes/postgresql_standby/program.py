# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL with plain streaming replication: a switchover by commands of the user, each of which is verified.

https://www.postgresql.org/docs/current/warm-standby-failover.html
"""

from __future__ import annotations

import shutil

from recipes import pgbouncer
from recipes.commands import Failed, execute
from recipes.postgresql_standby.server import DOWN, PRIMARY, SILENT, STANDBY, STARTING, ControlFile, Server
from recipes.run import Refusal, Run, Unfinished

_EVERY = 0.5
# Seconds that a server has to start by itself after the boot, at most, and as a part of the time.
_STARTS = 10.0
_STARTS_SHARE = 0.25
# The part of the time for starting this server again if the peer does not become the primary.
_UNDO_SHARE = 0.25
# In the record: the control file of this server, and the progress of promote and leave.
_HANDOVER = "handover"
_PROMOTING = "promoting"
_LEFT = "left"
_BEGUN, _DONE = "begun", "done"


def check(run: Run) -> None:
    own, peer = _own(run), _peer(run)
    for name in ("promote", "demote", "start", "rejoin", "leave", "enter"):
        if run[name] and shutil.which(run[name][0]) is None:
            raise Refusal(f"the program {run[name][0]!r} of '{name}' does not exist, or is not executable")
    if run["demote"] and not run["start"]:
        raise Refusal("demote needs start, which starts this server again if promote fails")
    role = own.role()
    if role not in (PRIMARY, STANDBY):
        raise Refusal(f"this VM's PostgreSQL is {role}")
    if role == PRIMARY:
        _refuse_unfit(own, peer)
    if run["demote"]:
        ControlFile.of(own, run["bin_dir"]).check()
    pgbouncer.check(run)
    run.say(f"this VM's PostgreSQL is {role}, the peer is {peer.role()}")


def drain(run: Run) -> None:
    role = _own(run).role()
    if role == PRIMARY or _HANDOVER in run.record:
        _hand_over(run)
    else:
        # An interrupted run may have left them paused.
        pgbouncer.resume_all(run)
        if role == STANDBY:
            _leave(run)
        else:
            run.say(f"this VM's PostgreSQL is {role}: nothing to do")


def restore(run: Run) -> None:
    if not run.record.keys():
        run.say("nothing to restore: this recipe has changed nothing")
        return
    # First of all, so that clients do not wait.
    pgbouncer.resume_all(run)
    if _HANDOVER in run.record:
        _come_back(run)
        run.record.forget(_PROMOTING)
        run.record.forget(_HANDOVER)
    if _LEFT in run.record:
        run.wait_until(lambda: _not_streaming(run), every=_EVERY)
        if run["enter"]:
            execute("enter", run)
        run.record.forget(_LEFT)
    run.say(f"this VM's PostgreSQL is {_own(run).role()}")


def state(run: Run) -> None:
    ours = ", handed over by this recipe" if _HANDOVER in run.record else ""
    ours += ", out of service by this recipe" if _LEFT in run.record else ""
    run.say(f"this VM's PostgreSQL is {_own(run).role()}, the peer is {_peer(run).role()}{ours}")


def _own(run: Run) -> Server:
    return Server(run["connection"], run)


def _peer(run: Run) -> Server:
    return Server(run["peer"], run)


def _refuse_unfit(own: Server, peer: Server) -> None:
    """Raises `Refusal` if the peer is not a standby that could take over from this primary."""
    role = peer.role()
    if role != STANDBY:
        raise Refusal(f"this VM's PostgreSQL is the primary, and its peer is {role}: it cannot take over")
    if own.system() != peer.system():
        raise Refusal("the peer belongs to another cluster: its system identifier differs")
    if not peer.streams():
        raise Refusal("the peer does not receive WAL (pg_stat_wal_receiver): it cannot take over")


def _hand_over(run: Run) -> None:
    own, peer = _own(run), _peer(run)
    if peer.role() != PRIMARY:
        if own.role() == PRIMARY:
            _refuse_unfit(own, peer)
            # Before clients have to wait.
            position = own.position()
            run.wait_until(lambda: _lag(run, peer, position), every=_EVERY)
        with pgbouncer.paused(run):
            _switch_over(own, peer, run)
    pgbouncer.resume_all(run)
    run.wait_until(lambda: _not_handed_over(own, peer), every=_EVERY)
    run.say("the peer is the primary, and this server is not")


def _switch_over(own: Server, peer: Server, run: Run) -> None:
    run.record.forget(_PROMOTING)
    if _HANDOVER not in run.record:
        control = ControlFile.of(own, run["bin_dir"]) if run["demote"] else None
        run.record.note(_HANDOVER, control and [control.program, control.data_directory])
    try:
        with run.keeping(_UNDO_SHARE * run.left() if run["start"] else 0):
            if run["demote"]:
                _demote(own, peer, run)
            _promote(run)
            run.wait_until(lambda: _not_taken_over(own, peer, run), every=_EVERY)
    except Refusal as exc:
        # promote may have failed after it had done its work.
        if _role_if_known(peer) != PRIMARY:
            reason = "; ".join(filter(None, [str(exc), _undo(own, peer, run)]))
            raise Refusal(f"the peer has not become the primary: {reason}") from None
        run.wait_until(lambda: _not_taken_over(own, peer, run), every=_EVERY)


def _demote(own: Server, peer: Server, run: Run) -> None:
    """Stop this server, and wait until the peer has all of its transactions."""
    control = ControlFile(*run.record.get(_HANDOVER))
    if own.role() == PRIMARY:
        execute("demote", run, ", and this server may be stopped")
        run.wait_until(lambda: _still(own, PRIMARY, STARTING, SILENT), every=_EVERY)
    runs = own.role() == STANDBY
    position = own.position() if runs else control.shutdown_position()
    # The rest of the time is for promote.
    over_at = run.clock() + run.left() / 2
    # The position of a shutdown is the beginning of its last record.
    run.wait_until(lambda: _lag_until(over_at, run, peer, position, beyond=not runs), every=_EVERY)
    if not runs and not control.becomes_standby():
        run.say("this server would start as a primary after the boot: let demote create standby.signal")


def _promote(run: Run) -> None:
    run.record.note(_PROMOTING, _BEGUN)
    try:
        execute("promote", run, ", and this server is stopped" if run["demote"] else "")
    except Refusal as exc:
        if not (isinstance(exc, Failed) and exc.status is None):
            run.record.note(_PROMOTING, _DONE)
        raise
    run.record.note(_PROMOTING, _DONE)


def _role_if_known(server: Server) -> str:
    try:
        return server.role()
    except Refusal:
        return ""


def _undo(own: Server, peer: Server, run: Run) -> str:
    """Start this server as the primary again, unless the peer may be one or become one.

    Returns what is left to do for a person, "" if nothing.
    """
    role = _role_if_known(own)
    if role == PRIMARY:
        return ""
    if not run["start"]:
        return f"this VM's PostgreSQL is {role or SILENT}"
    promoting = run.record.get(_PROMOTING)
    if promoting == _BEGUN or (promoting and _role_if_known(peer) != STANDBY):
        return "the peer may still be promoted: if it is not, run start by hand"
    try:
        execute("start", run)
        run.wait_until(lambda: _still(own, DOWN, STARTING, SILENT, STANDBY), every=_EVERY)
    except (Refusal, Unfinished) as exc:
        return f"this server is down or not a primary, run start by hand: {exc}"
    run.say("this server is the primary again")
    return ""


def _lag_until(over_at: float, run: Run, peer: Server, position: str, *, beyond: bool) -> str:
    problem = _lag(run, peer, position, beyond=beyond)
    if problem and run.clock() > over_at:
        raise Refusal(problem)
    return problem


def _lag(run: Run, peer: Server, position: str, *, beyond: bool = False) -> str:
    try:
        missing = peer.missing(position)
    except Failed as exc:
        # A slow or restarting peer is no reason to give up before the time is over.
        if run.left() > 0:
            return str(exc)
        raise
    return f"the peer has {missing} bytes of WAL to replay" if missing > 0 or (beyond and missing == 0) else ""


def _still(server: Server, *roles: str) -> str:
    role = server.role()
    return f"this VM's PostgreSQL is {role}" if role in roles else ""


def _not_taken_over(own: Server, peer: Server, run: Run) -> str:
    if run["primary"]:
        try:
            pgbouncer.leads_to_a_primary(run)
        except Refusal as exc:
            return str(exc)
    return _not_handed_over(own, peer)


def _not_handed_over(own: Server, peer: Server) -> str:
    role = peer.role()
    if role != PRIMARY:
        return f"the peer is {role}"
    return _two_primaries(own, peer) or _still(own, SILENT, STARTING)


def _two_primaries(own: Server, peer: Server) -> str:
    if own.role() == PRIMARY and peer.role() == PRIMARY:
        return "this VM's PostgreSQL and its peer are both primaries: stop one of them"
    return ""


def _leave(run: Run) -> None:
    """Take a standby out of service by the user's command."""
    peer = _peer(run)
    if peer.role() == PRIMARY:
        names, count = peer.synchronous_standbys()
        if names and count <= 1:
            run.say(f"without this standby, commits may wait: the primary has synchronous_standby_names = {names}")
    if run["leave"] and run.record.get(_LEFT) != _DONE:
        run.record.note(_LEFT, _BEGUN)
        execute("leave", run)
        run.record.note(_LEFT, _DONE)
    run.say("this VM's PostgreSQL is a standby")


def _come_back(run: Run) -> None:
    """Have this server follow the peer, or be the primary again if the peer has not taken over."""
    own, peer = _own(run), _peer(run)
    # Until it is known who is the primary, this server must not be started.
    run.wait_until(lambda: "" if (role := peer.role()) in (PRIMARY, STANDBY) else f"the peer is {role}", every=_EVERY)
    # systemd may be about to start it.
    over_at = run.clock() + min(_STARTS, _STARTS_SHARE * run.left())
    run.wait_until(lambda: _still(own, DOWN, STARTING) if run.clock() < over_at else "", every=_EVERY)
    wanted, name = (STANDBY, "rejoin") if peer.role() == PRIMARY else (PRIMARY, "start")
    if run[name] and own.role() not in (wanted, SILENT):
        execute(name, run)
    if wanted == STANDBY:
        run.wait_until(lambda: _two_primaries(own, peer) or _not_streaming(run), every=_EVERY)
    else:
        run.wait_until(lambda: _still(own, DOWN, STARTING, SILENT, STANDBY), every=_EVERY)


def _not_streaming(run: Run) -> str:
    own = _own(run)
    role = own.role()
    if role != STANDBY:
        return f"this VM's PostgreSQL is {role}"
    try:
        return "" if own.streams() else "this VM's PostgreSQL does not receive WAL yet"
    except Failed as exc:
        if run.left() > 0:
            return str(exc)
        raise
