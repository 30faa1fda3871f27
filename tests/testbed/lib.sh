# shellcheck shell=bash disable=SC2034  # the variables are for the scripts that source this file
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What the scripts beside this one share; sourced, never run.

TESTBED=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$TESTBED/../.." && pwd)
ENVIRONMENT=$ROOT/.venv # everything that is downloaded or built for the development, git-ignored
SUITE=bookworm # what the images are: the oldest Debian whose tools the collection promises to work with

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The pieces of the machine's apt configuration that say how packages are reached (proxies, certificates,
# retries, clocks); nothing about what is installed or cleaned up.
apt_acquire_options() {
  apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv4|Max-FutureTime)' | grep -v '""' || true
}

# Where this machine gets Debian SUITE (bookworm, bookworm-security, …) from. apt itself reads both kinds of
# sources; for a suite that the machine does not use, the same mirror is asked.
apt_mirror() {
  local suite=$1 known
  # shellcheck disable=SC2016  # apt's own variables
  known=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | awk '$3 == "main"')
  case $suite in
    *-security) awk '$2 ~ /-security$/ && !found { print $1; found = 1 }' <<<"$known" ;;
    *) awk '$2 !~ /-/ && !found { print $1; found = 1 }' <<<"$known" ;;
  esac
}

# Download PACKAGE of Debian SUITE and unpack it into DIRECTORY, signatures checked by apt as always; neither
# the machine's sources nor its package lists change.
deb_unpack() { # SUITE PACKAGE DIRECTORY
  local suite=$1 package=$2 directory=$3 mirror work
  mirror=$(apt_mirror "$suite")
  [ -n "$mirror" ] || die "no Debian mirror among this machine's apt sources"
  work=$ROOT/.venv/apt/$suite
  mkdir -p "$work"/{lists,archives}/partial "$work/parts"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
  local options=(-qq
    -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts"
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache::Archives=$work/archives"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache="
    -o "Acquire::Languages=none" -o "APT::Update::Error-Mode=any" -o "APT::Sandbox::User=root")
  timeout 300 apt-get "${options[@]}" update
  (cd "$work/archives" && rm -f "${package}"_*.deb && timeout 300 apt-get "${options[@]}" download "$package")
  rm -rf "$directory"
  mkdir -p "$directory"
  dpkg-deb -x "$work/archives/$package"_*.deb "$directory"
}

# What an image is made from, as one word: another recipe gives another word, and the image is built again.
recipe() { # FILES AND DIRECTORIES
  (cd "$TESTBED" && find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

is_current() { # IMAGE RECIPE
  [ "$(docker image inspect --format '{{ index .Config.Labels "day2.recipe" }}' "$1" 2>/dev/null)" = "$2" ]
}
