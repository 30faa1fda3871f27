#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the collection as it is released. usage: artifact.sh DIRECTORY      (prints the artifact's path)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rm -rf "$1"
tree=$("$root/tests/tools/tree.sh" "$1/tree")
"$root/tests/tools/within" dev ansible-galaxy collection build --force --output-path "$1" "$tree" >&2
echo "$1"/day2-ops-*.tar.gz
