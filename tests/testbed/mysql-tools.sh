#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# MySQL's own mysqldump and mysql for this host, into .venv/mysql/bin: Debian 12 has MariaDB's only. They are
# taken out of the test bed's image together with their libraries, and started by that image's loader.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

IMAGE=day2-test/mysql:9
TARGET=$ENVIRONMENT/mysql
id=$(docker image inspect --format '{{.Id}}' "$IMAGE")
if [ "$(cat "$TARGET/image" 2>/dev/null)" = "$id" ]; then exit 0; fi
work=$(mktemp -d "$ENVIRONMENT/mysql.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,lib,libexec,loader}
docker run --rm --network none --entrypoint sh "$IMAGE" -c '
  set -e
  mkdir /tmp/tools
  cp /usr/bin/mysqldump /usr/bin/mysql /tmp/tools
  for library in $(ldd /usr/bin/mysqldump /usr/bin/mysql | grep -o "/[^ )]*[.]so[^ )]*" | sort -u); do
    cp -L "$library" /tmp/tools
  done
  tar -C /tmp/tools -cf - .' | tar -C "$work/lib" -xf -
for tool in mysqldump mysql; do
  mv "$work/lib/$tool" "$work/libexec"
  cp "$work"/lib/ld-linux* "$work/loader/$tool" # the process is called like the tool then
  cat >"$work/bin/$tool" <<WRAPPER
#!/bin/sh
exec "$TARGET/loader/$tool" --library-path "$TARGET/lib" --argv0 $tool "$TARGET/libexec/$tool" "\$@"
WRAPPER
  chmod +x "$work/bin/$tool"
done
echo "$id" >"$work/image"
rm -rf "$TARGET"
mv -T "$work" "$TARGET" 2>/dev/null || [ -f "$TARGET/image" ] # somebody else was faster
