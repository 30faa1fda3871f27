# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Asking the Docker engine of this host, through its SDK."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional

from .._core import drivers
from .._core.context import Context
from .._core.errors import OpsError, Refused, Unavailable
from .containers import Container, Listed, Volume, matching, missing, not_running, parse, parse_listed, same_mounts

SOCKET = "/var/run/docker.sock"


@dataclasses.dataclass(frozen=True)
class Throwaway:
    """A container without a network, in which one program works on one directory of this host."""

    name: str
    image: str
    argv: tuple[str, ...]
    directory: Path
    inside: str  # where the directory is in the container
    memory: int  # bytes, swap included
    environment: Mapping[str, str]
    labels: Mapping[str, str]


class Docker:
    """The engine of this host; `with Docker() as docker:`. Every failure to reach it is `Unavailable`."""

    def __init__(self) -> None:
        self._sdk = drivers.docker()
        with self._errors():
            self.client = self._sdk.from_env(version="auto")

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()

    def list(self, everything: bool = True) -> Sequence[Listed]:
        """All containers, or the running ones only."""
        with self._errors():
            return [parse_listed(summary) for summary in self.client.api.containers(all=everything)]

    def inspect(self, identifier: str) -> Optional[Container]:
        """A container by its id or name; None when it is gone."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            return parse(self.client.api.inspect_container(identifier))
        return None

    def containers(self, everything: bool = True) -> Iterator[Container]:
        """All containers in full; one that goes away meanwhile is left out."""
        for listed in self.list(everything):
            container = self.inspect(listed.id)
            if container is not None:
                yield container

    def find(self, reference: str, stopped_too: bool = False) -> Container:
        """The container that a user's `NAME` or `PROJECT/SERVICE` means.

        A service with several running replicas is accepted when all of them have the same mounts, so
        that it does not matter which one is asked; otherwise the user must name one.
        """
        listed = self.list()
        found = [container for one in matching(reference, listed) if (container := self.inspect(one.id))]
        if not found:
            raise missing(reference, listed)
        running = [container for container in found if container.running]
        if not running and not stopped_too:
            raise not_running(found[0], found[0].exit_code)
        if len(running) > 1 and not same_mounts(running):
            raise Refused(
                f'service "{reference}" has {len(running)} running containers with data of their own',
                hint=f"Name one of them: {', '.join(container.name for container in running)}.",
            )
        return (running or found)[0]

    def stop(self, identifier: str, timeout: Optional[int] = None) -> None:
        """Stop a container and wait for its end; nothing happens where it is stopped or gone.

        `timeout`: seconds until it is killed, its own grace period where None. After this it does not
        restart by its restart policy, until the engine itself is restarted.
        """
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            inspected = self.client.api.inspect_container(identifier)
            grace = timeout if timeout is not None else inspected["Config"].get("StopTimeout")
            # Named always, because the SDK itself waits for the answer only as long as it knows of.
            self.client.api.stop(identifier, timeout=10 if grace is None else grace)

    def start(self, identifier: str) -> None:
        try:
            with self._errors():
                self.client.api.start(identifier)
        except self._sdk.errors.NotFound:
            raise Unavailable(f"container {identifier[:12]} is gone") from None

    def start_throwaway(self, wanted: Throwaway) -> None:
        """Start it as this process's own user, so that what it makes in the directory is ours to remove."""
        with self._errors():
            self.client.api.create_container(
                wanted.image,
                name=wanted.name,
                entrypoint=[wanted.argv[0]],
                command=list(wanted.argv[1:]),
                user=f"{os.geteuid()}:{os.getegid()}",
                environment=dict(wanted.environment),
                labels=dict(wanted.labels),
                healthcheck={"test": ["NONE"]},
                working_dir="/",
                host_config=self.client.api.create_host_config(
                    network_mode="none",
                    binds={str(wanted.directory): {"bind": wanted.inside, "mode": "rw"}},
                    mem_limit=wanted.memory,
                    memswap_limit=wanted.memory,
                    oom_score_adj=1000,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                ),
            )
            self.client.api.start(wanted.name)

    def remove(self, name: str) -> None:
        """Remove a container with its anonymous volumes, running or not; nothing happens where there is none."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            self.client.api.remove_container(name, v=True, force=True)

    def memory_limit(self, identifier: str) -> int:
        """Bytes that a container may use; 0 where it has no limit."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            return int(self.client.api.inspect_container(identifier)["HostConfig"].get("Memory") or 0)
        return 0

    def logs(self, identifier: str, since: datetime.datetime) -> str:
        """What a container has written since then, to either of its outputs."""
        with self._errors():
            content: bytes = self.client.api.logs(identifier, stdout=True, stderr=True, since=int(since.timestamp()))
        return content.decode(errors="replace")

    def image_id(self, name: str) -> str:
        """What a name stands for now; "" where there is no such image."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            return str(self.client.api.inspect_image(name)["Id"])
        return ""

    def volume(self, name: str) -> Volume:
        try:
            with self._errors():
                data = self.client.api.inspect_volume(name)
        except self._sdk.errors.NotFound:
            raise self._no_volume(name) from None
        return Volume(data["Name"], data["Driver"], Path(data.get("Mountpoint") or "/"), data.get("Options") or {})

    def network_driver(self, network_id: str) -> str:
        """bridge, overlay, macvlan …; "" when the network is gone."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            return str(self.client.api.inspect_network(network_id)["Driver"])
        return ""

    def repo_digests(self, image_id: str) -> tuple[str, ...]:
        """`REPOSITORY@sha256:…` of an image; none for one that was built here and never pushed."""
        with self._errors(), contextlib.suppress(self._sdk.errors.NotFound):
            return tuple(self.client.api.inspect_image(image_id).get("RepoDigests") or ())
        return ()

    def _no_volume(self, name: str) -> Unavailable:
        with self._errors():
            known = [volume["Name"] for volume in self.client.api.volumes().get("Volumes") or []]
        near = difflib.get_close_matches(name, known, 3, cutoff=0.5) or [one for one in known if one.endswith(name)]
        hint = f"Did you mean {' or '.join(near)}?" if near else "See docker volume ls."
        return Unavailable(f'there is no Docker volume "{name}" on this host', hint=hint)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._sdk.errors.NotFound:
            raise
        except self._sdk.errors.APIError as error:
            raise OpsError(f"Docker refused ({error.explanation or _short(error)})") from None
        # OSError: the SDK lets requests' own errors through (a lost connection, a timeout).
        except (self._sdk.errors.DockerException, OSError) as error:
            raise Unavailable(
                f"Docker cannot be asked ({_short(error)})",
                hint="Is the engine running, and may this user use it?",
            ) from None


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def reachable(context: Context, needed: bool) -> bool:
    """Whether this host has a Docker engine that this process may and can ask.

    Where nothing that is described needs Docker, an engine that cannot be asked earns a warning, because
    containers that use the same files are not found then.
    """
    if needed or os.environ.get("DOCKER_HOST"):
        return True
    if not os.path.exists(SOCKET):
        return False
    if importlib.util.find_spec("docker") is None:
        reason = "the Python package docker is not installed"
    elif not os.access(SOCKET, os.W_OK):
        reason = "this user may not"
    else:
        return True
    context.warn(f"This host has a Docker engine, which was not asked which containers use the data: {reason}.")
    return False
