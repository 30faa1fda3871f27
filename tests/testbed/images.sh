#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the images of the test bed, each only when its recipe is new. usage: images.sh [NAME…]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

declare -A TAG_OF=(
  [mariadb]=10.11
  [mongo]=7
  [mysql]=9
  [postgres]=15
  [redis]=7
  [valkey]=sid
  [bare]=bookworm
  [systemd]=bookworm
  [apphost]=bookworm
  [webapp]=bookworm
  [webhost]=bookworm
)
declare -A BASE_OF=( # the Debian suite of an image, where it is not the usual one
  [mongo]=sid
  [mysql]=sid
  [valkey]=sid
)
ORDER=(mariadb mysql postgres redis valkey mongo bare systemd apphost webapp webhost) # apphost and webhost start from systemd

build() { # NAME
  local name=$1 image log label started=$SECONDS context parts=("images/$1")
  [ -n "${TAG_OF[$name]:-}" ] || die "no image $name; there are: ${ORDER[*]}"
  image=day2-test/$name:${TAG_OF[$name]} log=$ENVIRONMENT/build-$name.log
  if [ "$name" = mongo ]; then # its programs serve the tests on this host, too
    ./mongo.sh
    parts+=(mongo.sh)
  fi
  label=$(recipe base.sh lib.sh images/debian images/systemd "${parts[@]}")
  if is_current "$image" "$label"; then return 0; fi
  ./base.sh "${BASE_OF[$name]:-$SUITE}"
  context=$(mktemp -d)
  cp -R "images/$name/." "$context"
  [ "$name" != mongo ] || cp "$ENVIRONMENT"/mongo/bin/* "$context"
  [ "$name" != apphost ] || cp "$(compose_plugin)" "$context/docker-compose"
  # The classic builder: Debian 12's client has no buildx. The host's network: a proxy on its loopback counts.
  if ! DOCKER_BUILDKIT=0 timeout 900 docker build --network host --label "day2.recipe=$label" -t "$image" "$context" >"$log" 2>&1; then
    rm -rf "$context"
    tail -n 20 "$log" >&2
    die "the image $image was not built; the whole log is in $log"
  fi
  rm -rf "$context"
  say "$(printf '%-28s %3d s' "$image" $((SECONDS - started)))"
}

compose_plugin() {
  local directory
  for directory in ~/.docker/cli-plugins /usr/local/lib/docker/cli-plugins /usr/local/libexec/docker/cli-plugins \
    /usr/lib/docker/cli-plugins /usr/libexec/docker/cli-plugins; do
    if [ -x "$directory/docker-compose" ]; then
      echo "$directory/docker-compose"
      return 0
    fi
  done
  die "Docker knows Compose, but its plugin is in none of the usual places"
}

mkdir -p "$ENVIRONMENT"
[ $# -gt 0 ] || set -- "${ORDER[@]}"
for name in "$@"; do build "$name"; done
