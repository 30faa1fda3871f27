# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's lock: one holder, a lease, an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core import clock, lock
from ansible_collections.day2.ops.plugins.module_utils._core.context import Context
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Busy, Interrupted
from ansible_collections.day2.ops.plugins.module_utils._core.model import App


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(App("booking", "production"), tmp_path)


def take(context: Context, **more: object) -> lock.Holder:
    return lock.Lock(context).take(owner="anna", reason="a test", **more)  # type: ignore[arg-type]


def test_a_held_lock_refuses_others_and_says_who_holds_it(context: Context) -> None:
    holder = take(context, job="42")
    with pytest.raises(Busy, match=r"anna \(a test, job 42\) since .* until .* Nothing was changed"):
        take(context)
    assert lock.Lock(context).free(holder.token)
    take(context)


def test_a_lock_ends_with_its_lease(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    take(context, lease=60)
    later = clock.now().timestamp() + 61
    monkeypatch.setattr(clock, "now", lambda: clock.datetime.datetime.fromtimestamp(later, clock.UTC))
    assert lock.Lock(context).holder() is None
    take(context)


def test_a_modules_own_lock_ends_with_its_process(context: Context) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ansible_collections.day2.ops.plugins.module_utils._core import lock\n"
        "from ansible_collections.day2.ops.plugins.module_utils._core.context import Context\n"
        "from ansible_collections.day2.ops.plugins.module_utils._core.model import App\n"
        f"lock.Lock(Context(App('booking', 'production'), Path({str(context.state_dir)!r})))"
        ".take(owner='x', reason='y', own_process=True)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(Busy):
            take(context)
        process.send_signal(signal.SIGKILL)
        process.wait()
    take(context)


def test_renewing_prolongs_and_never_shortens(context: Context) -> None:
    holder = take(context, lease=600)
    renewed = lock.Lock(context).renew(holder.token, 3600)
    assert renewed.until > holder.until
    assert lock.Lock(context).renew(holder.token).until == renewed.until


def test_a_token_that_does_not_hold_the_lock_is_refused(context: Context) -> None:
    take(context)
    with pytest.raises(Busy, match="does not hold the lock"), lock.held(context, "0123456789abcdef", "restore"):
        pass


def test_a_lock_taken_over_is_noticed_before_the_point_of_no_return(context: Context) -> None:
    with lock.held(context, None, "restore") as mine:
        mine.check()
        take(context, takeover=True)
        with pytest.raises(Busy, match="does not hold the lock"):
            mine.check()
    assert lock.Lock(context).holder() is not None, "somebody else's lock must not be freed"


def test_a_play_keeps_its_lock_after_a_module(context: Context) -> None:
    holder = take(context)
    with lock.held(context, holder.token, "backup"):
        pass
    assert lock.Lock(context).holder() is not None


def test_the_lock_file_is_private(context: Context) -> None:
    take(context)
    assert context.home.stat().st_mode & 0o777 == 0o700
    assert lock.Lock(context).path.stat().st_mode & 0o777 == 0o600


def test_an_interruption_that_a_finalizer_swallowed_is_met_again_before_the_point_of_no_return(
    context: Context,
) -> None:
    with lock.held(context, None, "restore") as mine:
        mine.check()
        context.interrupted = Interrupted("interrupted by SIGTERM")
        with pytest.raises(Interrupted, match="SIGTERM"):
            mine.check()
