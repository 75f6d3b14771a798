# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from maintenance_handler.io.files import read_own, sweep, write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    write_whole(path, b"one", durable=durable)
    write_whole(path, b"two", durable=durable)
    assert path.read_bytes() == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, mode: int) -> None:
    umask = os.umask(0o077)
    try:
        write_whole(tmp_path / "file", b"", mode=mode)
    finally:
        os.umask(umask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_open_old_file_stays_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with path.open("rb") as reader:
        write_whole(path, b"new and longer")
        assert reader.read() == b"old"


def test_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_names_are_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    replace = os.replace

    def noting(source: str, *arguments: Any, **directories: Any) -> None:
        names.append(source)
        replace(source, *arguments, **directories)

    monkeypatch.setattr(os, "replace", noting)
    for _unused in range(20):
        write_whole(tmp_path / "file", b"x")
    assert len(set(names)) == 20


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(victim)
    write_whole(tmp_path / "file", b"new", mode=0o644)
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("left", ["a file", "a link"])
def test_temporary_files_of_a_crash_are_deleted(tmp_path: Path, left: str) -> None:
    half, others = tmp_path / ".file.0123abcd.new", [tmp_path / ".file.new", tmp_path / ".files.0123abcd.new"]
    for other in others:
        other.write_bytes(b"not ours")
    if left == "a file":
        half.write_bytes(b"half")
    else:
        half.symlink_to(others[0])
    sweep(tmp_path / "file")
    assert sorted(tmp_path.iterdir()) == sorted(others if left == "a file" else [*others, half])
    sweep(tmp_path / "no such directory" / "file")


class TestReadOwn:
    def test_reads_own_files(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"data")
        assert read_own(tmp_path / "file") == b"data"

    def test_does_not_follow_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"secret")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        with pytest.raises(OSError, match="symbolic links"):
            read_own(tmp_path / "link")

    def test_does_not_block_on_a_pipe_without_a_writer(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="is not a regular file"):
            read_own(tmp_path / "pipe")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a file of another user")
    def test_rejects_a_file_of_another_user(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"a trap")
        os.chown(tmp_path / "file", 12345, 12345)
        with pytest.raises(OSError, match="belongs to user 12345, neither to root nor to the handler's user"):
            read_own(tmp_path / "file")
