# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load: clients that count. Runs in a container of its own, with Debian's Python and psycopg2."""
