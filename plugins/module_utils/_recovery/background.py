# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""One function in a thread of its own, with its result or its error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Optional, TypeVar

from .._core.errors import OpsError

T = TypeVar("T")


class Background(Generic[T]):
    """Runs at once. A daemon thread: when the main work fails, nobody waits for it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._value: Optional[T] = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for the end; the value, or the error raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """When what is done meanwhile fails, wait for the end before that is said: a program that runs in the
        background may hold a lock. Not when the module is to end at once."""
        try:
            yield
        except OpsError:
            self._thread.join()
            raise

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # handed over to whoever asks for the result
            self._error = error
