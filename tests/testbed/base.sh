#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The image that others start from: Debian as this machine's own apt sources give it, no registry needed.
# usage: base.sh [SUITE]      DAY2_BASE_IMAGE=debian:bookworm takes that one instead, where a registry is within reach.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

SUITE=${1:-$SUITE}
IMAGE=day2-test/debian:$SUITE
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

sources() {
  local main security
  main=$(apt_mirror "$SUITE") security=$(apt_mirror "$SUITE-security")
  [ -n "$main" ] || die "no Debian mirror among this machine's apt sources; is this Debian?"
  echo "deb [signed-by=$KEYRING] $main $SUITE main"
  if [ "$SUITE" = sid ]; then return 0; fi # it has neither updates nor security of its own
  echo "deb [signed-by=$KEYRING] $main $SUITE-updates main"
  [ -z "$security" ] || echo "deb [signed-by=$KEYRING] $security $SUITE-security main"
}

bootstrap() {
  sources | timeout 900 mmdebstrap --quiet --variant=minbase --include=ca-certificates,debian-archive-keyring \
    --aptopt="$1/90machine" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" - - | docker import -c 'CMD ["bash"]' - "$IMAGE-plain" >/dev/null
}

label=$(recipe base.sh lib.sh images/debian)
if is_current "$IMAGE" "$label"; then exit 0; fi
say "building $IMAGE"
context=$(mktemp -d)
trap 'rm -rf "$context" "$context.log"' EXIT
chmod 755 "$context"
cp -R images/debian/. "$context"
apt_acquire_options >"$context/90machine"
cp /etc/ssl/certs/ca-certificates.crt "$context"
base=${DAY2_BASE_IMAGE:-}
if [ -z "$base" ] || [ "$SUITE" = sid ]; then base=$IMAGE-plain && bootstrap "$context"; fi
DOCKER_BUILDKIT=0 timeout 900 docker build -q --network host --label "day2.recipe=$label" \
  --build-arg "BASE=$base" -t "$IMAGE" "$context" >/dev/null 2>"$context.log" || { cat "$context.log" >&2; exit 1; }
