#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A Docker engine and the Compose plugin, where none answers yet. usage: docker.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

# Debian 12 has no Compose v2; Debian 13's is one static file that runs here too.
COMPOSE_SUITE=${DAY2_COMPOSE_SUITE:-trixie}
LOG=$ENVIRONMENT/dockerd.log

answers() { timeout 20 docker info >/dev/null 2>&1; }

start_engine() {
  [ "$(id -u)" = 0 ] || die "no Docker engine answers, and starting one needs root"
  # A machine with an init starts its own; a container has none and gets a process of its own.
  if [ -d /run/systemd/system ]; then
    timeout 120 systemctl start docker || true
  elif ! grep -qsx dockerd "/proc/$(cat /var/run/docker.pid 2>/dev/null)/comm"; then # a stale id may be somebody else's by now
    mkdir -p "$ENVIRONMENT"
    rm -f /var/run/docker.pid
    setsid nohup dockerd >"$LOG" 2>&1 </dev/null &
  fi
  local deadline=$((SECONDS + 60))
  until answers; do
    if [ $SECONDS -ge $deadline ]; then
      [ ! -s "$LOG" ] || tail -n 20 "$LOG" >&2
      die "the Docker engine did not answer within 60 s; the integration tests, Molecule and the demo's test need one"
    fi
    sleep 0.2
  done
}

install_compose() {
  local unpacked=$ENVIRONMENT/compose
  deb_unpack "$COMPOSE_SUITE" docker-compose "$unpacked"
  mkdir -p ~/.docker/cli-plugins
  install -m 755 "$(find "$unpacked" -type f -name docker-compose -perm -111 | sort | sed -n 1p)" ~/.docker/cli-plugins/docker-compose
}

answers || { ./packages.sh docker; answers || start_engine; }
docker compose version >/dev/null 2>&1 || install_compose
say "Docker engine $(docker version --format '{{ .Server.Version }}'), Compose $(docker compose version --short)"
