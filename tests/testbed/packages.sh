#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what the tests need and this Debian lacks. usage: packages.sh [GROUP…]
# A group that is complete costs nothing; without root and with something missing it says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

# Per group: the packages, each proven by the presence of a file or command where another source than
# Debian may have provided it (an engine from its vendor, a Python from pyenv).
declare -A GROUPS_OF=(
  [python]="python3 python3-venv git ca-certificates"
  [lint]="shellcheck"
  [docker]="docker.io iptables mmdebstrap xz-utils"
  [servers]="mariadb-server mariadb-client postgresql sqlite3 redis-server redis-tools"
  [tools]="restic rclone apache2-utils bind9-dnsutils openssl openssh-client iproute2 acl attr rsync curl procps util-linux"
  [bench]="mydumper gzip"
)
declare -A COMMAND_OF=(
  [python3]=python3 [docker.io]=dockerd [iptables]=iptables [git]=git [curl]=curl [shellcheck]=shellcheck [rsync]=rsync
)

# Where another Python is the default, it brings what Debian has in a package of its own.
venv_works() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }
present() {
  case $1 in python3-venv) venv_works && return 0 ;; esac
  installed "$1" || { [ -n "${COMMAND_OF[$1]:-}" ] && command -v "${COMMAND_OF[$1]}" >/dev/null; }
}

main() {
  local group package missing=()
  [ $# -gt 0 ] || set -- "${!GROUPS_OF[@]}"
  for group in "$@"; do
    [ -n "${GROUPS_OF[$group]:-}" ] || die "no group $group of packages; there are: ${!GROUPS_OF[*]}"
    for package in ${GROUPS_OF[$group]}; do present "$package" || missing+=("$package"); done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  command -v apt-get >/dev/null || die "this is no Debian; install: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "root is needed to install: apt-get install ${missing[*]}"
  # The tests run servers of their own, with data of their own: the packages' services are not to start.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    # shellcheck disable=SC2064  # its value now
    trap "rm -f $policy" EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  # A lock that another apt holds is waited for, not failed on.
  local options=(-q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0) log=$ENVIRONMENT/packages.log
  mkdir -p "$ENVIRONMENT"
  timeout 300 apt-get "${options[@]}" update >"$log" 2>&1 || say "some package lists could not be read; going on with the others"
  if ! timeout 900 apt-get "${options[@]}" install --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "not installed: ${missing[*]}; the whole log is in $log"
  fi
}

main "$@"
