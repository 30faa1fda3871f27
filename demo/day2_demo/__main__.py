# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's commands, as the programs in demo/ call them."""

from __future__ import annotations

import argparse
import sys

from . import console, playbooks, report, state, story, tools
from .layout import Layout, readable


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("bootstrap", help="make the environment: ansible-core and restic")
    run = commands.add_parser("run", help="the whole demo")
    run.add_argument("--without-restore", action="store_true", help="leave the restore out: the comparison must fail")
    commands.add_parser("compare", help="the application now, compared with how it was before the damage")
    clean = commands.add_parser("clean", help="remove what the demo made")
    clean.add_argument("--all", action="store_true", help="its environment too")
    playbook = commands.add_parser("playbook", help="run a playbook on the sample application")
    playbook.add_argument("words", nargs=argparse.REMAINDER, help="day2.ops.NAME and options of ansible-playbook")
    arguments = parser.parse_args(words)
    layout = Layout.from_environment()
    if arguments.command == "bootstrap":
        return bootstrap(layout)
    if arguments.command == "run":
        return story.run(layout, restore=not arguments.without_restore)
    if arguments.command == "compare":
        return compare(layout)
    if arguments.command == "clean":
        return remove(layout, everything=arguments.all)
    if not arguments.words or not layout.venv.exists():
        raise console.DemoError("usage: demo/playbook day2.ops.NAME [options of ansible-playbook], after make demo")
    playbooks.replace_by(layout, arguments.words)
    return 1


def bootstrap(layout: Layout) -> int:
    found = tools.ensure(layout)
    console.say(f"{found} ({'made' if found.made else 'there already'}, in {readable(layout.environment)})")
    return 0


def compare(layout: Layout) -> int:
    before = state.State.load(layout.before)
    if not report.same(before, state.take(layout.database, layout.uploads)):
        return 1
    console.say(f"{console.amount(before.rows, 'row')} and {console.amount(before.file_count, 'file')} are as before")
    return 0


def remove(layout: Layout, *, everything: bool) -> int:
    if not layout.ours:
        console.say(f"{readable(layout.base)}: nothing of the demo is there")
        return 0
    with layout.lock():
        layout.reset()
        if everything:
            layout.remove_all()
    kept = "" if everything else f"; the environment stays in {readable(layout.environment)} (demo/clean --all)"
    console.say(f"removed what the demo made below {readable(layout.base)}{kept}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except console.DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
