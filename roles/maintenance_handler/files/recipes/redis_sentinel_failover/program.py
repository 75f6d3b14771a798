# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis with Sentinel. Writes are paused until a replica has all of them, so that no acknowledged one is lost.

https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from client.errors import Unreachable
from recipes.run import Refusal, Run
from recipes.sockets import connected

_TIMEOUT = 3.0
# The maximum seconds for which writes are paused, in case this process is killed.
_PAUSE = 15.0
_NEVER = "0"
# In the record: the Redis that Sentinel was asked to fail over from, and its address.
_FAILOVER = "failover"
_FORMER = "former master"
_PRIORITY = "replica-priority"


class Answered(Refusal):
    """An error reply of Redis, such as NOGOODSLAVE."""


class Connection:
    """A connection to Redis or to a Sentinel (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

    def __init__(self, address: str, password_file: str | None, timeout: float) -> None:
        self.address = address
        self._socket = connected(address, timeout)
        self._file = self._socket.makefile("rb")
        if password_file is not None:
            try:
                words = Path(password_file).read_text(encoding="utf-8").split()
            except OSError as exc:
                raise Refusal(f"{password_file} cannot be read: {exc.strerror}") from None
            self("AUTH", *words)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __call__(self, *words: str) -> Any:
        """Send a command. Raises `Answered` for an error reply, `Unreachable` without a reply."""
        data = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        try:
            self._socket.sendall(b"*%d\r\n%s" % (len(words), data))
            return self._reply(words[0])
        except (OSError, ValueError) as exc:
            raise Unreachable(f"{self.address} does not answer {words[0]}: {exc or 'no answer in time'}") from None

    def info(self, section: str) -> dict[str, str]:
        lines = str(self("INFO", section)).splitlines()
        return dict(line.partition(":")[::2] for line in lines if ":" in line)

    def _reply(self, command: str) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ValueError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            raise Answered(f"{self.address} answers {command}: {rest}")
        if kind == b"$":
            return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
        if kind == b"*":
            return [self._reply(command) for _each in range(int(rest))]
        return int(rest) if kind == b":" else rest


class View(NamedTuple):
    """What a Sentinel knows of the master."""

    sentinel: str
    host: str
    port: str
    # Empty for some seconds after a failover.
    run_id: str
    fails_over: bool
    # In TILT mode, it does nothing for 30 s: it was frozen for over 2 s, as by a live migration, or its clock jumped.
    # https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/#tilt-mode
    tilted: bool

    @property
    def address(self) -> list[str]:
        return [self.host, self.port]


def check(run: Run) -> None:
    with _redis(run) as redis:
        role = redis("ROLE")[0]
        if not redis("CONFIG", "GET", _PRIORITY):
            raise Refusal(f"{redis.address} does not know {_PRIORITY}: Redis 5 or newer is needed")
        _refuse_another_cluster(redis, run)
        if role == "master":
            _pause(redis, 1)
            redis("CLIENT", "UNPAUSE")
    for address in run["sentinels"]:
        with _sentinel(address, run) as sentinel:
            _view(sentinel, run)
            run.say(f"{address} watches {run['master']}")
    run.say(f"this VM's Redis is {role}")


def drain(run: Run) -> None:
    with _redis(run) as redis:
        if run["redis"] not in run.record:
            before = redis("CONFIG", "GET", _PRIORITY)[1]
            if before != _NEVER:
                run.record.note(run["redis"], before)
                # Sentinel promotes no replica with this priority.
                redis("CONFIG", "SET", _PRIORITY, _NEVER)
        if redis("ROLE")[0] != "master":
            _forget_failover(run)
            run.say("this VM's Redis is a replica, and will not be promoted")
            return
        _refuse_another_cluster(redis, run)
    run.wait_until(lambda: _still_master(run))
    run.say(f"another Redis is the master {run['master']}, and this one replicates it")


def restore(run: Run) -> None:
    before = run.record.get(run["redis"])
    if before is None:
        run.say("nothing to restore: this recipe has changed nothing")
        return
    run.wait_until(lambda: _still_out(before, run))
    run.record.forget(run["redis"])
    run.say("this VM's Redis may be promoted again")


def state(run: Run) -> None:
    with _redis(run) as redis:
        priority = redis("CONFIG", "GET", _PRIORITY)[1]
        ours = ", set by this recipe" if run["redis"] in run.record else ""
        run.say(f"this VM's Redis is {redis('ROLE')[0]}, with {_PRIORITY} {priority}{ours}")


@contextmanager
def _redis(run: Run) -> Iterator[Connection]:
    connection = Connection(run["redis"], run["password_file"], run.bounded(_TIMEOUT))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _sentinel(address: str, run: Run) -> Iterator[Connection]:
    connection = Connection(address, run["sentinel_password_file"], run.bounded(_TIMEOUT))
    try:
        yield connection
    finally:
        connection.close()


def _view(sentinel: Connection, run: Run) -> View:
    fields = sentinel("SENTINEL", "MASTER", run["master"])
    known = dict(zip(fields[::2], fields[1::2]))
    return View(
        sentinel.address,
        known["ip"],
        known["port"],
        known["runid"],
        "failover_in_progress" in known["flags"],
        sentinel.info("sentinel").get("sentinel_tilt") == "1",
    )


def _views(run: Run) -> list[View]:
    """The views of the Sentinels that answer. Raises `Unreachable` if none does."""
    found = [_view_or_error(address, run) for address in run["sentinels"]]
    views = [one for one in found if isinstance(one, View)]
    if not views:
        raise next(one for one in found if isinstance(one, Unreachable))
    return views


def _view_or_error(address: str, run: Run) -> View | Unreachable:
    try:
        with _sentinel(address, run) as sentinel:
            return _view(sentinel, run)
    except Unreachable as exc:
        return exc


def _run_id(redis: Connection) -> str:
    return redis.info("server")["run_id"]


def _refuse_another_cluster(redis: Connection, run: Run) -> None:
    """Raises `Refusal` if this Redis is a master, and the Sentinels have another one that we have not made it."""
    if redis("ROLE")[0] != "master" or run.record.get(_FAILOVER) == _run_id(redis):
        return
    view = _views(run)[0]
    if view.run_id not in ("", _run_id(redis)):
        raise Refusal(
            f"this VM's Redis is a master, but {view.sentinel} considers {view.host}:{view.port} "
            f"the master {run['master']}"
        )


def _still_master(run: Run) -> str:
    """Have Sentinel fail over, unless it does. Returns who still considers this Redis the master."""
    with _redis(run) as redis:
        own = _run_id(redis)
        views = _views(run)
        if redis("ROLE")[0] == "master":
            return _fail_over(redis, own, views, run) or "this VM's Redis is still the master"
        for view in views:
            if not _has_switched(view, own, run):
                return f"{view.sentinel} still considers this VM's Redis the master"
    _forget_failover(run)
    return ""


def _fail_over(redis: Connection, own: str, views: list[View], run: Run) -> str:
    """Returns why no Sentinel can fail over at present, "" otherwise."""
    for view in views:
        if _has_switched(view, own, run):
            # Sentinel would have it follow, too, after 8 to 18 seconds.
            _follow(redis, view.host, view.port)
            return ""
    able = [view for view in views if not view.tilted]
    if not able:
        redis("CLIENT", "UNPAUSE")
        return f"{', '.join(view.sentinel for view in views)} is in TILT mode, and does not fail over for up to 30 s"
    # While it is a master, it would accept writes that are not replicated. Repeated, so that the pause does not expire.
    _pause(redis, _PAUSE)
    if not any(view.fails_over for view in able) and _some_replica_has_all(redis):
        run.record.note(_FAILOVER, own)
        run.record.note(_FORMER, able[0].address)
        _ask_for_failover(redis, able[0].sentinel, run)
    return ""


def _has_switched(view: View, own: str, run: Run) -> bool:
    # Sentinel learns the new master's run ID up to 10 s after it has switched, while clients wait.
    return view.run_id not in ("", own) or run.record.get(_FORMER) not in (None, view.address)


def _forget_failover(run: Run) -> None:
    run.record.forget(_FAILOVER)
    run.record.forget(_FORMER)


def _ask_for_failover(redis: Connection, address: str, run: Run) -> None:
    try:
        with _sentinel(address, run) as sentinel:
            sentinel("SENTINEL", "FAILOVER", run["master"])
    except Answered as exc:
        if "INPROG" not in str(exc):
            redis("CLIENT", "UNPAUSE")
            raise Refusal(f"Sentinel does not fail over: {exc}") from None


def _follow(redis: Connection, host: str, port: str) -> None:
    """Become a replica like by Sentinel: clients are disconnected, and query Sentinel for the master."""
    redis("MULTI")
    redis("REPLICAOF", host, port)
    redis("CLIENT", "KILL", "TYPE", "normal")
    redis("CLIENT", "UNPAUSE")
    redis("EXEC")
    _rewrite(redis)


def _rewrite(redis: Connection) -> None:
    with suppress(Answered):
        # It may have no configuration file.
        redis("CONFIG", "REWRITE")


def _pause(redis: Connection, seconds: float) -> None:
    try:
        redis("CLIENT", "PAUSE", str(int(seconds * 1000)), "WRITE")
    except Answered as exc:
        raise Refusal(f"writes cannot be paused, which takes Redis 6.2 or newer: {exc}") from None


def _some_replica_has_all(redis: Connection) -> bool:
    """Whether an online replica has acknowledged all writes."""
    info = redis.info("replication")
    replicas = [
        dict(one.partition("=")[::2] for one in text.split(",")) for key, text in info.items() if _is_replica(key)
    ]
    if not replicas:
        redis("CLIENT", "UNPAUSE")
        raise Refusal("this VM's Redis is the master and has no replica to take over")
    return any(one["state"] == "online" and int(one["offset"]) >= int(info["master_repl_offset"]) for one in replicas)


def _is_replica(key: str) -> bool:
    return key.startswith("slave") and key[5:].isdecimal()


def _still_out(before: str, run: Run) -> str:
    try:
        with _redis(run) as redis:
            if redis("ROLE")[0] == "slave":
                info = redis.info("replication")
                if info["master_link_status"] != "up":
                    return f"this VM's Redis is not in sync with its master {info['master_host']}:{info['master_port']}"
            if redis("CONFIG", "GET", _PRIORITY)[1] == _NEVER:
                redis("CONFIG", "SET", _PRIORITY, before)
                # Sentinel rewrites the file of a Redis that it has follow another, and so did we.
                _rewrite(redis)
    except Unreachable as exc:
        return run.unanswered(str(exc))
    return ""
