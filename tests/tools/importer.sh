#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the collection and import it, as strictly as Automation Hub does.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/tests/tools/environment.sh" importer
work=$root/.venv/import
artifact=$("$root/tests/tools/artifact.sh" "$work")
export PATH=$root/.venv/importer/bin:$PATH
export GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER=true
cd "$work"
python -m galaxy_importer.main "$artifact"
