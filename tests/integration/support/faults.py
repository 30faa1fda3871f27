# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaking things at a chosen moment: restic that kills, dies, fills a disk; locks, small disks, watchers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.day2.ops.plugins.module_utils._core.process import Child, Command
from ansible_collections.day2.ops.plugins.module_utils._store import manifest as manifests

from tests.integration.support.recovery import World

T = TypeVar("T")

# What the wrapper does at a moment; $PPID is the module, $$ becomes restic.
KILL_THE_MODULE = "kill -9 $PPID; exit 1"
KILL_THE_MODULE_AFTERWARDS = '"$real" "$@"; kill -9 $PPID; exit 1'
_DETACHED = "</dev/null >/dev/null 2>&1 &"

_WRAPPER = """#!/bin/sh
real='{real}'
directory='{directory}'
echo "$*" >> "$directory/calls"
number=$(wc -l < "$directory/calls")
nth=$(grep -c "^$1\\>" "$directory/calls")
for script in "$directory/at-$number" "$directory/at-$1-$nth" "$directory/at-all"; do
  if [ -f "$script" ]; then . "$script"; fi
done
exec "$real" "$@"
"""


def when(condition: str, action: str) -> str:
    """Once a shell condition holds while the real restic runs, do something."""
    return f"(until {condition}; do sleep 0.01; done; {action}) {_DETACHED}"


def kill_restic_when(condition: str) -> str:
    return when(condition, "kill -9 $$")


def kill_the_module_when(condition: str) -> str:
    return when(condition, "kill -9 $PPID")


def hold_until(file: Path) -> str:
    """restic begins only when a file is there."""
    return f"until [ -e {file} ]; do sleep 0.02; done"


def pause_after(size: int, pipe: Path) -> str:
    """So many bytes come out of restic, then nothing for two seconds, then the rest."""
    return f'rm -f {pipe}; mkfifo {pipe}; {{ head -c {size}; sleep 2; cat; }} < {pipe} & exec "$real" "$@" > {pipe}'


def slow_input(rate: int, pipe: Path) -> str:
    """restic gets its input at so many bytes per second."""
    code = f"import os, time\nwhile data := os.read(0, {rate // 10}): os.write(1, data); time.sleep(0.1)"
    return f'exec 3<&0; rm -f {pipe}; mkfifo {pipe}; python3 -c "{code}" <&3 >{pipe} & exec "$real" "$@" 3<&- <{pipe}'


def any_file(directory: Path) -> str:
    return f'[ -n "$(ls -A {directory} 2>/dev/null | grep -v tmp)" ]'


def another_file(directory: Path, marker: Path) -> str:
    """A file below a directory that is newer than a marker (made now)."""
    marker.touch()
    return f'[ -n "$(find {directory} -type f -newer {marker} 2>/dev/null)" ]'


@dataclasses.dataclass
class Wrapper:
    """A restic in front of the real one, which writes down its calls and does what is planned for one."""

    world: World
    real: str = "restic"

    def __post_init__(self) -> None:
        self.directory = self.world.root / "wrapper"
        self.directory.mkdir()
        (self.directory / "calls").touch()
        path = self.directory / "restic"
        path.write_text(_WRAPPER.format(real=self.real, directory=self.directory))
        path.chmod(0o755)
        self.world.restic = str(path)

    def at(self, moment: str, script: str) -> None:
        """`moment`: the number of the call (`3`), or of a verb's (`backup-2`), or `all`."""
        (self.directory / f"at-{moment}").write_text(script + "\n")

    def calm(self) -> None:
        """No more faults; counting begins anew."""
        for path in self.directory.glob("at-*"):
            path.unlink()
        (self.directory / "calls").write_text("")

    @property
    def calls(self) -> list[str]:
        """What was asked of restic since, without `version`, which opens no repository."""
        lines = (self.directory / "calls").read_text().splitlines()
        return [line for line in lines if line != "version"]


@contextlib.contextmanager
def locked_by_another_restic(world: World, verb: str = "prune") -> Iterator[subprocess.Popen[bytes]]:
    """Another restic holds an exclusive lock: stopped (SIGSTOP) right after it took it."""
    before = set(world.locks())
    other = subprocess.Popen(
        ["restic", verb], env=world.restic_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 20
        while not [name for name in set(world.locks()) - before if "tmp" not in name]:
            assert time.monotonic() < until, "the other restic took no lock"
            assert other.poll() is None, "the other restic ended before it could be stopped"
        other.send_signal(signal.SIGSTOP)
        yield other
    finally:
        with contextlib.suppress(ProcessLookupError):
            other.send_signal(signal.SIGCONT)
        other.wait(60)


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Path]:
    """A file system of this size, mounted at a new directory (needs root)."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "day2t", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(directory: Path) -> str:
    """A shell command that leaves no room in a directory's file system."""
    return f"cat /dev/zero > {directory}/ballast 2>/dev/null"


@contextlib.contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Look as often as possible, in a thread, while the body runs."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def watch() -> None:
        while not stop.is_set():
            try:
                look()
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def wait_for(look: Callable[[], T], seconds: float = 20, what: str = "it") -> T:
    """Look until something is seen; what was seen."""
    until = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return seen


def changed_tool(tool: str, script: str) -> Callable[[], None]:
    """A prelude: the module runs a tool (on this host or by docker exec) as `"$@"` of a shell script."""

    def prelude() -> None:
        started = Child.__init__

        def start(self: Child, command: Command, **options: Any) -> None:
            names = [os.path.basename(word) for word in command.argv]
            if tool in names and "--version" not in names:
                command = dataclasses.replace(command, argv=("sh", "-c", script, "sh", *command.argv))
            started(self, command, **options)

        Child.__init__ = start  # type: ignore[method-assign]

    return prelude


def running_tools(key: str, tool: str) -> list[int]:
    """Processes of a tool that runs of this application started, on this host or in its containers."""
    mark, found = f"DAY2_RUN={key}:".encode(), []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                name = (directory / "comm").read_text().strip()
                words = (directory / "cmdline").read_bytes()  # none yet while the kernel makes it
                works = bool(words) and b"--version" not in words
                # By its name, or by the library loader that was given it.
                named = name == tool[:15] or (name.startswith("ld-linux") and f"/{tool}\0".encode() in words)
                if named and works and mark in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
    return found


def flip_bytes(path: Path) -> None:
    """Damage a file in its middle, as a failing disk would, keeping its length."""
    size = path.stat().st_size
    path.chmod(0o600)
    with open(path, "r+b") as stream:
        stream.seek(size // 2)
        content = stream.read(16)
        stream.seek(size // 2)
        stream.write(bytes(byte ^ 0xFF for byte in content))
        stream.flush()
        os.fsync(stream.fileno())


def altered(world: World, backup: str, change: Any, summary: Any = None) -> None:
    """Store the manifest of a backup once more, changed, in place of the true one."""
    old = next(one for one in world.with_tag(f"backup={backup}") if "role=manifest" in one["tags"])
    manifest = json.loads(world.call_restic("dump", "-q", old["id"], "/manifest.json").stdout)
    change(manifest)
    tags = list(old["tags"])
    if summary is not None:
        packed = manifests.unpack(next(tag for tag in tags if tag.startswith("summary="))[8:])
        summary(packed)
        tags = [tag for tag in tags if not tag.startswith("summary=")] + [f"summary={manifests.pack(packed)}"]
    words = [word for tag in tags for word in ("--tag", tag)]
    content = json.dumps(manifest).encode()
    arguments = ["backup", "--stdin", "--stdin-filename", "manifest.json", "--host", world.key, *words]
    world.call_restic(*arguments, input=content)
    world.call_restic("forget", old["id"])
