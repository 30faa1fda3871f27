#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ansible-test's sanity tests of what is released, with the core of an environment. usage: sanity.sh dev|newest|next [WORD…]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
name=$1
shift
"$root/tests/tools/environment.sh" "$name"

# ansible-test keeps its environments in the home directory; with one of its own they are made once, and
# nobody's home is touched.
home=$root/.venv/ansible-test pythons=$root/.venv/pythons
mkdir -p "$home/.ansible/test/cache" "$pythons"
for release in 24_2 25_2; do # what ansible-core 2.19 and its successors ask for
  cp "$root/tests/tools/get_pip_stand_in.py" "$home/.ansible/test/cache/get_pip_$release.py"
done

# Targets' Pythons: those that work. ansible-test takes what it finds on PATH, and would fail on pyenv's
# commands for versions that are not selected.
find "$pythons" -type l -delete
for minor in $(seq 9 15); do
  for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      ln -sfn "$("$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))')" "$pythons/python3.$minor"
      break
    fi
  done
done
path=$root/.venv/$name/bin:$pythons:$(tr : '\n' <<<"$PATH" | grep -v '/\.pyenv/' | paste -sd :)

artifact=$("$root/tests/tools/artifact.sh" "$root/.venv/sanity-$name")
copy=$root/.venv/sanity-$name/ansible_collections/day2/ops
mkdir -p "$copy"
tar --extract --file "$artifact" --directory "$copy"
git -C "$copy" init --quiet # otherwise the repository around it is asked, which ignores this directory
cd "$copy"
env HOME="$home" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$HOME/.cache/pip}" PATH="$path" \
  ANSIBLE_COLLECTIONS_PATH="$root/.venv/sanity-$name" \
  ansible-test sanity --color no "$@"
