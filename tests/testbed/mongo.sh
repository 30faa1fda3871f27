#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Build FerretDB and MongoDB's own tools, which no Debian has, from their Go modules: .venv/mongo/bin.
# The programs are static: the same ones serve this host and the image.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh
. ./go.sh

FERRETDB=github.com/FerretDB/FerretDB/v2/cmd/ferretdb@v2.7.0
TOOLS=github.com/mongodb/mongo-tools@v0.0.0-20221102190735-6d9d341edd33
BIN=$ENVIRONMENT/mongo/bin
STAMP=$ENVIRONMENT/mongo/built

# Every step with &&: in a condition `set -e` holds no more.
build() {
  local module
  export GOFLAGS="-mod=mod -buildvcs=false -ldflags=-s" CGO_ENABLED=0 GOBIN=$BIN
  module=$(mktemp -d) \
    && (cd "$module" && go mod init day2.test/tools && go get "$TOOLS" \
      && go build -o "$BIN/mongodump" github.com/mongodb/mongo-tools/mongodump/main \
      && go build -o "$BIN/mongorestore" github.com/mongodb/mongo-tools/mongorestore/main) \
    && rm -rf "$module" \
    && go install "$FERRETDB"
}

[ "$(cat "$STAMP" 2>/dev/null)" != "$FERRETDB $TOOLS" ] || exit 0
need_go
mkdir -p "$BIN"
log=$ENVIRONMENT/build-mongo-tools.log
started=$SECONDS
if ! build >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  die "FerretDB and MongoDB's tools were not built; the whole log is in $log"
fi
echo "$FERRETDB $TOOLS" >"$STAMP"
say "$(printf '%-28s %3d s' "ferretdb, mongodump, …" $((SECONDS - started)))"
