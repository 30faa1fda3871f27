#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# A real S3 server for the tests, built from source: .venv/s3/versitygw
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh
. ./go.sh

VERSION=v1.8.0
SERVER=$ENVIRONMENT/s3/versitygw

build() {
  need_go
  say "building the S3 server $VERSION"
  mkdir -p "$ENVIRONMENT/s3"
  local log=$ENVIRONMENT/s3/build.log
  if ! GOBIN=$ENVIRONMENT/s3 GOFLAGS=-mod=mod timeout 900 go install "github.com/versity/versitygw/cmd/versitygw@$VERSION" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "the S3 server was not built; the whole log is in $log"
  fi
  echo "$VERSION" >"$ENVIRONMENT/s3/version"
}

if [ ! -x "$SERVER" ] || [ "$(cat "$ENVIRONMENT/s3/version" 2>/dev/null)" != "$VERSION" ]; then build; fi
