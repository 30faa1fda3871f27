# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Care of a repository: all of it is read in turns, damage is named with the backups it touches, limits limit."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import faults
from tests.integration.support.faults import Wrapper
from tests.integration.support.recovery import NEW_RESTIC, Seed, World
from tests.integration.support.stores import Server, deployed

pytestmark = [pytest.mark.stores, pytest.mark.sqlite, pytest.mark.files]

both = pytest.mark.parametrize("restic", ["restic", str(NEW_RESTIC)], ids=["0.14", "current"])


def packs(world: World) -> dict[str, Path]:
    return {path.name: path for path in (world.repository / "data").rglob("*") if path.is_file()}


def content_of(world: World) -> dict[str, set[str]]:
    """What kinds of blobs a pack holds, as the index says."""
    kinds: dict[str, set[str]] = {}
    for index in world.call_restic("list", "index").stdout.decode().split():
        for pack in json.loads(world.call_restic("cat", "index", index).stdout)["packs"]:
            kinds[pack["id"]] = {blob["type"] for blob in pack["blobs"]}
    return kinds


def grown(world: World) -> tuple[list[str], dict[str, Path]]:
    """Two backups that share a new upload, and the packs that came with the first of them."""
    world.backup()  # what was changed before is in packs of its own
    before = packs(world)
    world.add_upload("shared", os.urandom(2 << 20))
    sharing = [world.backup()]
    new = {name: path for name, path in packs(world).items() if name not in before}
    world.add_orders("more", 5)
    sharing.append(world.backup())
    (world.uploads / "shared").unlink()
    world.backup()
    return sharing, new


OLD, NEW = "restic", str(NEW_RESTIC)
HARMS = [
    *((harm, OLD) for harm in ("data", "tree")),
    *((harm, NEW) for harm in ("tree", "header")),
    *(pytest.param(harm, OLD, marks=pytest.mark.full) for harm in ("header", "missing")),
    *(pytest.param(harm, NEW, marks=pytest.mark.full) for harm in ("data", "missing")),
]


@pytest.mark.parametrize(("harm", "restic"), HARMS)
def test_a_damaged_pack_is_named_with_the_backups_it_touches_and_no_others(
    world: World, seed: Seed, restic: str, harm: str
) -> None:
    world.restic = restic
    sharing, new = grown(world)
    kinds = content_of(world)
    kind = "tree" if harm == "tree" else "data"
    # The largest: the upload's data; its directories are in the only new pack of trees that both backups need.
    pack = max((name for name in new if kinds[name] == {kind}), key=lambda name: new[name].stat().st_size)
    if harm == "missing":
        new[pack].unlink()
    elif harm == "header":
        with open(_writable(new[pack]), "r+b") as stream:
            stream.seek(-12, os.SEEK_END)
            stream.write(bytes(8))
    else:
        with open(_writable(new[pack]), "r+b") as stream:
            stream.seek(40)
            stream.write(bytes(16))
    found = world.run("backup_info", check="structure" if harm == "missing" else "all")["repository"]
    assert found["errors"]
    assert [one["pack"] for one in found["damaged"]] == [pack]
    touched = {one["id"]: one for one in found["damaged"][0]["backups"]}
    assert sorted(touched) == sorted(sharing)
    assert all(one["datastores"] == ["uploads"] and not one["manifest"] for one in touched.values())
    shutil.rmtree(world.state_dir / "cache")  # restic keeps directories there, which would hide the damage
    for backup in touched if harm not in ("header",) else ():
        assert world.run("backup_verify", backup=backup).failed, f"{backup} is said to be damaged"
    for backup in set(sharing) - set(touched) | set(seed.earlier):
        assert world.run("backup_verify", backup=backup)["verification"]["whole"]


def _writable(path: Path) -> Path:
    path.chmod(0o600)
    return path


def test_a_damaged_manifest_is_named_as_one(world: World, seed: Seed) -> None:
    before = packs(world)
    made = world.backup()
    manifest = next(one for one in world.with_tag(f"backup={made}") if "role=manifest" in one["tags"])
    blob = json.loads(world.call_restic("cat", "blob", manifest["tree"]).stdout)["nodes"][0]["content"][0]
    pack = next(
        pack["id"]
        for index in world.call_restic("list", "index").stdout.decode().split()
        for pack in json.loads(world.call_restic("cat", "index", index).stdout)["packs"]
        if any(one["id"] == blob for one in pack["blobs"])
    )
    assert pack not in before
    faults.flip_bytes(packs(world)[pack])
    damaged = world.run("backup_info", check="all")["repository"]["damaged"]
    assert damaged == [{"pack": pack, "backups": [{"id": made, "datastores": [], "manifest": True}]}]


# In turns --------------------------------------------------------------------------------------------


def maintained(world: World, **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = world.run("backup_maintain", **more)["maintenance"]
    return result


@both
def test_after_so_many_runs_everything_was_read(world: World, seed: Seed, restic: str) -> None:
    """A damaged pack is found in exactly one of the turns, wherever it is."""
    world.restic = restic
    seen = [maintained(world, parts=3) for _turn in range(4)]
    assert [one["part"] for one in seen] == [1, 2, 3, 1]
    assert all(one["errors"] == [] for one in seen)
    # restic divides by the first byte of a pack's id; one damaged pack in each part.
    by_part = {int(name[:2], 16) % 3 + 1: path for name, path in sorted(packs(world).items())}
    assert set(by_part) == {1, 2, 3}, "the scenario did not happen: a part is empty"
    for path in by_part.values():
        faults.flip_bytes(path)
    found = {}
    for _turn in range(3):
        one = maintained(world, parts=3)
        found[one["part"]] = {pack["pack"] for pack in one["damaged"]}
    for part, path in by_part.items():
        assert path.name in found[part]
    assert set().union(*found.values()) == {path.name for path in by_part.values()}


def test_other_parts_and_a_lost_state_begin_anew(world: World, seed: Seed) -> None:
    assert [maintained(world, parts=5)["part"] for _turn in range(2)] == [1, 2]
    assert maintained(world, parts=4)["part"] == 1
    assert world.run("backup_maintain", check_mode=True, parts=4)["maintenance"]["part"] == 2
    assert maintained(world, parts=4)["part"] == 2, "check mode does not count"
    for path in (world.home / "maintenance").iterdir():
        path.unlink()
    assert maintained(world, parts=4)["part"] == 1
    assert maintained(world, parts=0)["part"] == 0


def test_space_is_freed_when_it_is_due_and_not_from_a_damaged_repository(world: World, seed: Seed) -> None:
    world.add_upload("large", os.urandom(4 << 20))
    doomed = world.backup()
    (world.uploads / "large").unlink()
    world.backup()
    world.run("backup_retention", keep_last=1)["changed"]
    assert doomed not in {one["id"] for one in world.backups()}
    size = sum(path.stat().st_size for path in packs(world).values())
    assert not world.run("backup_maintain", parts=0)["changed"], "nobody asked for a prune"
    first = world.run("backup_maintain", parts=0, prune_every="7d", max_unused="0%")
    assert first["changed"]
    assert first["maintenance"]["prune"]["done"]
    assert sum(path.stat().st_size for path in packs(world).values()) < size - (3 << 20)
    assert not world.run("backup_maintain", parts=0, prune_every="7d")["changed"], "it was done a moment ago"
    faults.flip_bytes(max(packs(world).values(), key=lambda path: path.stat().st_size))
    before = sorted(packs(world))
    third = world.run("backup_maintain", parts=1, prune_every="0s")["maintenance"]
    assert third["errors"]
    assert (third["prune"]["due"], third["prune"]["done"]) == (True, False)
    assert "not sound" in third["prune"]["message"]
    assert sorted(packs(world)) == before


def test_bad_options_are_refused(world: World, seed: Seed) -> None:
    assert "parts is 300" in world.run("backup_maintain", parts=300).msg
    assert "is no share" in world.run("backup_maintain", max_unused="much").msg


# Options of restic -----------------------------------------------------------------------------------


def with_options(world: World, **options: Any) -> dict[str, Any]:
    return {**world.arguments("backup")["repository"], "options": options}


def test_an_option_that_this_restic_lacks_is_refused_with_the_version_that_has_it(world: World, seed: Seed) -> None:
    before = world.snapshot_ids()
    refused = world.run("backup", repository=with_options(world, read_concurrency=4))
    assert "the option read_concurrency needs restic 0.15.0 or newer, and restic is 0.14.0" in refused.msg
    refused = world.run("backup", repository=with_options(world, extended={"sftp.args": "-v"}))
    assert "sftp.args needs restic 0.16.1 or newer" in refused.msg
    refused = world.run("backup", repository=with_options(world, extended={"local.colour": "red"}))
    assert "does not know the extended option local.colour" in refused.msg
    assert "options.connections is 0" in world.run("backup", repository=with_options(world, connections=0)).msg
    assert world.snapshot_ids() == before
    world.restic = str(NEW_RESTIC)
    assert world.run("backup", repository=with_options(world, read_concurrency=4))["changed"]


@both
def test_options_reach_restic(world: World, seed: Seed, restic: str) -> None:
    wrapper = Wrapper(world, restic)
    given = {"limit_upload": 50_000, "limit_download": 60_000, "compression": "max", "pack_size": 8, "connections": 3}
    assert world.run("backup", repository=with_options(world, **given))["changed"]
    stored = next(call for call in wrapper.calls if call.startswith("backup"))
    for word in (
        "--limit-upload=50000",
        "--limit-download=60000",
        "--compression=max",
        "--pack-size=8",
        "-o local.connections=3",
    ):
        assert word in stored


@both
def test_a_bandwidth_limit_limits(s3_server: Server, tmp_path: Path, restic: str) -> None:
    """3 MiB that do not compress, at 1 MiB/s."""
    world = deployed(s3_server, tmp_path, restic)
    world.create_repository()
    world.add_upload("noise", os.urandom(3 << 20))
    world.options = {"limit_upload": 1024}
    begun = time.monotonic()
    world.backup()
    up = time.monotonic() - begun
    world.options = {"limit_download": 1024}
    begun = time.monotonic()
    world.restore()["changed"]
    down = time.monotonic() - begun
    print(f"up {3 / up:.2f} MiB/s, down {3 / down:.2f} MiB/s")
    assert up > 2.5, "faster than the limit allows"
    assert down > 2.5, "faster than the limit allows"
