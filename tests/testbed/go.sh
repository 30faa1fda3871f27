# shellcheck shell=bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Go, for the two servers of the test bed that no Debian has; sourced after lib.sh.

GO_OLDEST=1.24
GO_OWN=$ENVIRONMENT/go # where the PATH has none, or an older one: Debian 13's

go_is_new_enough() {
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
  version=${version#go}
  [ "$(printf '%s\n%s\n' "$GO_OLDEST" "${version%%[- ]*}" | sort -V | head -n 1)" = "$GO_OLDEST" ]
}

# Afterwards `go` is one that is new enough.
need_go() {
  go_is_new_enough && return
  local root=$GO_OWN/usr/lib/go-$GO_OLDEST
  if [ ! -e "$GO_OWN/complete" ]; then
    say "fetching Go $GO_OLDEST"
    deb_unpack trixie "golang-$GO_OLDEST-src" "$GO_OWN.src"
    deb_unpack trixie "golang-$GO_OLDEST-go" "$GO_OWN"
    cp -a "$GO_OWN.src/usr/share/." "$GO_OWN/usr/share/"
    rm -rf "$GO_OWN.src"
    touch "$GO_OWN/complete"
  fi
  export GOROOT=$root PATH=$root/bin:$PATH
  go_is_new_enough || die "there is no Go $GO_OLDEST or newer, and the one of Debian 13 does not run here; put one on the PATH"
}
