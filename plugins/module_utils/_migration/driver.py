# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Runs inside the application's own Python, where its Alembic is, and does what it is asked line by line.

It arrives on standard input (`BOOT`), needs nothing but the standard library and the application's Alembic, and
answers on what was standard output with one JSON object per line. What the application prints goes to standard error.
One process serves a whole migration, so that starting Python and importing the application is paid once.

Requests: `open`, `look`, `preview`, `migrate`, `compare`, `close`; see the functions of these names.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import re
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

# Standard input is kept from the application, and the length tells where this file ends and the requests begin.
BOOT = (
    "import os;i=os.fdopen(os.dup(0),'rb');n=int(i.readline());"
    "exec(compile(i.read(n),'day2_driver','exec'),{'__name__':'day2_driver','REQUESTS':i})"
)
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|PWD", re.I)
_DDL = re.compile(r"\s*(CREATE|ALTER|DROP|RENAME|TRUNCATE)\s+(?!USER|ROLE|LOGIN)(?P<rest>.*)", re.I | re.S)


class Stop(Exception):
    """What the parent is told in place of an answer. `kind`: what failed, for its own words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Tool:
    """Alembic with the application's configuration, loaded once."""

    def __init__(self, requests: Iterable[bytes], answers: Any) -> None:
        self.requests = iter(requests)
        self.answers = answers
        self.config: Any = None
        self.script: Any = None
        self.application: Any = None
        self.settings: Mapping[str, Any] = {}

    def say(self, **answer: Any) -> None:
        self.answers.write(json.dumps(answer, default=str) + "\n")
        self.answers.flush()

    def hear(self) -> dict[str, Any]:
        for line in self.requests:
            if line.strip():
                request: dict[str, Any] = json.loads(line)
                return request
        raise SystemExit(0)  # nobody listens any more: what is begun ends with its transaction

    def serve(self) -> None:
        verbs = {
            "open": self.open,
            "look": self.look,
            "preview": self.preview,
            "migrate": self.migrate,
            "compare": self.compare,
        }
        while True:
            request = self.hear()
            if request["do"] == "close":
                return
            try:
                self.say(ok=True, **verbs[request["do"]](request))
            except Stop as stop:
                self.say(ok=False, kind=stop.kind, error=str(stop))
            except Exception as error:
                self.say(ok=False, kind="error", error=_said(error), trace=_tail())

    # Loading -------------------------------------------------------------------------------------

    def open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Load the tool; what revisions the code has."""
        self.settings = request
        os.environ.update(request.get("environment") or {})
        if request.get("directory"):
            os.chdir(request["directory"])
        try:
            import alembic
            from alembic.script import ScriptDirectory
        except ImportError as error:
            raise Stop("no_tool", f"{sys.executable} has no Alembic ({error})") from None
        _imports_from_source([])
        if request["tool"] == "flask":
            self.config = self._flask()
        else:
            self.config = self._alembic()
        self.script = ScriptDirectory.from_config(self.config)
        locations = [self.script.dir, *(getattr(self.script, "_version_locations", None) or ())]
        _imports_from_source([os.path.realpath(path) for path in locations])
        return {
            "alembic": alembic.__version__,
            "python": sys.version.split()[0],
            "executable": sys.executable,
            "script": os.path.realpath(self.script.dir),
            "heads": list(self.script.get_heads()),
            "secrets": _secrets(os.environ),
        }

    def _alembic(self) -> Any:
        from alembic.config import Config

        path = self.settings["config"]
        if not os.path.exists(path):
            raise Stop("no_config", f"there is no {os.path.join(os.getcwd(), path)}")
        options = argparse.Namespace(x=list(self.settings.get("x") or []) or None, config=path, name="alembic")
        if path.endswith(".toml"):  # Alembic 1.16 and newer
            return Config(toml_file=path, cmd_opts=options)
        return Config(path, cmd_opts=options)

    def _flask(self) -> Any:
        try:
            from flask.cli import ScriptInfo, load_dotenv
            from flask.helpers import get_load_dotenv
            from flask_migrate import Migrate  # noqa: F401
        except ImportError as error:
            raise Stop("no_tool", f"{sys.executable} has no Flask-Migrate ({error})") from None
        # As the program `flask` does, which is not what runs here.
        if get_load_dotenv(True):
            load_dotenv()
        self.application = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
        self.application.app_context().push()
        extension = self.application.extensions.get("migrate")
        if extension is None:
            raise Stop("no_tool", "the Flask application has no Flask-Migrate (Migrate(app, db) was not called)")
        directory = self.settings.get("migrations") or extension.directory
        if not os.path.isdir(directory):
            raise Stop("no_config", f"there is no {os.path.join(os.getcwd(), directory)}")
        return extension.migrate.get_config(directory, list(self.settings.get("x") or []) or None)

    def environment(self, fn: Any, **options: Any) -> None:
        """Run the application's env.py with a function of ours in the place of Alembic's commands."""
        from alembic.runtime.environment import EnvironmentContext

        made = EnvironmentContext(self.config, self.script, fn=fn, **options)
        configure = made.configure

        def one_by_one(*args: Any, **keywords: Any) -> None:
            """Each revision in a transaction of its own, whatever env.py says."""
            keywords["transaction_per_migration"] = True
            configure(*args, **keywords)

        # No subclass: Alembic's proxy, `alembic.context`, knows its own class only.
        made.configure = one_by_one
        with made:
            self.script.run_env()

    # Looking -------------------------------------------------------------------------------------

    def look(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the database is at, which database it is, and what a migration to `target` would run.

        `closely`: whether to read the code of what would be upgraded; that of a downgrade always is.
        """
        seen: dict[str, Any] = {}

        def asked(heads: Any, context: Any) -> list[Any]:
            seen["current"] = sorted(heads) if not isinstance(heads, str) else [heads]
            seen["version_table"] = context.version_table
            seen["database"] = _database(context.connection, request.get("proof"))
            return []

        try:
            # Without `dont_mutate` Alembic would make its version table in an empty database.
            self.environment(asked, dont_mutate=True)
        except Exception as error:
            if not seen and _is_of_a_connection(error):
                raise Stop("connect", _said(error)) from error
            raise
        if not seen:
            raise Stop("no_environment", "env.py did not run any migrations: it never calls context.run_migrations")
        seen["unknown"] = [one for one in seen["current"] if self._get(one) is None]
        seen["secrets"] = seen["database"].pop("secrets", [])
        if not seen["unknown"]:
            seen.update(self._plan(seen["current"], request.get("target") or "", request.get("closely", True)))
            seen["since"] = self._since(seen["current"], request.get("since") or [])
        seen["heads"] = list(self.script.get_heads())
        return seen

    def _since(self, current: list[str], known: list[str]) -> list[dict[str, Any]]:
        """What was run between these revisions and the current ones; nothing where they do not follow one another."""
        if not known or set(known) == set(current) or not set(known) <= self._below(current):
            return []
        return [self._step(step) for one in current for step in self.script._upgrade_revs(one, tuple(known))]

    def _get(self, revision: str) -> Any:
        try:
            return self.script.get_revision(revision)
        except Exception:  # Alembic's own kinds of it differ by version
            return None

    def _plan(self, current: list[str], target: str, closely: bool) -> dict[str, Any]:
        heads = list(self.script.get_heads())
        if target in ("head", "heads"):
            wanted: Any = target
            downwards = False
            if target == "head" and len(heads) > 1:
                return {"several_heads": heads, "steps": [], "direction": "upgrade", "target": heads}
            resolved = heads
        elif target == "base":
            wanted, downwards, resolved = "base", True, []
        else:
            script = self._get(target)
            if script is None:
                raise Stop("unknown_target", target)
            wanted = script.revision
            resolved = [wanted]
            downwards = wanted in self._below(current) and wanted not in current
        steps = (
            self.script._downgrade_revs(wanted, tuple(current))
            if downwards
            else self.script._upgrade_revs(wanted, tuple(current))
        )
        return {
            "steps": [self._step(step, closely or downwards) for step in steps],
            "direction": "downgrade" if downwards else "upgrade",
            "target": resolved,
        }

    def _below(self, revisions: Iterable[str]) -> set[str]:
        """All that these revisions are built on, themselves included."""
        found: set[str] = set()
        waiting = list(revisions)
        while waiting:
            one = self._get(waiting.pop())
            if one is not None and one.revision not in found:
                found.add(one.revision)
                waiting += _tuple(one.down_revision) + _tuple(one.dependencies)
        return found

    def _step(self, step: Any, closely: bool = False) -> dict[str, Any]:
        """`closely`: with what its code shows; to read that takes as long as a small revision."""
        script = step.revision
        source = _source(script.path) if closely else None
        return {
            "revision": script.revision,
            "down": _tuple(script.down_revision),
            "message": (script.doc or "").strip(),
            "calls": _calls(source, "upgrade" if step.is_upgrade else "downgrade"),
            "empty_downgrade": _is_empty(source, "downgrade"),
            "outside": _outside(script.path),
        }

    def preview(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The SQL of each of these revisions, rendered offline. One that reads rows cannot be."""
        from alembic.runtime.migration import MigrationStep

        found = []
        kept = self.config.output_buffer
        for revision in request["revisions"]:
            script = self._get(revision)
            buffer = io.StringIO()
            self.config.output_buffer = buffer
            upwards = request["direction"] == "upgrade"
            make = MigrationStep.upgrade_from_script if upwards else MigrationStep.downgrade_from_script
            step = make(self.script.revision_map, script)
            start = list(_tuple(script.down_revision)) or "base" if upwards else [script.revision]
            entry = {"revision": revision, "complete": True, "reason": ""}
            try:
                self.environment(lambda heads, context, step=step: [step], as_sql=True, starting_rev=start)
            except Exception as error:
                entry.update(complete=False, reason=_said(error))
            entry["sql"] = buffer.getvalue()
            found.append(entry)
        self.config.output_buffer = kept
        return {"sql": found}

    def compare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What Alembic itself finds different between the database and the application's models."""
        found: dict[str, Any] = {"lines": [], "possible": False}

        def asked(heads: Any, context: Any) -> list[Any]:
            from alembic.autogenerate import compare_metadata

            metadata = context.opts.get("target_metadata")
            if metadata is not None and context.connection is not None:
                found["possible"] = True
                found["lines"] = [_difference(one) for one in compare_metadata(context, metadata)]
            return []

        self.environment(asked, dont_mutate=True)
        return found

    # Migrating -----------------------------------------------------------------------------------

    def migrate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One revision after the other on one connection. Before each the parent is asked."""
        state: dict[str, Any] = {"revision": None, "statements": [], "begun": 0.0, "connected": False}

        def steps(heads: Any, context: Any) -> Iterator[Any]:
            state["connected"] = True
            self._prepare(context.connection, request, state)
            reached = sorted(heads)
            make = self.script._upgrade_revs if request["direction"] == "upgrade" else self.script._downgrade_revs
            for step in make(request["target"], heads):
                reached = self._finished(state, context) or reached
                self.say(
                    event="next",
                    revision=step.revision.revision,
                    message=(step.revision.doc or "").strip(),
                    heads=reached,
                )
                if self.hear()["do"] != "go":
                    raise Stop("ended", "the parent ended the migration")
                state.update(revision=step.revision.revision, statements=[], begun=time.monotonic())
                yield step
            self._finished(state, context)

        try:
            self.environment(steps)
        except Exception as error:
            if isinstance(error, Stop):
                raise
            if not state["connected"] and _is_of_a_connection(error):
                raise Stop("connect", _said(error)) from error
            if state["revision"] is None:  # between two revisions
                raise
            return {
                "failed": state["revision"],
                "error": _said(error),
                "trace": _tail(),
                "statements": [
                    _short(statement) + ("" if ended else " (did not end)")
                    for statement, ended in state["statements"][-20:]
                ],
            }
        return {"failed": None}

    def _finished(self, state: dict[str, Any], context: Any) -> list[str]:
        """Report the revision that has just been committed; the heads that the database has now."""
        if state["revision"] is None:
            return []
        revision, seconds = state["revision"], round(time.monotonic() - state["begun"], 3)
        state["revision"] = None
        reached = sorted(context.get_current_heads())
        definitions = [_short(one) for one, _ended in state["statements"] if _DDL.match(one)]
        self.say(event="done", revision=revision, seconds=seconds, heads=reached, definitions=definitions)
        return reached

    def _prepare(self, connection: Any, request: Mapping[str, Any], state: dict[str, Any]) -> None:
        from sqlalchemy import event

        wait = request.get("statement_lock_timeout") or 0
        if wait and connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET lock_timeout = '{int(wait)}s'")
        elif wait and connection.dialect.name in ("mysql", "mariadb"):
            connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {int(wait)}")

        def begun(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
            state["statements"].append([statement, False])

        def ended(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
            state["statements"][-1][1] = True

        event.listen(connection, "before_cursor_execute", begun)
        event.listen(connection, "after_cursor_execute", ended)


# What is said of a database ------------------------------------------------------------------------


def _database(connection: Any, proof: Any) -> dict[str, Any]:
    """Which database a connection leads to: by its URL, and by what only that server can know (`proof`)."""
    url = connection.engine.url
    name = connection.dialect.name
    found: dict[str, Any] = {
        "dialect": name,
        "driver": connection.dialect.driver,
        "user": url.username,
        "host": url.host,
        "port": url.port,
        "database": url.database,
        "secrets": _spellings(url.password),
    }

    def ask(sql: str) -> Any:
        return connection.exec_driver_sql(sql).scalar()

    if name == "sqlite":
        path = next((row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main"), "")
        found["path"] = path
        if path and os.path.exists(path):
            status = os.stat(path)
            found["file"] = [status.st_dev, status.st_ino]
    elif name in ("mysql", "mariadb"):
        found["database"] = ask("SELECT DATABASE()")
        if proof:
            found["holder"] = ask(f"SELECT IS_USED_LOCK('day2_{int(proof):x}')")
    elif name == "postgresql":
        found["database"] = ask("SELECT current_database()")
        if proof:
            high, low = int(proof) >> 32, int(proof) & 0xFFFFFFFF
            found["holder"] = ask(
                "SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database ="
                " (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
                f" AND classid::bigint = {high} AND objid::bigint = {low}"
            )
    return found


def _spellings(password: Any) -> list[str]:
    text = str(password or "")
    return sorted({text, quote(text, safe=""), text.replace("%", "%%")} - {""})


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Values that must not be shown: of variables with such names, and passwords inside URLs."""
    found = {value for name, value in environment.items() if _SECRET.search(name) and len(value) >= 6}
    for value in environment.values():
        match = re.match(r"^[\w+.-]+://[^:/@]*:(?P<password>.+)@", value)
        if match:
            found.update((match["password"], value))
    return sorted(found)


# What is said of a revision ------------------------------------------------------------------------


def _tuple(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def _source(path: str) -> Any:
    try:
        with open(path, "rb") as stream:
            return ast.parse(stream.read())
    except (OSError, SyntaxError, TypeError):  # a revision that is kept as bytecode only
        return None


def _outside(path: str) -> bool:
    """Whether something of it may run outside of its transaction, and so stay when it fails."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return bool(re.search(r"autocommit|CONCURRENTLY|isolation_level|\bcommit\b", stream.read(), re.I))
    except (OSError, TypeError):
        return True


def _function(tree: Any, name: str) -> Any:
    if tree is None:
        return None
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _calls(tree: Any, name: str) -> list[str]:
    """Calls in it that lose something, as they are written: drop_table, drop_column, batch ones too."""
    function = _function(tree, name)
    found = []
    for node in ast.walk(function) if function is not None else ():
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if called in ("drop_table", "drop_column", "rename_table"):
            found.append(ast.unparse(node)[:160] if hasattr(ast, "unparse") else called)
    return found


def _is_empty(tree: Any, name: str) -> bool:
    """Whether a function does nothing: `pass`, a docstring, or it is not there."""
    function = _function(tree, name)
    if function is None:
        return tree is not None
    for node in function.body:
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        return isinstance(node, ast.Raise)
    return True


def _difference(one: Any) -> str:
    if isinstance(one, list):  # changes of one column
        return "; ".join(_difference(part) for part in one)
    kind, rest = one[0], one[1:]
    names = []
    for part in rest:
        if isinstance(part, str):
            names.append(part)
        elif getattr(part, "name", None):
            table = getattr(getattr(part, "table", None), "name", None)
            names.append(f"{table}.{part.name}" if table and table not in names else str(part.name))
    return f"{kind} {' '.join(names)}".strip()


def _short(statement: str) -> str:
    """Enough of a statement to know it: of a definition its beginning, of anything else its verb (it may hold data)."""
    text = " ".join(statement.split())
    return text[:160] if _DDL.match(text) else " ".join(text.split()[:2])[:40]


def _said(error: BaseException) -> str:
    """An error in one line: SQLAlchemy's own adds the statement, its parameters and a link."""
    original = getattr(error, "orig", None)
    if original is not None:
        arguments: Any = getattr(original, "args", ())
        text = str(arguments[1]) if len(arguments) == 2 and isinstance(arguments[0], int) else str(original)
        statement = getattr(error, "statement", None)
        return f"{' '.join(text.split())}{f' (at: {_short(statement)})' if statement else ''}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:600] if text else type(error).__name__


def _is_of_a_connection(error: BaseException) -> bool:
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, (DBAPIError, OSError))


def _tail() -> str:
    return "".join(traceback.format_exc().splitlines(keepends=True)[-12:])[-2000:]


# How the application's code is loaded --------------------------------------------------------------


def _imports_from_source(also: list[str]) -> None:
    """Never run or write bytecode of the application's own files.

    Python takes a .pyc for current when size and time of its source are the same, which two revisions from an archive
    with fixed times may be. Libraries keep theirs, or all of them would be compiled anew at every run.
    """
    from importlib.machinery import SourceFileLoader

    paths = {sysconfig.get_paths().get(name, "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {path for path in sys.path if path.rstrip("/").endswith(("site-packages", "dist-packages"))}
    libraries = tuple(os.path.realpath(path) + os.sep for path in paths if path)
    inherited: Any = getattr(SourceFileLoader, "day2_inherited", SourceFileLoader.get_code)

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        real = os.path.realpath(path)
        if real.startswith(libraries) and not any(real.startswith(one + os.sep) for one in also):
            return inherited(self, fullname)
        return self.source_to_code(self.get_data(path), path)

    SourceFileLoader.day2_inherited = inherited  # type: ignore[attr-defined]
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def main(requests: Iterable[bytes]) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the application prints is no answer
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.dont_write_bytecode = True
    sys.path[:] = [path for path in sys.path if path]  # the CLI's own: env.py finds what the tool is told
    Tool(requests, answers).serve()


if __name__ == "day2_driver":
    main(globals()["REQUESTS"])
