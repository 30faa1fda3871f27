# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""Checking a repository: restic's complaints, and the snapshots that a damaged pack touches."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .._core.errors import OpsError
from .restic import Restic, Snapshot

_COMPLAINT = re.compile(r"error|Fatal|does not|damaged|not found|unexpected", re.I)
_CHATTER = re.compile(r"^\s*$|returned error, retrying|temporary (cache|directory)|^Load\(|^signal ")
# `Pack ID does not match, want ID` (0.14), `pack ID: does not exist`, `pack ID contains 2 errors` (0.17).
_PACK = re.compile(r"^\s*pack (?:ID does not match, want )?([0-9a-f]{64})", re.I | re.M)
_TREE = re.compile(r"^error for tree ([0-9a-f]{8,64})")
_BATCH = 500  # ids on one command line


@dataclasses.dataclass(frozen=True)
class Checked:
    """What `restic check` found: its complaints, the packs that it names, and trees that it could not read."""

    errors: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()


def check(restic: Restic, subset: str = "") -> Checked:
    """Let restic check the repository: its structure, and `subset` of its data (`all`, `1/10`, `5%`, `500M`)."""
    argv = ["check"]
    if subset:
        argv += ["--read-data"] if subset == "all" else [f"--read-data-subset={subset}"]
    completed = restic.ask(argv, ok=(0, 1))
    return Checked() if completed.rc == 0 else parse(completed.text + "\n" + completed.stderr_tail)


def parse(text: str) -> Checked:
    """From restic's output to what is wrong. Pure."""
    lines = [line.strip() for line in text.splitlines() if not _CHATTER.search(line)]
    errors = [line for line in lines if _COMPLAINT.search(line)] or lines[-3:]
    trees = [tree for line in lines for tree in _TREE.findall(line)]
    return Checked(tuple(errors[:20]), _unique(_PACK.findall(text)), _unique(trees))


def touched(restic: Restic, found: Checked, snapshots: Sequence[Snapshot]) -> dict[str, set[str]]:
    """For each damaged pack, the ids of those of our snapshots that need it.

    `restic find --pack` is not enough: it fails when the pack's header is what is damaged, and 0.14 names only
    one of several snapshots that share a damaged directory. So a pack's content is looked up in the index.
    """
    if not (found.packs or found.trees):
        return {}
    contents = _contents(restic, found)
    by_blob = {blob: pack for pack, kinds in contents.items() for blobs in kinds.values() for blob in blobs}
    result: dict[str, set[str]] = {pack: set() for pack in contents}
    ours = {snapshot.id for snapshot in snapshots}
    for kind in ("data", "tree"):
        ids = sorted(blob for kinds in contents.values() for blob in kinds.get(kind, ()))
        for blob, snapshot in _find(restic, "--blob" if kind == "data" else "--tree", ids, snapshots):
            if snapshot in ours and blob in by_blob:
                result[by_blob[blob]].add(snapshot)
    if any(kinds.get("tree") for kinds in contents.values()):
        for pack, snapshot in _unreadable(restic, by_blob, snapshots):
            result[pack].add(snapshot)
    return result


def _contents(restic: Restic, found: Checked) -> dict[str, dict[str, list[str]]]:
    """The ids of what the damaged packs hold, by kind, as the index knows it."""
    contents: dict[str, dict[str, list[str]]] = {pack: {} for pack in found.packs}
    for index in restic.ask(["list", "index", "--no-lock"]).text.split():
        data: Mapping[str, Any] = json.loads(restic.ask(["cat", "index", index, "--no-lock"]).text)
        for pack in data["packs"]:
            blobs = pack.get("blobs") or ()
            if pack["id"] in contents or any(blob["id"].startswith(found.trees) for blob in blobs if found.trees):
                kinds = contents.setdefault(pack["id"], {})
                for blob in blobs:
                    kinds.setdefault(blob["type"], []).append(blob["id"])
    return contents


def _find(restic: Restic, flag: str, ids: Sequence[str], snapshots: Sequence[Snapshot]) -> Iterable[tuple[str, str]]:
    """Which of our snapshots hold these blobs or trees: pairs of both."""
    chosen = [word for snapshot in snapshots for word in ("--snapshot", snapshot.id)]
    for begin in range(0, len(ids), _BATCH):
        some = ids[begin : begin + _BATCH]  # whole ids: of shorter ones restic takes eight digits only
        text = restic.ask(["find", "--json", "--no-lock", *chosen, flag, *some], ok=(0, 1), cached=False).text
        # Sentences about directories that cannot be read stand in the middle of the JSON.
        for begins in re.finditer(r'\{"object_type"', text):
            with contextlib.suppress(ValueError):
                match = json.JSONDecoder().raw_decode(text, begins.start())[0]
                yield match["id"], match["snapshot"]
    if flag == "--tree":  # before 0.18 restic does not look at the roots
        for snapshot in snapshots:
            if snapshot.tree in ids:
                yield snapshot.tree, snapshot.id


def _unreadable(restic: Restic, by_blob: Mapping[str, str], snapshots: Sequence[Snapshot]) -> Iterable[tuple[str, str]]:
    """Our snapshots whose directories cannot be read, with the pack that is to blame."""
    failing: dict[str, str] = {}
    examples = {snapshot.tree: snapshot for snapshot in snapshots}
    for tree, example in sorted(examples.items()):
        try:
            # 0.18 ends with 2 and a stack trace.
            listed = restic.ask(["ls", "--no-lock", example.id], ok=(0, 1, 2), cached=False)
        except OpsError as error:
            failing[tree] = error.stderr_tail or str(error)
        else:
            if listed.rc != 0:
                failing[tree] = listed.stderr_tail
    for snapshot in snapshots:
        for pack in _blamed(failing.get(snapshot.tree, ""), by_blob):
            yield pack, snapshot.id


def _blamed(message: str, by_blob: Mapping[str, str]) -> Collection[str]:
    """The packs of the trees that a message names."""
    short = re.findall(r"(?:\bblob |\bid |\btree |<tree/)([0-9a-f]{8,64})", message)
    return {pack for blob, pack in by_blob.items() if any(blob.startswith(one) for one in short)}


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
