# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: three VMs drain for a live migration, a host termination and a preemption, and are restored."""
