#!/bin/sh
# What the official image's entry point does: a server is not run as root.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
case $1 in
  redis-server | valkey-server)
    if [ "$(id -u)" = 0 ]; then
      find . ! -user redis -exec chown redis {} +
      exec gosu redis "$0" "$@"
    fi
    # The official build is compiled with protected mode off.
    case " $* " in
      *protected-mode*) ;;
      *) set -- "$@" --protected-mode no ;;
    esac
    ;;
esac
umask 0077
exec "$@"
