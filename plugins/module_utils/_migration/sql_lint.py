# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What the SQL of a migration would lose or lock. Nothing here asks a database; squawk is asked where it is installed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from .._core.errors import OpsError
from .._core.model import Json
from .._core.process import Command, run

DESTRUCTIVE, WARNING = "destructive", "warning"

_NAME = r"(?P<table>(?:[`\"\[]?[\w$]+[`\"\]]?\.)?[`\"\[]?[\w$]+[`\"\]]?)"


@dataclasses.dataclass(frozen=True)
class Finding:
    """`level`: destructive (data are lost), or warning (it may fail, or lock a table for long)."""

    rule: str
    level: str
    message: str
    statement: str = ""
    revision: str = ""
    table: str = ""

    def to_json(self) -> Json:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class _Rule:
    name: str
    level: str
    pattern: str
    message: str
    dialects: tuple[str, ...] = ()  # () for all
    unless: str = ""


_RULES = (
    _Rule("drop-database", DESTRUCTIVE, r"^DROP\s+(DATABASE|SCHEMA)\b", "the whole database or schema is lost"),
    _Rule("drop-table", DESTRUCTIVE, rf"^DROP\s+TABLE\s+(IF\s+EXISTS\s+)?{_NAME}", "the table and its rows are lost"),
    _Rule("truncate", DESTRUCTIVE, rf"^TRUNCATE\s+(TABLE\s+)?{_NAME}", "all rows of the table are lost"),
    _Rule(
        "drop-column",
        DESTRUCTIVE,
        rf"^ALTER\s+TABLE\s+{_NAME}\b.*\bDROP\s+(COLUMN\b|(?!CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|DEFAULT|NOT\b|IDENTITY|EXPRESSION|PARTITION)[`\"\w])",
        "the column's values are lost",
    ),
    _Rule(
        "delete-all-rows", DESTRUCTIVE, rf"^DELETE\s+FROM\s+{_NAME}", "all rows of the table are lost", (), r"\bWHERE\b"
    ),
    _Rule("delete-rows", WARNING, rf"^DELETE\s+FROM\s+{_NAME}.*\bWHERE\b", "rows are deleted"),
    _Rule("update-all-rows", WARNING, rf"^UPDATE\s+{_NAME}", "every row is written", (), r"\bWHERE\b"),
    _Rule(
        "rename-table",
        WARNING,
        rf"^(RENAME\s+TABLE\s+{_NAME}|ALTER\s+TABLE\s+{_NAME.replace('table', 'other')}\s+RENAME\s+TO\b)",
        "code that runs on the old name fails; a rollback needs it back",
    ),
    _Rule(
        "rename-column",
        WARNING,
        rf"^ALTER\s+TABLE\s+{_NAME}\b.*\bRENAME\s+(COLUMN\b|(?!TO\b|INDEX\b|KEY\b|CONSTRAINT\b)\w+\s+TO\b)",
        "code that runs on the old name fails; a rollback needs it back",
    ),
    _Rule(
        "change-column",
        WARNING,
        rf"^ALTER\s+TABLE\s+{_NAME}\b.*\b(ALTER\s+(COLUMN\s+)?\S+\s+(SET\s+DATA\s+)?TYPE\b|MODIFY\b|CHANGE\b)",
        "the table may be rewritten while it is locked, and values may not fit",
    ),
    _Rule(
        "not-null-without-default",
        WARNING,
        rf"^ALTER\s+TABLE\s+{_NAME}\b.*\bADD\s+(COLUMN\s+)?(?!CONSTRAINT\b|INDEX\b|KEY\b|UNIQUE\b|PRIMARY\b|FOREIGN\b|CHECK\b).*\bNOT\s+NULL\b",
        "it fails, or fills in zeros, where the table has rows",
        (),
        r"\bDEFAULT\b|\bGENERATED\b|\bSERIAL\b|\bAUTO_INCREMENT\b",
    ),
    _Rule(
        "set-not-null",
        WARNING,
        rf"^ALTER\s+TABLE\s+{_NAME}\b.*\bSET\s+NOT\s+NULL\b",
        "every row is read while the table is locked, and one NULL makes it fail",
    ),
    _Rule(
        "index-not-concurrently",
        WARNING,
        rf"^CREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)\S+\s+ON\s+(ONLY\s+)?{_NAME}",
        "writers of the table wait until the index is built",
        ("postgresql",),
    ),
    _Rule("drop-view", WARNING, rf"^DROP\s+(MATERIALIZED\s+)?VIEW\s+(IF\s+EXISTS\s+)?{_NAME}", "what reads it fails"),
)
_TOUCHED = re.compile(
    rf"^(?:ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?|DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?|TRUNCATE\s+(?:TABLE\s+)?"
    rf"|UPDATE\s+|DELETE\s+FROM\s+|INSERT\s+INTO\s+|RENAME\s+TABLE\s+"
    rf"|CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?\S+\s+ON\s+(?:ONLY\s+)?){_NAME}",
    re.I,
)


def statements(sql: str) -> Iterator[str]:
    """Single statements without comments, what strings and bodies of functions hold included."""
    token = re.compile(
        r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|(\$\w*\$).*?\1|;|[^-/'\"`$;]+|.", re.S
    )
    words: list[str] = []
    for match in token.finditer(sql):
        text = match.group()
        if text.startswith(("--", "/*")):
            words.append(" ")
        elif text == ";":
            yield from _whole(words)
            words = []
        else:
            words.append(text)
    yield from _whole(words)


def _whole(words: Sequence[str]) -> Iterator[str]:
    text = "".join(words).strip()
    if text and text.upper() not in ("BEGIN", "COMMIT", "BEGIN TRANSACTION", "START TRANSACTION"):
        yield text


def lint(sql: str, dialect: str, revision: str = "", version_table: str = "alembic_version") -> list[Finding]:
    """What the statements would lose or lock. Tables that the same SQL makes are new, so nothing is lost in them."""
    found = []
    made: set[str] = set()
    for statement in statements(sql):
        # What a string holds is data, not SQL.
        bare = re.sub(r"'(?:[^'\\]|''|\\.)*'", "''", " ".join(statement.split()))
        new = re.match(rf"^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", bare, re.I)
        if new:
            made.add(plain(new["table"]))
        for rule in _RULES:
            if rule.dialects and dialect not in rule.dialects:
                continue
            match = re.search(rule.pattern, bare, re.I)
            if not match or (rule.unless and re.search(rule.unless, bare, re.I)):
                continue
            groups = match.groupdict()
            table = plain(groups.get("table") or groups.get("other") or "")
            if table in made or table == version_table:
                continue
            found.append(Finding(rule.name, rule.level, rule.message, bare[:300], revision, table))
    return found


def touched(sql: str, version_table: str = "alembic_version") -> list[str]:
    """Tables that exist before and that the statements change, in their order."""
    names: dict[str, None] = {}
    made: set[str] = set()
    for statement in statements(sql):
        bare = " ".join(statement.split())
        new = re.match(rf"^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", bare, re.I)
        if new:
            made.add(plain(new["table"]))
        match = _TOUCHED.match(bare)
        if match and plain(match["table"]) not in made | {version_table}:
            names[plain(match["table"])] = None
    return list(names)


def changed_tables(definitions: Sequence[str]) -> Optional[list[str]]:
    """The tables whose definitions these statements change; None where one of them is of another kind."""
    names: dict[str, None] = {}
    for statement in definitions:
        match = _DEFINES.match(" ".join(statement.split()))
        if not match or re.search(r"\bRENAME\b", statement, re.I):
            return None
        names[plain(match["table"]).rpartition(".")[2]] = None
    return list(names)


_DEFINES = re.compile(
    r"^(?:CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?|ALTER\s+TABLE\s+|DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?!.*,)"
    rf"|(?:CREATE\s+(?:UNIQUE\s+)?|DROP\s+)INDEX\s+\S+\s+ON\s+){_NAME}",
    re.I,
)


def promised(sql: str, version_table: str = "alembic_version") -> dict[str, bool]:
    """Tables and columns that must be there (or must not) once the statements were run: the last word on each counts.

    What cannot be told from the SQL alone (a rename) makes no promise.
    """
    found: dict[str, bool] = {}
    for statement in statements(sql):
        bare = re.sub(r"'(?:[^'\\]|''|\\.)*'", "''", " ".join(statement.split()))
        if re.search(r"\bRENAME\b|\bCHANGE\b", bare, re.I):
            found.clear()
            continue
        match = re.match(rf"^(?P<verb>CREATE|DROP)\s+TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?{_NAME}", bare, re.I)
        if match:
            table = plain(match["table"])
            made = match["verb"].upper() == "CREATE"
            found = {label: there for label, there in found.items() if not label.startswith(f"column {table}.")}
            found[f"table {table}"] = made
            continue
        match = re.match(
            rf"^ALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+(?P<verb>ADD|DROP)\s+(?P<word>COLUMN\s+)?[`\"]?(?P<column>[\w$]+)",
            bare,
            re.I,
        )
        if match and (match["word"] or not _CLAUSE.match(match["column"])):
            found[f"column {plain(match['table'])}.{match['column']}"] = match["verb"].upper() == "ADD"
    found.pop(f"table {version_table}", None)
    return found


_CLAUSE = re.compile(r"^(CONSTRAINT|INDEX|KEY|UNIQUE|PRIMARY|FOREIGN|CHECK|FULLTEXT|SPATIAL|PARTITION|PERIOD)$", re.I)


def plain(name: str) -> str:
    return re.sub(r"[`\"\[\]]", "", name)


# squawk ------------------------------------------------------------------------------------------


def squawk(sql: str, state_dir: Path) -> Optional[list[Finding]]:
    """What squawk (https://squawkhq.com) says of PostgreSQL's SQL; None where it is not installed or says nothing
    that can be read."""
    own = state_dir / "venv" / "bin" / "squawk"
    program = str(own) if own.exists() else shutil.which("squawk")
    if program is None:
        return None
    try:
        done = run(Command((program, "--reporter", "Json")), stdin=sql.encode(), timeout=60, ok=(0, 1))
        return parse_squawk(done.text)
    except (OpsError, ValueError, TypeError):
        return None


def parse_squawk(text: str) -> list[Finding]:
    """From `--reporter Json`: a list of objects, whose fields have changed between versions."""
    found = []
    for one in json.loads(text or "[]"):
        message: Any = one.get("message") or one.get("messages") or ""
        if isinstance(message, list):
            message = " ".join(
                str(next(iter(part.values()), "")) if isinstance(part, dict) else str(part) for part in message
            )
        found.append(Finding(f"squawk:{one.get('rule_name', '')}", WARNING, str(message)))
    return found
