# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo of day2.ops: a sample application is backed up, proven, damaged, restored and compared.

Everything here needs the standard library of Python 3.11 only, and nothing of the collection: what
the demo shows must not be measured with the collection's own tools.
"""
