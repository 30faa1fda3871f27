# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Programs: list argv, secrets in the environment, an own process group, no silent end.

Popen and not AnsibleModule.run_command, because bulk data stream through these programs and every
exit code of a pipeline counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Optional

from .errors import OpsError, ToolFailed, Unavailable

TAIL = 8192  # bytes of standard error that are kept for the message
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)  # that ask a module to end
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Command:
    """What to run on this host. `env` is added to the environment and may hold secrets."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user: Optional[str] = None  # run as this user (needs root)


@dataclasses.dataclass(frozen=True)
class Completed:
    argv: tuple[str, ...]
    rc: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace").strip()

    @property
    def stderr_tail(self) -> str:
        return tail(self.stderr)


def tail(stderr: bytes) -> str:
    return stderr[-TAIL:].decode(errors="replace").strip()


def ending(rc: int) -> str:
    """How a program ended, in words. `docker exec` and a shell give 128 and the signal for one that was killed."""
    number = -rc if rc < 0 else rc - 128
    killed = number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT)
    return f"was killed by signal {number}" if rc < 0 or killed else f"ended with {rc}"


def failed(argv: Sequence[str], rc: int, stderr_tail: str, what: str = "", hint: str = "") -> ToolFailed:
    """The error for a program that ended with an exit code it should not have."""
    last = stderr_tail.splitlines()[-1] if stderr_tail else "no message"
    return ToolFailed(
        what or f"{os.path.basename(argv[0])} {ending(rc)}: {last}",
        cmd=list(argv),
        rc=rc,
        stderr_tail=stderr_tail,
        hint=hint,
    )


class Child:
    """A running program. Its standard error is drained all the time and its end is kept.

    It gets SIGKILL when the thread that started it ends (PR_SET_PDEATHSIG), so start it from a
    thread that outlives it: a killed module must not leave restic to store half a stream.
    """

    def __init__(
        self,
        command: Command,
        *,
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.PIPE,
        keep: int = TAIL,
    ) -> None:
        self.argv = command.argv
        self._keep = keep  # bytes of standard error
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **command.env}
        identity: dict[str, Any] = {}
        if command.user:
            identity = _identity(command.user)
            environment.update({"HOME": identity.pop("home"), "USER": command.user, "LOGNAME": command.user})
        self._popen = _start(command.argv, env=environment, stdin=stdin, stdout=stdout, **identity)
        self._stderr = bytearray()
        self._stderr_bytes = 0
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert_pipe = self._popen.stdin
        if assert_pipe is None:
            raise OpsError(f"{self.argv[0]} was started without a standard input")
        return assert_pipe

    @property
    def stdout(self) -> IO[bytes]:
        pipe = self._popen.stdout
        if pipe is None:
            raise OpsError(f"{self.argv[0]} was started without a standard output")
        return pipe

    @property
    def rc(self) -> Optional[int]:
        return self._popen.poll()

    @property
    def written(self) -> int:
        """Bytes that it has written to files and pipes so far; 0 where that cannot be seen (proc(5))."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            counters = Path(f"/proc/{self.pid}/io").read_text(encoding="ascii")
            return int(counters.partition("wchar:")[2].split()[0])
        return 0

    @property
    def stderr_tail(self) -> str:
        return bytes(self._stderr[-self._keep :]).decode(errors="replace").strip()

    @property
    def stderr_cut(self) -> bool:
        """Whether there was more on standard error than was kept."""
        return self._stderr_bytes > self._keep

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end; the exit code (negative: the signal)."""
        try:
            rc = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ToolFailed(
                f"{self.argv[0]} did not end within {timeout} s and was killed", cmd=list(self.argv)
            ) from None
        self._drain.join(timeout=5)
        return rc

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group, if it still runs."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        self.close()

    def close(self) -> None:
        """Close our ends of its pipes."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def _drain_stderr(self) -> None:
        pipe = self._popen.stderr
        if pipe is None:
            return
        with pipe:
            for chunk in iter(lambda: pipe.read1(65536), b""):  # type: ignore[attr-defined]
                self._stderr += chunk
                self._stderr_bytes += len(chunk)
                if len(self._stderr) > 4 * self._keep:
                    del self._stderr[: -2 * self._keep]


def _start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    started: list[subprocess.Popen[bytes]] = []
    try:
        with _signals_afterwards():
            # Streams, and every exit code of a pipeline, are what AnsibleModule.run_command does not give.
            popen = subprocess.Popen(  # pylint: disable=ansible-bad-function,subprocess-popen-preexec-fn
                list(argv),
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                cwd="/",
                **options,
            )
            started.append(popen)
        return popen
    except FileNotFoundError:
        raise Unavailable(f"{argv[0]} is not installed", cmd=list(argv)) from None
    except OSError as error:
        raise OpsError(f"{argv[0]} cannot be run: {error.strerror}", cmd=list(argv)) from None
    except BaseException:  # a signal has asked us to end, and nobody knows the program yet
        for popen in started:
            popen.kill()
            popen.wait()
        raise


@contextlib.contextmanager
def _signals_afterwards() -> Iterator[None]:
    """Let signals wait until a program is started: Python drops what a handler raises while it forks."""
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread only
        yield
        return
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for late in came:
            signal.raise_signal(late)


def run(
    command: Command,
    *,
    stdin: Optional[bytes] = None,
    timeout: Optional[float] = 3600,
    ok: Sequence[int] = (0,),
) -> Completed:
    """Run a program to its end. An exit code that is not in `ok` raises `ToolFailed`."""
    child = Child(command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    feeder = None
    if stdin is not None:
        feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
        feeder.start()
    timer = threading.Timer(timeout, child.signal, args=(signal.SIGKILL,)) if timeout else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        stdout = child.stdout.read()
        rc = child.wait()
    except BaseException:
        child.kill()
        raise
    finally:
        if timer:
            timer.cancel()
        child.close()
    if feeder:
        feeder.join(timeout=5)
    completed = Completed(command.argv, rc, stdout, child.stderr_tail.encode())
    if rc not in ok:
        raise failed(command.argv, rc, completed.stderr_tail)
    return completed


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError):
        pipe.write(data)
    with contextlib.suppress(OSError):
        pipe.close()


def identity(pid: int) -> Optional[str]:
    """What tells a process from a later one with the same id, `BOOT_ID:PID:START_TIME`; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{pid}:{fields[19]}"  # a zombie does nothing any more


def pid_of(process: str) -> int:
    """The id in an `identity`."""
    return int(process.split(":")[1])


def _die_with_parent() -> None:
    # After Popen's own setuid, because a change of credentials clears it (prctl(2)).
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _identity(user: str) -> dict[str, Any]:
    import grp
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OpsError(f"there is no user {user} on this host") from None
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "home": entry.pw_dir}
