#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the collection and import it as Automation Hub does.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tests/tools/environment.sh" importer
export PATH=$root/.venv/importer/bin:$PATH
work=$root/.venv/import
rm -rf "$work"
tree=$("$root/tests/tools/tree.sh" "$work")
ansible-galaxy collection build --force --output-path "$work" "$tree"
cd "$work"
python -m galaxy_importer.main "$work"/day2-ops-*.tar.gz
