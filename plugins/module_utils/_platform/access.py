# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""From a datastore's description to a way in: where its tools run, how a driver reaches its server."""

from __future__ import annotations

import contextlib
import dataclasses
import socket as _socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from .._core.context import Context
from .._core.errors import Refused, Unavailable
from .._core.model import Datastore
from .._core.place import ContainerPlace, HostPlace, Place
from . import dsn
from .application import Application
from .containers import Container
from .docker import Docker
from .dsn import Dsn
from .roots import below
from .variables import Variables


@dataclasses.dataclass(frozen=True)
class Access:
    """One way into a server.

    `place` is where the native tools run (its container, or this host). `host`, `port`, `socket` are for
    a driver on this host; `tool_host`, `tool_port`, `tool_socket` for a tool at the place (all None inside
    a container: the tool's default local socket). `hosts` are all names and addresses under which clients
    may know the server. `container` is the id of the server's container.
    """

    place: Place
    user: Optional[str] = None
    password: Optional[str] = dataclasses.field(default=None, repr=False)
    database: Optional[str] = None
    host: Optional[str] = None
    port: Optional[int] = None
    socket: Optional[str] = None
    tool_host: Optional[str] = None
    tool_port: Optional[int] = None
    tool_socket: Optional[str] = None
    hosts: tuple[str, ...] = ()
    container: Optional[str] = None
    url: Optional[Dsn] = dataclasses.field(default=None, repr=False)  # what password_url names


LOCAL = ("127.0.0.1", "localhost", "::1")

# Where servers have their socket (PostgreSQL: the directory of it), by default port.
SOCKETS: Mapping[int, tuple[str, ...]] = {
    3306: (
        "/run/mysqld/mysqld.sock",
        "/var/run/mysqld/mysqld.sock",
        "/var/lib/mysql/mysql.sock",
        "/var/run/mysql/mysql.sock",
        "/tmp/mysql.sock",
    ),
    5432: ("/var/run/postgresql", "/run/postgresql", "/tmp"),
    6379: (
        "/run/redis/redis-server.sock",
        "/var/run/redis/redis-server.sock",
        "/run/redis/redis.sock",
        "/run/valkey/valkey-server.sock",
        "/run/valkey/valkey.sock",
        "/tmp/redis.sock",
    ),
}


def resolve(datastore: Datastore, context: Context, application: Application, port: int) -> Access:
    """The way into a datastore's server; `port` is the engine's default.

    Passwords that are found are added to `context.secrets`. Errors name the container or variable that
    is missing, and the nearest names that exist.
    """
    reference = datastore.options.get("container")
    if not reference:
        credentials = _credentials(datastore, context, application, None)
        return _on_host(datastore, context, credentials, port)
    with Docker() as docker:
        container = docker.find(reference)
        credentials = _credentials(datastore, context, application, container)
        return _in_container(datastore, context, credentials, port, container, docker)


# Credentials ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Credentials:
    user: Optional[str]
    password: Optional[str] = dataclasses.field(repr=False)
    database: Optional[str]
    dsn: Optional[Dsn] = None


def _credentials(
    datastore: Datastore, context: Context, application: Application, container: Optional[Container]
) -> _Credentials:
    options = datastore.options
    url, variable = options.get("password_url"), options.get("password_variable")
    password, found_dsn = options.get("password"), None
    if password is None and variable:
        password = Variables(context, application, container).find(variable).value
    elif password is None and url:
        found_dsn = url_of(Variables(context, application, container), url)
        password = found_dsn.password
    database = options.get("database") or (found_dsn.database if found_dsn else None)
    user = options.get("user") or (found_dsn.user if found_dsn else None)
    if password:
        context.secrets.add(password)
        names = {context.app.name, context.app.instance, context.app.key, datastore.name, user, database}
        if container is not None:
            names.update(container.names, [container.project])
        _warn_of_weak(password, names, str(datastore), context)
    return _Credentials(user, password, database, found_dsn)


def url_of(variables: Variables, name: str) -> Dsn:
    """The URL in a variable, taken apart; one without a password is refused."""
    found = variables.find(name)
    parsed = dsn.parse(found.value)
    if parsed is None:
        raise Refused(
            f"the value of {name} is not a URL (found in {found.source})",
            hint="For a variable that holds the password alone, use password_variable.",
        )
    if not parsed.password:
        raise Refused(
            f"the URL in {name} holds no password (found in {found.source})",
            hint="Name the variable that holds it with password_variable.",
        )
    variables.context.secrets.add(parsed.password)
    # As it is written in the URL too: messages of tools quote it undecoded.
    variables.context.secrets.add(quote(parsed.password, safe=""))
    return parsed


def _warn_of_weak(password: str, names: Collection[Optional[str]], where: str, context: Context) -> None:
    if password in names:
        context.warn(f"{where}: the password equals a name that is in use; that name is struck out of every message.")
    elif len(password) < 8:
        context.warn(f"{where}: the password has fewer than 8 characters.")


# In a container -------------------------------------------------------------------------------------


def _in_container(
    datastore: Datastore,
    context: Context,
    credentials: _Credentials,
    port: int,
    container: Container,
    docker: Docker,
) -> Access:
    options = datastore.options
    port = options.get("port") or port
    place = ContainerPlace(context, container.id, container.name, options.get("run_as"))
    address, socket = None, None
    if options.get("socket"):
        socket = _socket_inside(container, port, (options["socket"],))
        if socket is None:
            raise Unavailable(f"there is no socket {options['socket']} in container {container.name}")
    else:
        address = _address(container, docker)
        socket = None if address else _socket_inside(container, port, SOCKETS.get(port, ()))
    if address is None and socket is None:
        raise Unavailable(
            f"the server in container {container.name} cannot be reached from this host: "
            "it has no network address, and no socket was found in it",
            hint="Name the socket's path inside the container with the option socket.",
        )
    return Access(
        place=place,
        user=credentials.user,
        password=credentials.password,
        database=credentials.database,
        host=address,
        port=port if address else None,
        socket=socket,
        tool_socket=options.get("socket"),
        hosts=tuple(dict.fromkeys((*container.names, *container.addresses, *((address,) if address else ())))),
        container=container.id,
        url=credentials.dsn,
    )


def _address(container: Container, docker: Docker) -> Optional[str]:
    """An address of the container that this host reaches: only bridges lead from the host to it."""
    if container.network_mode == "host":
        return "127.0.0.1"
    if container.network_mode.startswith("container:"):
        other = docker.inspect(container.network_mode.partition(":")[2])
        return _address(other, docker) if other is not None else None
    for network in container.networks:
        if network.addresses and docker.network_driver(network.network_id) == "bridge":
            return network.addresses[0]
    return None


def _socket_inside(container: Container, port: int, candidates: Sequence[str]) -> Optional[str]:
    root = container_root(container)
    return _first_socket((below(root, path) for path in candidates), port)


def container_root(container: Container) -> Path:
    """The root directory of a running container, as root on this host sees it."""
    return Path("/proc", str(container.pid), "root")


# On this host, or elsewhere -------------------------------------------------------------------------


def _on_host(datastore: Datastore, context: Context, credentials: _Credentials, default_port: int) -> Access:
    options = datastore.options
    run_as, url = options.get("run_as"), credentials.dsn
    host, port, socket = options.get("host"), options.get("port"), options.get("socket")
    if not host and not socket and not run_as and url is not None:
        host, port, socket = url.host, port or url.port, url.socket
    port = port or default_port
    if not host and not socket and (run_as or not credentials.password):
        socket = _first_socket((Path(path) for path in SOCKETS.get(default_port, ())), port)
        if socket is None and run_as:
            raise Unavailable(
                f"no socket of a server with port {port} was found on this host for run_as: {run_as}",
                hint="Is the server running? Otherwise name its socket with the option socket.",
            )
    if not host and not socket:
        host = "127.0.0.1"
    return Access(
        place=HostPlace(context, run_as),
        user=credentials.user,
        password=credentials.password,
        database=credentials.database,
        host=host,
        port=port,
        socket=socket,
        tool_host=host,
        tool_port=port,
        tool_socket=socket,
        hosts=_host_names(host, socket),
        url=credentials.dsn,
    )


def _host_names(host: Optional[str], socket: Optional[str]) -> tuple[str, ...]:
    if host and host not in LOCAL:
        return (host,)
    here = (*LOCAL, _socket.gethostname(), "host.docker.internal", *((socket,) if socket else ()))
    return tuple(dict.fromkeys(here))


def _first_socket(candidates: Iterable[Path], port: int) -> Optional[str]:
    """The first that is a socket, or a directory with PostgreSQL's socket of that port."""
    for path in candidates:
        with contextlib.suppress(OSError):
            if path.is_socket() or (path / f".s.PGSQL.{port}").is_socket():
                return str(path)
    return None
