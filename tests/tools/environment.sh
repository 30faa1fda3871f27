#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A virtual environment of the development, made from tests/requirements-NAME.txt as .venv/NAME.
# usage: environment.sh dev|importer|newest|next|migrate      (what is current is left alone)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The newest interpreter that works, on PATH or of a pyenv, and is at least 3.MINOR; nothing when there is none.
# (pyenv's commands for versions that are not selected exist, and fail.)
newest_python() { # MINOR
  local minor candidate
  for minor in $(seq 15 -1 "$1"); do
    for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
      if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
        command -v "$candidate"
        return 0
      fi
    done
  done
}

name=$1
home=.venv/$name requirements=tests/requirements-$name.txt
[ -f "$requirements" ] || die "no environment $name: $requirements does not exist"
case $name in
  newest) python=$(newest_python 12) wanted="3.12" ;;
  next) python=$(newest_python 13) wanted="3.13" ;;
  *) python=$(newest_python 11) wanted="3.11"
    # The machine's own choice, where it is new enough: 3.11 is what Debian 12 and ansible-core 2.19 begin with.
    if python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$(command -v python3); fi ;;
esac
if [ -z "$python" ]; then
  printf 'error: the environment %s needs Python %s or newer with its venv module; there is none\n' "$name" "$wanted" >&2
  exit 3 # told apart from a failure by tests/tools/sanity.py
fi

# Interpreter, requirements and this recipe: when one of them changes, the environment is made again.
stamp=$({ "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; cat "$requirements" "${BASH_SOURCE[0]}"; } | sha256sum)
# Several tests may want it at the same time.
mkdir -p .venv
exec 9>".venv/.$name.lock"
flock 9
if [ -x "$home/bin/python" ] && [ "$(cat "$home/.stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
printf 'making %s with %s\n' "$home" "$("$python" --version)" >&2
rm -rf "$home"
"$python" -m venv "$home"
timeout 900 "$home/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 -r "$requirements"
printf '%s\n' "$stamp" >"$home/.stamp"
