# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests to services, with TLS and with credentials from files.

For programs that run as processes of their own, beside the handler. They need only Python 3.9's standard library.
"""
