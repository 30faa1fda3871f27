#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A copy of the collection as it would be released, under ansible_collections/day2/ops of DIRECTORY: what git
# knows or would add, changes included. ansible-test and the builders refuse links and stumble over .venv.
# usage: tree.sh DIRECTORY      (prints the path of the copy)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
copy=$1/ansible_collections/day2/ops
rm -rf "$copy"
mkdir -p "$copy"
# A file that is deleted but still in git's index is no part of the copy.
git ls-files -coz --exclude-standard | while IFS= read -r -d '' path; do
  if [ -e "$path" ]; then printf '%s\0' "$path"; fi
done | tar --create --null --no-recursion --files-from=- | tar --extract --directory "$copy"
# A repository of its own: otherwise the tools ask the one around it, which ignores this directory.
git -C "$copy" init --quiet
git -C "$copy" add --all
echo "$copy"
