# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
# /// script
# dependencies = ["nox>=2025.2.9", "antsibull-nox>=1"]
# ///
"""Sessions of nox. Those of antsibull-nox are configured in antsibull-nox.toml; the others run make."""

from __future__ import annotations

import antsibull_nox
import nox

antsibull_nox.load_antsibull_nox_toml()


def _make(session: nox.Session, target: str) -> None:
    session.run("make", target, external=True)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Run all static checks."""
    _make(session, "lint")


@nox.session(venv_backend="none")
def units(session: nox.Session) -> None:
    """Run the unit tests."""
    _make(session, "unit")


@nox.session(venv_backend="none")
def integration(session: nox.Session) -> None:
    """Run the integration tests against an emulated fleet."""
    _make(session, "integration")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation."""
    _make(session, "docs")


if __name__ == "__main__":
    nox.main()
