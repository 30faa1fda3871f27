#!/usr/bin/env bash
# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Shaped like the official mongo image: the variables are read once, while /data/db is empty; NAME_FILE
# names a file with the value.
set -eo pipefail

read_option() { # NAME
  local file="$1_FILE" value=${!1:-}
  if [ -z "$value" ] && [ -n "${!file:-}" ]; then value=$(<"${!file}"); fi
  export "$1=$value"
  unset "$file"
}

first_start() {
  initdb -D /data/db --username=ferret_admin --auth=trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  cat >>/data/db/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '/run/mongodb'
unix_socket_permissions = 0700
shared_preload_libraries = 'pg_cron,pg_documentdb_core,pg_documentdb'
cron.database_name = 'postgres'
cron.host = '/run/mongodb'
documentdb.localhost_connection_string = 'host=/run/mongodb'
documentdb.defaultUseCompositeOpClass = off
documentdb.createTTLIndexAsCompositeByDefault = off
documentdb.enableCompact = true
documentdb.enableLetAndCollationForQueryMatch = true
documentdb.enableNowSystemVariable = true
documentdb.enableSortbyIdPushDownToPrimaryKey = true
documentdb.enableSchemaValidation = true
documentdb.enableBypassDocumentValidation = true
documentdb.enableUserCrud = true
documentdb.maxUserLimit = 100
max_connections = 200
fsync = ${MONGO_FSYNC:-on}
CONF
  pg_ctl -D /data/db -w start >/dev/null
  local client=(psql -q -v ON_ERROR_STOP=1 -h /run/mongodb -U ferret_admin -d postgres)
  "${client[@]}" -c 'CREATE EXTENSION documentdb CASCADE'
  if [ -n "$MONGO_INITDB_ROOT_USERNAME" ]; then
    # psql takes the values from the environment, so that no command line shows them.
    "${client[@]}" <<'SQL'
\getenv user MONGO_INITDB_ROOT_USERNAME
\getenv password MONGO_INITDB_ROOT_PASSWORD
SET password_encryption = 'scram-sha-256';
CREATE ROLE :"user" SUPERUSER LOGIN PASSWORD :'password';
SQL
    touch /data/db/.auth
  fi
  pg_ctl -D /data/db -m fast -w stop >/dev/null
  echo 'MongoDB init process complete; ready for start up.'
}

case ${1:-} in -*) set -- mongod "$@" ;; esac
if [ "$1" = mongod ]; then
  if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/mongodb
    chown mongodb /run/mongodb
    chmod 700 /data/db
    find /data/db /data/configdb ! -user mongodb -exec chown mongodb {} +
    exec gosu mongodb "$0" "$@"
  fi
  read_option MONGO_INITDB_ROOT_USERNAME
  read_option MONGO_INITDB_ROOT_PASSWORD
  if [ -n "$MONGO_INITDB_ROOT_USERNAME" ] && [ -z "$MONGO_INITDB_ROOT_PASSWORD" ]; then
    echo "error: missing 'MONGO_INITDB_ROOT_PASSWORD'" >&2
    exit 1
  fi
  [ -s /data/db/PG_VERSION ] || first_start
fi
exec "$@"
