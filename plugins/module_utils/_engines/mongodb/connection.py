# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One way into the server: the driver's connection, the native tools' connection string, errors in words."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional
from urllib.parse import quote, urlencode

from ..._core import drivers
from ..._core.errors import OpsError, Refused, ToolFailed, Unavailable
from ..._platform.access import Access

PORT = 27017
SELECT_TIMEOUT = 5  # seconds in which a server must be found; the tries have their own pause in between
CONNECT_TIMEOUT = 10

UNAUTHORIZED, AUTHENTICATION_FAILED = 13, 18
NO_NAMESPACE, NAMESPACE_EXISTS, INVALID_NAMESPACE = 26, 48, 73
NO_COMMAND, NOT_SUPPORTED, NOT_IMPLEMENTED = 59, 115, 238


class CommandError(ToolFailed):
    """The server refused a command; `code` is its number."""

    def __init__(self, code: int, message: str, doing: str = "") -> None:
        said = f"the server says: {message} ({code})"
        hint = "Give the user the role that docs/engines.md names for this." if code == UNAUTHORIZED else ""
        super().__init__(f"{doing}: {said}" if doing else said, hint=hint)
        self.code = code

    @property
    def lacking(self) -> bool:
        """Whether the server does not know the command at all: not every server has all of them."""
        return self.code in (NO_COMMAND, NOT_SUPPORTED, NOT_IMPLEMENTED)


@dataclasses.dataclass(frozen=True)
class Way:
    """How to connect; `hosts` are seeds of a replica set where `replica_set` is given, else there is one."""

    hosts: tuple[tuple[str, int], ...]
    user: Optional[str] = None
    password: Optional[str] = dataclasses.field(default=None, repr=False)
    auth_database: str = "admin"
    replica_set: Optional[str] = None
    tls: bool = False
    tls_ca: Optional[str] = None
    any_name: bool = False  # the certificate's name is not compared: a container is reached by its address
    application: str = "day2"

    def options(self) -> dict[str, Any]:
        """What both the driver and a connection string take."""
        found: dict[str, Any] = {"appName": self.application}
        if self.replica_set:
            found["replicaSet"] = self.replica_set
        else:
            found["directConnection"] = True  # this server, and none that it names
        if self.user:
            found["authSource"] = self.auth_database
        if self.tls:
            found["tls"] = True
            if self.tls_ca:
                found["tlsCAFile"] = self.tls_ca
            if self.any_name:
                found["tlsAllowInvalidHostnames"] = True
        return found

    def uri(self) -> str:
        """The connection string of the tools, with the password."""
        login = ""
        if self.user:
            login = quote(self.user, safe="")
            login += f":{quote(self.password, safe='')}@" if self.password else "@"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        query = {key: str(value).lower() if value is True else value for key, value in self.options().items()}
        return f"mongodb://{login}{hosts}/?{urlencode(query)}"

    def config(self) -> bytes:
        """What the tools read with --config: one line of YAML, of which a JSON string is a part."""
        return f"uri: {json.dumps(self.uri())}\n".encode()


def way_of(access: Access, options: Mapping[str, Any], application: str, inside: bool = False) -> Way:
    """`inside`: for a tool that runs in the server's container."""
    url = access.url
    query = {key.lower(): value for key, value in url.query.items()} if url is not None else {}
    from_url = url is not None and not options.get("host") and access.container is None
    if from_url and url is not None and url.scheme.endswith("+srv"):
        raise Refused(
            "a mongodb+srv URL names its servers by DNS, which is not followed",
            hint="Name host and port (and replica_set) of the datastore; its user and password are taken from the URL.",
        )
    replica_set = options.get("replica_set")
    hosts: Sequence[tuple[str, Optional[int]]] = ()
    if from_url and url is not None:
        replica_set = replica_set or query.get("replicaset")
        hosts = url.hosts if replica_set else ()
    if access.container is not None:
        replica_set = None  # the members' names may mean nothing here
    tls = options.get("tls")
    if tls is None:
        tls = query.get("tls", query.get("ssl", "")) == "true"
    default = options.get("port") or PORT
    if inside:
        hosts = (("127.0.0.1", default),)
    elif not hosts:
        hosts = ((access.host or "127.0.0.1", access.port or default),)
    return Way(
        hosts=tuple((host, port or default) for host, port in hosts),
        user=access.user,
        password=access.password,
        auth_database=options.get("auth_database") or query.get("authsource") or "admin",
        replica_set=replica_set,
        tls=bool(tls),
        tls_ca=None if inside else options.get("tls_ca"),
        any_name=access.container is not None,
        application=application,
    )


class Mongo:
    """A connection of ours to one database. Every error is an `OpsError`."""

    def __init__(self, client: Any, database: str) -> None:
        self.client = client
        self.database = client[database]
        self.name = database

    def command(self, name: str, value: Any = 1, doing: str = "", **more: Any) -> dict[str, Any]:
        with translated(doing):
            return dict(self.database.command(name, value, **more))

    def admin(self, name: str, value: Any = 1, doing: str = "", **more: Any) -> dict[str, Any]:
        with translated(doing):
            return dict(self.client.admin.command(name, value, **more))

    def current_operations(self) -> list[dict[str, Any]]:
        with translated("listing what runs"):
            return list(self.client.admin.command("currentOp", **{"$all": True}).get("inprog", []))

    def aggregate(
        self, collection: str, pipeline: Sequence[Mapping[str, Any]], doing: str = ""
    ) -> list[dict[str, Any]]:
        with translated(doing):
            return list(self.database[collection].aggregate(list(pipeline), allowDiskUse=True))

    def rename(self, source: str, target: str) -> None:
        """Within the database; refused by the server where the target exists."""
        self.admin("renameCollection", f"{self.name}.{source}", to=f"{self.name}.{target}", doing=f"renaming {source}")

    def drop(self, collection: str) -> None:
        with translated(f"dropping {collection}"):
            self.database.drop_collection(collection)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # whatever state it is in, it is to be gone
            self.client.close()


@contextlib.contextmanager
def translated(doing: str = "") -> Iterator[None]:
    errors = drivers.pymongo().errors
    try:
        yield
    except errors.OperationFailure as error:
        raise _refused(error, doing) from None
    except errors.ConnectionFailure as error:
        raise Unavailable(f"the server cannot be reached ({_first(error)})") from None
    except (errors.ConfigurationError, errors.InvalidURI) as error:
        raise Refused(f"the connection's options do not fit: {_first(error)}") from None
    except errors.PyMongoError as error:
        raise OpsError(f"{doing or 'asking the server'}: {_first(error)}") from None


def _refused(error: Any, doing: str) -> OpsError:
    details = error.details or {}
    message = str(details.get("errmsg") or error).partition(", full error:")[0]
    code = int(error.code or 0)
    if code == AUTHENTICATION_FAILED:
        return Unavailable(
            "the server does not let this user in: wrong password, or no such user",
            hint="Is auth_database the database in which the user was made?",
        )
    return CommandError(code, message, doing)


def _first(error: Exception) -> str:
    """The driver appends a description of the whole topology to its sentences."""
    return str(error).partition(", Timeout:")[0].partition(" (configured timeouts")[0][:300]


def connect(way: Way, database: str, retries: int = 0, delay: float = 0) -> Mongo:
    """Connected and logged in. Who cannot be reached is tried again; a refused login is not."""
    attempt = 0
    while True:
        try:
            return _connect(way, database)
        except Unreached as error:
            if attempt >= retries:
                tried = f" ({attempt + 1} times)" if attempt else ""
                raise Unavailable(
                    f"{error.what}{tried}", hint="Is the server running, and do host and port lead to it?"
                ) from None
            attempt += 1
        time.sleep(delay)


class Unreached(Unavailable):
    """Nobody answered: another try may find somebody."""


def _connect(way: Way, database: str) -> Mongo:
    pymongo = drivers.pymongo()
    login: dict[str, Any] = {"username": way.user, "password": way.password or ""} if way.user else {}
    with translated():
        client = pymongo.MongoClient(
            [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in way.hosts],
            serverSelectionTimeoutMS=SELECT_TIMEOUT * 1000,
            connectTimeoutMS=CONNECT_TIMEOUT * 1000,
            datetime_conversion="DATETIME_AUTO",  # also dates that Python cannot hold
            **way.options(),
            **login,
        )
    mongo = Mongo(client, database)
    try:
        with translated():
            try:
                client.admin.command("ping")
            except pymongo.errors.ConnectionFailure as error:
                raise Unreached(f"the server cannot be reached ({_first(error)})") from None
    except BaseException:
        mongo.close()
        raise
    return mongo
