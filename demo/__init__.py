# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: three VMs hear of a live migration, a host termination and a preemption, drain, and come back."""
