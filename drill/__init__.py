# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make zero-loss`: real services under load, on VMs that the emulator maintains, with and without the handler."""
