#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Shaped like the official MySQL image: the variables are read once, while the data directory is empty;
# NAME_FILE names a file with the value.
set -eo pipefail

DATA=/var/lib/mysql
CONFIGURATION=--defaults-file=/etc/my.cnf
declare -A option

read_option() { # NAME
  local variable=MYSQL_$1 file=MYSQL_$1_FILE
  option[$1]=${!variable:-}
  [ -n "${option[$1]}" ] || [ -z "${!file:-}" ] || option[$1]=$(<"${!file}")
}

quoted() {
  local text=${1//\\/\\\\}
  printf "'%s'" "${text//\'/\\\'}"
}

accounts() { # the statements of the first start
  local host root user
  root=$(quoted "${option[ROOT_PASSWORD]}")
  echo "SET @@SESSION.SQL_LOG_BIN=0;"
  echo "ALTER USER root@localhost IDENTIFIED BY $root;"
  if [ "${option[ROOT_HOST]:-%}" != localhost ]; then
    host=$(quoted "${option[ROOT_HOST]:-%}")
    echo "CREATE USER root@$host IDENTIFIED BY $root;"
    echo "GRANT ALL ON *.* TO root@$host WITH GRANT OPTION;"
  fi
  [ -z "${option[DATABASE]}" ] || echo "CREATE DATABASE IF NOT EXISTS \`${option[DATABASE]}\`;"
  if [ -n "${option[USER]}" ] && [ -n "${option[PASSWORD]}" ]; then
    user="$(quoted "${option[USER]}")@'%'"
    echo "CREATE USER $user IDENTIFIED BY $(quoted "${option[PASSWORD]}");"
    # An underscore in a grant is a pattern, as in the official image it is escaped.
    [ -z "${option[DATABASE]}" ] || echo "GRANT ALL ON \`${option[DATABASE]//_/\\_}\`.* TO $user;"
  fi
}

first_start() {
  local server file
  if [ -z "${option[ROOT_PASSWORD]}${option[ALLOW_EMPTY_PASSWORD]}${option[RANDOM_ROOT_PASSWORD]}" ]; then
    echo "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified" >&2
    exit 1
  fi
  echo "[Note] [Entrypoint]: Initializing database files"
  "$@" --initialize-insecure --default-time-zone=SYSTEM
  "$@" --skip-networking --default-time-zone=SYSTEM &
  server=$!
  for _ in $(seq 240); do
    if mysql "$CONFIGURATION" -uroot -e 'SELECT 1' >/dev/null 2>&1; then break; fi
    sleep 0.25
  done
  if [ -n "${option[RANDOM_ROOT_PASSWORD]}" ]; then
    option[ROOT_PASSWORD]=$(head -c 24 /dev/urandom | base64)
    echo "[Note] [Entrypoint]: GENERATED ROOT PASSWORD: ${option[ROOT_PASSWORD]}"
  fi
  accounts | mysql "$CONFIGURATION" -uroot --default-character-set=utf8mb4
  export MYSQL_PWD=${option[ROOT_PASSWORD]}
  local client=(mysql "$CONFIGURATION" -uroot)
  [ -z "${option[DATABASE]}" ] || client+=("--database=${option[DATABASE]}")
  for file in /docker-entrypoint-initdb.d/*; do
    # shellcheck disable=SC1090  # whatever the user mounts
    case $file in
      *.sh) . "$file" ;;
      *.sql) "${client[@]}" <"$file" ;;
      *.sql.gz) zcat "$file" | "${client[@]}" ;;
    esac
  done
  unset MYSQL_PWD
  kill "$server"
  wait "$server" || true
  echo "[Note] [Entrypoint]: MySQL init process done. Ready for start up."
}

case ${1:-} in -*) set -- mysqld "$@" ;; esac
if [ "$1" = mysqld ]; then
  if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/mysqld
    chown mysql:mysql /run/mysqld "$DATA"
    find "$DATA" ! -user mysql -exec chown mysql:mysql {} +
    exec gosu mysql "$0" "$@"
  fi
  shift
  set -- mysqld "$CONFIGURATION" "$@"
  for name in ROOT_PASSWORD ROOT_HOST DATABASE USER PASSWORD ALLOW_EMPTY_PASSWORD RANDOM_ROOT_PASSWORD; do
    read_option "$name"
  done
  [ -d "$DATA/mysql" ] || first_start "$@"
fi
exec "$@"
