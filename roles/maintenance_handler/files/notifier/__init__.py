# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notifier: sends the notices that the handler has queued, in a process of its own, and ends when all are sent.

It needs only Python 3.9's standard library. The handler does not import it: `ssl`, `http.client` and `smtplib` would
stay in its memory.
"""
