# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection day2.ops: not for use from outside it.
"""What backups there are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .._core import clock
from .._core.context import Context
from .._core.errors import Refused, at
from .._core.model import Json
from .._store import catalogue
from . import care, copying, facts, setup

_SUBSET = re.compile(r"^(structure|all|\d+(\.\d+)?%|\d+[KMGT]|\d+/\d+)$")


def from_params(context: Context, params: Mapping[str, Any]) -> Json:
    """The module `backup_info`."""
    subset = params["check"] or ""
    if subset and not _SUBSET.match(subset):
        raise Refused(f"check: {subset!r} is no share of the data", hint="Use structure, all, 5%, 500M or 1/10.")
    json_file = facts.checked(params["json_file"], "json_file")
    prometheus_file = facts.checked(params["prometheus_file"], "prometheus_file")
    restic = setup.store_of(context, params)
    second = setup.copy_of(context, params, restic)
    with at(f"backups of {context.app.key}", stage="list"):
        version = restic.version()
        known = catalogue.read(restic, context.app)
    now = clock.now()
    repository: Json = {
        "location": params["repository"]["location"],
        "restic": ".".join(map(str, version)),
        "checked": bool(subset),
        "errors": known.unreadable(),
        "damaged": [],
    }
    if subset:
        with at(f"backups of {context.app.key}", stage="check"):
            found = care.inspect(restic, context, "" if subset == "structure" else subset)
        repository["errors"] += found["errors"]
        repository["damaged"] = found["damaged"]
    copy = copying.state(known, second)
    told = facts.collect(known, now, repository, copy)
    text = facts.prometheus(told)
    if json_file is not None and not context.check_mode:  # struck: the location may hold a password
        facts.write(json_file, context.secrets.strike(json.dumps(told, indent=1)) + "\n", 0o600)
    if prometheus_file is not None and not context.check_mode:
        facts.write(prometheus_file, text, 0o644)
    result: Json = {
        "changed": False,
        "orphans": [
            {"snapshot": one.id[:8], "time": one.time, "datastore": one.tag("datastore")} for one in known.orphans
        ],
        "repository": repository,
        "facts": told,
        "prometheus": text,
        "copy_repository": copy,
    }
    entries = list(known.entries)
    if params["backup"]:
        with at(f"backups of {context.app.key}", stage="list"):
            entries = [known.choose(params["backup"])]
            manifest = catalogue.manifest_of(restic, entries[0], context)
        result["tables"] = {part.datastore: part.fingerprint.to_json()["tables"] for part in manifest.parts}
    app = {"app": context.app.name, "instance": context.app.instance}
    result["backups"] = [{**app, **catalogue.public(entry, now)} for entry in entries]
    return result
