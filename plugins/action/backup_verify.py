# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a verification so that its progress is seen, and so that it goes on when the connection breaks."""

from __future__ import annotations

from ansible_collections.day2.ops.plugins.plugin_utils.followed import FollowedAction


class ActionModule(FollowedAction):
    """The module does the work."""
