# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: each directory drains one kind of software before maintenance, and restores it afterwards.

Each runs as a process of its own, beside the handler. Python 3.9's standard library is all that they need.
"""
