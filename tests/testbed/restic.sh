#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A current restic beside Debian 12's 0.14.0, for the main paths: .venv/restic-new/usr/bin/restic
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

RESTIC=$ENVIRONMENT/restic-new/usr/bin/restic
[ -x "$RESTIC" ] || deb_unpack trixie restic "$ENVIRONMENT/restic-new"
say "$("$RESTIC" version)"
