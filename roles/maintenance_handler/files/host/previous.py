# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the previous version until the new one works. `python3 -I -c previous.py save|restore|drop`.

In (JSON on standard input): `kept`, the directory to keep it in, and `paths`, the files and directories by name.
Only root can read the directory, because it may contain secrets.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any


def main(action: str, wanted: dict[str, Any]) -> None:
    kept = Path(wanted["kept"])
    paths = {name: Path(path) for name, path in wanted["paths"].items()}
    {"save": save, "restore": restore, "drop": drop}[action](kept, paths)


def save(kept: Path, paths: dict[str, Path]) -> None:
    """Do nothing if a version is kept already: the current one has never been seen to work."""
    if kept.exists():
        return
    unfinished = kept.with_name(f"{kept.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished.mkdir(mode=0o700)
    for name, path in paths.items():
        if path.exists():
            _copy(path, unfinished / name)
    unfinished.rename(kept)


def restore(kept: Path, paths: dict[str, Path]) -> None:
    """Print the names of what differs, and is therefore restored, as JSON."""
    changed = [name for name, path in paths.items() if _contents(kept / name) != _contents(path)]
    for name in changed:
        path = paths[name]
        new = path.with_name(f".{path.name}.previous")
        _remove(new)
        if not (kept / name).exists():
            _remove(path)
        elif path.is_dir():
            _copy(kept / name, new)
            # A directory cannot be replaced atomically. A handler that is started in between fails, and starts again.
            old = path.with_name(f".{path.name}.replaced")
            _remove(old)
            path.rename(old)
            new.rename(path)
            _remove(old)
        else:
            _copy(kept / name, new)
            new.replace(path)
    print(json.dumps(changed))


def drop(kept: Path, _paths: dict[str, Path]) -> None:
    _remove(kept)


def _contents(path: Path) -> dict[str, bytes] | None:
    """The files at or below a path, without compiled code. None if there is nothing."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]
        return {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {"": path.read_bytes()} if path.exists() else None


def _copy(source: Path, destination: Path) -> None:
    """Copy with owners and modes."""
    if source.is_dir():
        shutil.copytree(source, destination, symlinks=True, copy_function=_copy_file)
    else:
        _copy_file(str(source), str(destination))


def _copy_file(source: str, destination: str) -> None:
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, open(source, "rb") as original:
        shutil.copyfileobj(original, file)
    status = os.stat(source)
    os.chown(destination, status.st_uid, status.st_gid)
    shutil.copystat(source, destination)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
