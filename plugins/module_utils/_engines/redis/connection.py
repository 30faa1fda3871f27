# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Ways into a Redis server, and its answers: the driver's errors become sentences for people."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ..._core import drivers
from ..._core.errors import OpsError, Refused, Unavailable
from ..._platform.access import Access

CONNECT_TIMEOUT = 10  # seconds
ANSWER_TIMEOUT = 300  # a server that forks or loads a large value answers late


@dataclasses.dataclass(frozen=True)
class Way:
    """How the driver reaches a server: what its constructor takes, and what people call the server."""

    label: str
    arguments: Mapping[str, Any] = dataclasses.field(repr=False)


def live_way(access: Access, tls: bool, authority: Optional[str]) -> Way:
    arguments: dict[str, Any] = {"username": access.user, "password": access.password}
    if access.socket:
        arguments["unix_socket_path"] = access.socket
    else:
        arguments.update(host=access.host, port=access.port)
    if tls and not access.socket:
        # In a container the address is a number, which no certificate names.
        arguments.update(ssl=True, ssl_ca_certs=authority, ssl_check_hostname=access.container is None)
    where = access.socket or f"{access.host}:{access.port}"
    return Way(f"{where} in {access.place.label}" if access.container else where, arguments)


class Missing(OpsError):
    """The user's rights (ACL) do not include a command."""


@contextlib.contextmanager
def connected(way: Way, database: int = 0) -> Iterator[Any]:
    """A connection to one database; every failure on it is an `OpsError`.

    Nobody selects another database on it (except in a transaction): the driver connects again when the
    server has closed the connection, and is back in this one then, without a word.
    """
    redis = drivers.redis()
    with told(way.label):
        client = redis.Redis(
            db=database,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=ANSWER_TIMEOUT,
            # The driver's own retries make a wrong password take four seconds; a write that may have
            # arrived must not be sent again unasked.
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            # What the driver would say of itself (CLIENT SETINFO) needs rights that a user may lack.
            **_silent(redis),
            **way.arguments,
        )
        try:
            yield client
        finally:
            client.close()
            client.connection_pool.disconnect()


def _silent(redis: Any) -> dict[str, Any]:
    newer = int(redis.__version__.split(".")[0]) >= 5
    return {"lib_name": None, "lib_version": None, "protocol": 2} if newer else {}


@contextlib.contextmanager
def told(server: str) -> Iterator[None]:
    errors = drivers.redis().exceptions
    try:
        yield
    except (errors.AuthenticationError, errors.AuthenticationWrongNumberOfArgsError) as error:
        raise Unavailable(f"the server {server} refuses the password or user: {_plain(error)}") from None
    except errors.NoPermissionError as error:
        raise Missing(
            f"the user may not do what is needed on {server}: {_plain(error)}",
            hint="Give the right with ACL SETUSER; docs/engines.md lists those that are needed.",
        ) from None
    except errors.BusyLoadingError:
        raise Unavailable(f"the server {server} is loading its data", hint="Run it again when it is ready.") from None
    except errors.ResponseError as error:
        text = _plain(error)
        if text.startswith(("NOAUTH", "WRONGPASS", "invalid username-password")):
            raise Unavailable(f"the server {server} refuses the password or user: {text}") from None
        raise OpsError(f"the server {server} refused: {text}") from None
    except (errors.ConnectionError, errors.TimeoutError, OSError) as error:
        raise Unavailable(
            f"the server {server} cannot be reached: {_plain(error)}", hint="Is it running, and is this its address?"
        ) from None
    except errors.RedisError as error:
        raise OpsError(f"the server {server} failed: {_plain(error)}") from None


def _plain(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


# For scripts: when a key expires, in ms; -1 for never. Redis 6 knows only the time that is left.
EXPIRES_AT = """
local function expires_at(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at end
  local left = redis.call('PTTL', key)
  if left < 0 then return left end
  local now = redis.call('TIME')
  return left + now[1] * 1000 + math.floor(now[2] / 1000)
end
"""


# What a server says of itself ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Version:
    """`flavour`: redis or valkey; `numbers` its own version (of Valkey, not of the Redis it claims to be)."""

    flavour: str
    text: str

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", self.text)[:3])


def version_of(info: Mapping[str, Any]) -> Version:
    if "valkey_version" in info:
        return Version("valkey", str(info["valkey_version"]))
    return Version("redis", str(info.get("redis_version", "0")))


def newer_than(one: Version, other: Version) -> bool:
    """Whether data that `one` wrote may be unreadable for `other`: formats change with minor versions."""
    if one.flavour == other.flavour:
        return one.numbers[:2] > other.numbers[:2]
    if one.flavour == "redis":  # Valkey went on from Redis 7.2, and reads what that wrote
        return one.numbers[:2] > (7, 2)
    return True


@dataclasses.dataclass(frozen=True)
class Keyspace:
    """One database in numbers. `soft`: hashes have fields that expire by themselves."""

    keys: int
    expires: int
    soft: bool = False


def keyspaces(client: Any) -> dict[int, Keyspace]:
    """The databases that hold anything."""
    found = {}
    for name, numbers in client.info("keyspace").items():
        soft = int(numbers.get("subexpiry", 0)) + int(numbers.get("keys_with_volatile_items", 0))
        found[int(name[2:])] = Keyspace(int(numbers["keys"]), int(numbers["expires"]), soft > 0)
    return found


def number_of_databases(way: Way) -> int:
    """How many there are; found by trying where the configuration may not be read."""
    errors = drivers.redis().exceptions
    with connected(way) as client:
        with contextlib.suppress(errors.ResponseError):  # denied, or renamed
            configured = client.config_get("databases")
            if configured:
                return int(configured["databases"])
    for number in range(1, 16384):
        try:
            with connected(way, number) as client:
                client.ping()
        except Missing:
            raise
        except OpsError:
            return number
    return 16384


def refuse_unfit(info: Mapping[str, Any], restoring: bool) -> None:
    if int(info.get("cluster_enabled", 0)):
        raise Refused(
            "the server is part of a Redis Cluster, where each node holds a share of the data and only database 0 exists",
            hint="Clusters are not supported.",
        )
    if info.get("redis_mode") == "sentinel":
        raise Refused("this is a Sentinel, not a server with data", hint="Name the server that it watches.")
    if restoring and info.get("role") == "slave":
        raise Refused(
            f"the server is a replica of {info.get('master_host')}, which would undo a restore",
            hint="Restore on that server.",
        )


def address_of(text: str) -> str:
    """`10.0.0.1:4711` and `[::1]:4711` without the port; "" for a Unix socket (`/path:0`)."""
    host = text.rpartition(":")[0].strip("[]")
    return "" if host.startswith("/") else host
