# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: backed up by restic, destroyed and restored, on plain directories, mount points and volumes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import Mismatch, OpsError, Refused, Unavailable
from ansible_collections.day2.ops.plugins.module_utils._core.model import Fingerprint, Part
from ansible_collections.day2.ops.plugins.module_utils._engines import files_tree
from ansible_collections.day2.ops.plugins.module_utils._engines.base import DumpOptions
from ansible_collections.day2.ops.plugins.module_utils._engines.files import Files
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Repository, Restic

from tests.integration.support import files
from tests.integration.support.local import Bench, killed_at, open_to_others

pytestmark = pytest.mark.files
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty")
    Restic(Repository(str(root / "repository"), "a long password"), Bench(root).context()).init()
    return root / "repository"


@pytest.fixture
def restic(bench: Bench, empty_repository: Path) -> Restic:
    """A repository of its own for each test; making one takes restic more than a second."""
    shutil.copytree(empty_repository, bench.root / "repository")
    return Restic(Repository(str(bench.root / "repository"), "a long password"), bench.context())


@pytest.fixture
def uploads(bench: Bench) -> Path:
    return bench.root / "srv" / "uploads"


def backed_up(engine: Files, restic: Restic) -> Part:
    """A backup of a tree, as the recovery layer makes it."""
    description = engine.describe(DumpOptions())
    with engine.snapshot(DumpOptions()) as snapshot:
        summary = restic.store_paths(snapshot.paths, snapshot.exclude, ["day2"])
    fingerprint = Fingerprint(objects={"file": summary.files, "byte": summary.bytes})
    return Part("main", "files", "files", "data", "tree", "", summary.snapshot, summary.bytes, "", fingerprint,
                facts=description.facts)  # fmt: skip


def staged(engine: Files, restic: Restic, part: Part, directory: Path | None = None) -> str:
    scratch = engine.context.scratch_name("main", "stage")
    engine.accepts(part)
    engine.stage(part, scratch, directory)
    for target, include in engine.stage_targets(scratch).items():
        assert target.stat().st_mode & 0o777 == 0o700
        restic.restore_paths(part.snapshot, target, include)
    assert part.fingerprint.differences(engine.staged(part, scratch)) == []
    return scratch


def restored(bench: Bench, engine: Files, restic: Restic, part: Part) -> None:
    """The whole way of a restore, to its end."""
    scratch = staged(engine, restic, part)
    step = bench.step()
    engine.swap(part, scratch, step)
    engine.finish(step)
    engine.drop_scratch(scratch)


def ours(top: Path) -> list[str]:
    """Whatever of ours is left anywhere below."""
    return sorted(str(path) for path in top.rglob(".day2-*"))


@contextlib.contextmanager
def place(kind: str, path: Path) -> Iterator[None]:
    """The path as a plain directory, a mount point, a bind mount, or below a directory of somebody else."""
    path.parent.mkdir(parents=True)
    if kind == "plain":
        yield
    else:
        path.mkdir()
        other = path.parent / "other"
        other.mkdir()
        arguments = ("--bind", str(other)) if kind == "bind" else ("-t", "tmpfs", "tmpfs")
        with files.mounted(path, *arguments):
            yield


PLACES = ["plain", pytest.param("tmpfs", marks=root_only), pytest.param("bind", marks=root_only)]


# Content ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("plain", "changed"),
        pytest.param("tmpfs", "changed", marks=root_only),
        pytest.param("bind", "emptied", marks=root_only),
        pytest.param("plain", "emptied", marks=pytest.mark.full),
        pytest.param("plain", "untouched", marks=pytest.mark.full),
        pytest.param("tmpfs", "untouched", marks=[root_only, pytest.mark.full]),
        pytest.param("bind", "changed", marks=[root_only, pytest.mark.full]),
    ],
)
def test_everything_comes_back(bench: Bench, restic: Restic, uploads: Path, kind: str, damage: str) -> None:
    with place(kind, uploads):
        files.make(uploads)
        before = files.content(uploads)
        engine = bench.engine("files", paths=[str(uploads)])
        part = backed_up(engine, restic)
        if damage != "untouched":
            for each in uploads.iterdir():
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
            os.chmod(uploads, 0o700)
        if damage == "changed":
            files.make(uploads, "now")
            (uploads / "new").write_text("made since")
        inode = uploads.stat().st_ino
        restored(bench, engine, restic, part)
        assert files.content(uploads) == before
        assert (uploads.stat().st_ino == inode) is (kind != "plain")
        assert bench.warnings == []
        assert ours(bench.root) == []


def test_a_missing_directory_comes_back_with_its_parents(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    uploads.parent.chmod(0o750)
    if files.ROOT:
        os.chown(uploads.parent, 1234, 2345)
    before, parent = files.content(uploads), os.stat(uploads.parent)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    shutil.rmtree(uploads.parent)
    assert engine.target().empty
    restored(bench, engine, restic, part)
    assert files.content(uploads) == before
    after = os.stat(uploads.parent)
    assert (after.st_mode, after.st_uid, after.st_gid) == (parent.st_mode, parent.st_uid, parent.st_gid)
    assert ours(bench.root) == []


def test_single_files_and_several_paths(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    config = bench.root / "etc" / "booking.conf"
    config.parent.mkdir()
    config.write_text("then")
    os.chmod(config, 0o640)
    late = bench.root / "etc" / "late.conf"
    late.write_text("then")
    before = files.content(uploads), files.content(config.parent)
    engine = bench.engine("files", paths=[str(uploads), str(config), str(late)])
    part = backed_up(engine, restic)
    config.write_text("now")
    late.unlink()
    (config.parent / "neighbour").write_text("not ours")
    shutil.rmtree(uploads)
    assert engine.target().objects == (str(config),)
    restored(bench, engine, restic, part)
    assert (config.parent / "neighbour").read_text() == "not ours"
    (config.parent / "neighbour").unlink()
    os.utime(config.parent, ns=(1, 1))
    after = files.content(uploads), files.content(config.parent)
    before[1]["."][3] = after[1]["."][3] = 0  # the directory around them is not in the backup
    assert after == before
    assert ours(bench.root) == []


@root_only
def test_paths_on_different_filesystems_are_staged_each_on_its_own(bench: Bench, restic: Restic, uploads: Path) -> None:
    other = bench.root / "mnt"
    other.mkdir()
    with files.mounted(other, "-t", "tmpfs", "tmpfs"):
        files.make(uploads)
        files.make(other / "media")
        before = files.content(uploads), files.content(other / "media")
        engine = bench.engine("files", paths=[str(uploads), str(other / "media"), str(other / "media2")])
        (other / "media2").mkdir()
        part = backed_up(engine, restic)
        shutil.rmtree(uploads)
        shutil.rmtree(other / "media")
        scratch = staged(engine, restic, part)
        targets = engine.stage_targets(scratch)
        assert [target.parent for target in targets] == [uploads.parent, other]
        step = bench.step()
        engine.swap(part, scratch, step)
        engine.finish(step)
        engine.drop_scratch(scratch)
        assert (files.content(uploads), files.content(other / "media")) == before
        assert ours(bench.root) == []


@pytest.mark.docker
@root_only
def test_a_docker_volume_keeps_its_directory(bench: Bench, restic: Restic) -> None:
    name = f"day2t-files-{os.getpid()}"
    subprocess.run(["docker", "volume", "create", name], check=True, stdout=subprocess.DEVNULL)
    try:
        engine = bench.engine("files", volume=name)
        data = Path(engine.given[0])
        files.make(data)
        before, inode = files.content(data), data.stat().st_ino
        part = backed_up(engine, restic)
        shutil.rmtree(data / "a")
        (data / "plain.txt").write_text("now")
        restored(bench, engine, restic, part)
        assert files.content(data) == before
        assert data.stat().st_ino == inode
        assert ours(data) == []
    finally:
        subprocess.run(["docker", "volume", "rm", "-f", name], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(Unavailable, match=f'no Docker volume "{name}"'):
        bench.engine("files", volume=name).ping()


@root_only
def test_a_user_who_may_not_write_beside_the_directory_restores_inside_it() -> None:
    with open_to_others() as bench:
        restored_by_a_user(bench, bench.root / "srv" / "uploads")


def restored_by_a_user(bench: Bench, uploads: Path) -> None:
    files.make(uploads)
    uploads.parent.chmod(0o555)
    for path in (uploads, *uploads.rglob("*")):
        os.chown(path, 4321, 4321, follow_symlinks=False)
    (uploads / "device").unlink()
    (bench.root / "state").mkdir()
    os.chown(bench.root / "state", 4321, 4321)
    os.chown(bench.root, 4321, 4321)
    before = files.content(uploads)

    def as_user() -> None:
        os.setgroups([])
        os.setgid(4321)
        os.setuid(4321)
        store = Restic(Repository(str(bench.root / "own"), "a long password"), bench.context())
        store.init()
        engine = bench.engine("files", paths=[str(uploads)])
        part = backed_up(engine, store)
        (uploads / "plain.txt").unlink()
        restored(bench, engine, store, part)

    assert killed_at(10**6, as_user) is False
    assert files.content(uploads) == before


def test_a_symbolic_link_is_followed(bench: Bench, restic: Restic, uploads: Path) -> None:
    """restic would store the link alone, and nothing of what is behind it."""
    real = bench.root / "data" / "real"
    files.make(real)
    uploads.parent.mkdir()
    uploads.symlink_to(real)
    before = files.content(real)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    assert part.fingerprint.objects["file"] > 5
    excluding = bench.engine("files", paths=[str(uploads)], exclude=[f"{uploads}/a"])
    assert backed_up(excluding, restic).fingerprint.objects["file"] < part.fingerprint.objects["file"]
    shutil.rmtree(real / "a")
    restored(bench, engine, restic, part)
    assert uploads.is_symlink()
    assert files.content(real) == before


def test_the_counts_agree_with_restic_in_the_live_and_the_staged_tree(
    bench: Bench, restic: Restic, uploads: Path
) -> None:
    files.make(uploads)
    files.add_socket(uploads)
    engine = bench.engine("files", paths=[str(uploads), str(uploads.parent / "one")])
    (uploads.parent / "one").write_text("single")
    part = backed_up(engine, restic)
    nodes = files_tree.fingerprint_from_nodes(restic.nodes(part.snapshot), engine.paths)
    live = files_tree.count_tree(engine.paths)
    scratch = staged(engine, restic, dataclasses.replace(part, fingerprint=nodes))
    copy = engine.staged(dataclasses.replace(part, fingerprint=nodes), scratch)
    assert nodes.objects == live.objects == copy.objects
    assert nodes.objects["file"] == part.fingerprint.objects["file"]
    assert nodes.objects["byte"] == part.fingerprint.objects["byte"]
    assert all(nodes.objects[kind] for kind in files_tree.KINDS)
    engine.drop_scratch(scratch)


def test_a_copy_that_lacks_a_file_is_noticed(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    scratch = staged(engine, restic, part)
    found = engine.staged_path(scratch, str(uploads / "plain.txt"))
    assert found is not None
    found.unlink()
    assert any("file:" in line for line in part.fingerprint.differences(engine.staged(part, scratch)))
    assert engine.query(scratch, str(uploads / "plain.txt")) is None
    assert engine.query(scratch, str(uploads / "bytes"))
    assert engine.query(scratch, "/etc/hostname") is None


# What the backup leaves out -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLACES)
def test_what_the_backup_left_out_stays_as_it_is(bench: Bench, restic: Restic, uploads: Path, kind: str) -> None:
    with place(kind, uploads):
        files.make(uploads)
        (uploads / "cache").mkdir()
        (uploads / "cache" / "x").write_text("then")
        (uploads / "a" / "film.mp4").write_text("backed up elsewhere")
        engine = bench.engine("files", paths=[str(uploads)], exclude=["cache", "*.mp4"])
        assert engine.target("counts").fingerprint.objects == files_tree.count_tree([str(uploads)]).objects | {
            "file": files_tree.count_tree([str(uploads)]).objects["file"] - 2,
            "directory": files_tree.count_tree([str(uploads)]).objects["directory"] - 1,
            "byte": files_tree.count_tree([str(uploads)]).objects["byte"] - 4 - 19,
        }
        part = backed_up(engine, restic)
        (uploads / "cache" / "x").write_text("now")
        (uploads / "since").mkdir(mode=0o750)
        (uploads / "since" / "new.mp4").write_text("new film")
        (uploads / "since" / "gone.txt").write_text("not excluded")
        (uploads / "plain.txt").write_text("now")
        scratch = staged(engine, restic, part)
        step = bench.step()
        before_swap = files.content(uploads)
        engine.swap(part, scratch, step)
        assert (uploads / "plain.txt").read_text() == "plain then\n"
        assert (uploads / "cache" / "x").read_text() == "now"
        assert (uploads / "a" / "film.mp4").read_text() == "backed up elsewhere"
        assert (uploads / "since" / "new.mp4").read_text() == "new film"
        assert (uploads / "since").stat().st_mode & 0o777 == 0o750
        assert not (uploads / "since" / "gone.txt").exists()
        engine.undo(step)
        engine.drop_scratch(scratch)
        after_undo = files.content(uploads)
        for directory in (".", "a", "since"):  # their times changed when names were moved in and out
            before_swap[directory][3] = after_undo[directory][3]
        assert after_undo == before_swap
        assert ours(bench.root) == []


PATTERNS = {
    # what restic 0.14 itself does with each pattern is asked below
    "case1": ("*.one", ["a.one", "b.txt", "d/c.one", "d.one/e"]),
    "case2": ("case2/keep/*", ["keep/a", "keep/b/c", "other/a"]),
    "case3": ("/TOP/case3/x", ["x/a", "y/x/a", "x2"]),
    "case4": ("case4/**/deep", ["deep/1", "a/deep/1", "a/b/deep/1", "a/b/2"]),
    "case5": ("n[0-9]five", ["n1five", "naFive", "nxfive", "d/n9five/f"]),
    "case6": ("q?six", ["qasix", "qsix", "qa/six"]),
    "case7": (r"lit\*seven", ["lit*seven", "litXseven"]),
    "case8": ("n[^a-c]eight", ["naeight", "nzeight"]),
    "case9": ("case9/**", ["a", "b/c"]),
    "case10": ("e/leven", ["e/leven/x", "d/e/leven", "e/x/leven"]),
    "case11": ("twelve/", ["twelve/a", "b"]),
    "case12": ("/TOP/*/thirteen", ["thirteen/a", "x/thirteen"]),
    "case13": ("**/fourteen.txt", ["fourteen.txt", "a/fourteen.txt", "a/b/fourteen.txt", "fourteen.txt2"]),
}


def test_excludes_mean_what_they_mean_to_restic(bench: Bench, restic: Restic) -> None:
    from ansible_collections.day2.ops.plugins.module_utils._engines import files_exclude

    top = bench.root / "t"
    patterns = [pattern.replace("TOP", str(top)[1:]) for pattern, _names in PATTERNS.values()]
    for case, (_pattern, names) in PATTERNS.items():
        for name in names:
            path = top / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    summary = restic.store_paths([str(top)], patterns, ["day2"])
    stored = {node["path"] for node in restic.nodes(summary.snapshot) if node["path"].startswith(str(top))}
    compiled = files_exclude.compiled(patterns)
    outermost = list(files_exclude.left_out(str(top), compiled, str(top)))
    expected = {
        str(path)
        for path in (top, *top.rglob("*"))
        if not any(
            str(path.relative_to(top)) == name or f"{name}/" in f"{path.relative_to(top)}/" for name in outermost
        )
    }
    assert stored == expected
    counted = {name for name, _status in files_tree.walk(str(top), skip=lambda p: files_exclude.excluded(p, compiled))}
    assert counted == expected


def test_a_path_with_pattern_characters_is_restored(bench: Bench, restic: Restic) -> None:
    path = bench.root / "srv [1]" / "up*loads?" / r"back\slash"
    files.make(path)
    before = files.content(path)
    engine = bench.engine("files", paths=[str(path)])
    part = backed_up(engine, restic)
    shutil.rmtree(path)
    restored(bench, engine, restic, part)
    assert files.content(path) == before


def test_our_own_stages_and_state_are_in_no_backup(bench: Bench, restic: Restic) -> None:
    files.make(bench.root / "uploads")
    engine = bench.engine("files", paths=[str(bench.root)], exclude=["repository"])
    (bench.root / ".day2-0123456789_0000bb_stage").mkdir()
    (bench.root / ".day2-0123456789_0000bb_stage" / "half").write_text("half")
    (bench.root / "state" / "booking-production").mkdir(parents=True)
    (bench.root / "state" / "booking-production" / "journal").write_text("ours")
    part = backed_up(engine, restic)
    stored = [node["path"] for node in restic.nodes(part.snapshot)]
    assert not [path for path in stored if ".day2-" in path or "/state" in path]
    assert str(bench.root / "uploads" / "plain.txt") in stored


# Bad input -------------------------------------------------------------------------------------------


def test_a_path_that_does_not_exist_is_an_error_that_names_it(bench: Bench, uploads: Path) -> None:
    """restic before 0.19 stores the others and says nothing."""
    uploads.mkdir(parents=True)
    missing = bench.root / "nowhere"
    engine = bench.engine("files", paths=[str(uploads), str(missing)])
    for ask in (
        engine.ping,
        lambda: engine.describe(DumpOptions()),
        lambda: engine.snapshot(DumpOptions()).__enter__(),
    ):
        with pytest.raises(Unavailable, match=f"{missing} does not exist"):
            ask()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "either paths or volume"),
        ({"paths": ["/a"], "volume": "b"}, "either paths or volume"),
        ({"paths": ["a/b"]}, "is not absolute"),
        ({"paths": ["/srv/a", "/srv/a/b"]}, "/srv/a/b is inside /srv/a"),
        ({"paths": ["/srv/a", "/srv/a/"]}, "is inside"),
    ],
)
def test_options_that_make_no_sense_are_refused(bench: Bench, options: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        bench.engine("files", **options).ping()


@root_only
def test_a_filesystem_mounted_inside_is_named_and_never_replaced(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    inner = uploads / "empty directory"
    with files.mounted(inner, "-t", "tmpfs", "tmpfs"):
        (inner / "file").write_text("on the inner filesystem")
        engine = bench.engine("files", paths=[str(uploads)])
        part = backed_up(engine, restic)
        assert any(str(inner) in warning for warning in engine.describe(DumpOptions()).warnings)
        with pytest.raises(Refused, match=f"mounted inside it: {inner}"):
            engine.accepts(part)


@root_only
def test_a_single_file_that_is_a_mount_point_is_refused(bench: Bench, restic: Restic) -> None:
    one, other = bench.root / "one", bench.root / "other"
    one.write_text("1")
    other.write_text("2")
    with files.mounted(one, "--bind", str(other)):
        engine = bench.engine("files", paths=[str(one)])
        part = backed_up(engine, restic)
        with pytest.raises(Refused, match="mount point of a single file"):
            engine.accepts(part)


def test_a_database_in_use_among_the_files_is_named(bench: Bench, uploads: Path) -> None:
    from tests.integration.support import sqlite

    uploads.mkdir(parents=True)
    with contextlib.closing(sqlite.make(uploads / "app.db", large=10)):
        (uploads / "not-wal").write_text("just a name")
        (uploads / "not").write_text("no database")
        warnings = bench.engine("files", paths=[str(uploads)]).describe(DumpOptions()).warnings
        assert [warning for warning in warnings if str(uploads / "app.db") in warning]
        assert len(warnings) == 1
        assert bench.engine("files", paths=[str(uploads)], exclude=["app.db*"]).describe(DumpOptions()).warnings == ()


def test_too_little_room_is_said_before_anything_is_made(
    bench: Bench, restic: Restic, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.make(uploads)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    usage = shutil.disk_usage(uploads)
    monkeypatch.setattr(shutil, "disk_usage", lambda directory: usage._replace(free=1 << 20))
    with pytest.raises(Refused, match=f"the staged copy needs .* MiB in {uploads.parent}"):
        engine.stage(part, engine.context.scratch_name("main", "stage"))
    assert ours(bench.root) == []


def test_a_part_of_other_paths_goes_where_the_datastore_says_or_is_refused(
    bench: Bench, restic: Restic, uploads: Path
) -> None:
    files.make(uploads)
    before = files.content(uploads)
    second = bench.root / "second"
    second.mkdir()
    (second / "file").write_text("second")
    part = backed_up(bench.engine("files", paths=[str(uploads), str(second)]), restic)
    elsewhere = bench.root / "elsewhere" / "one"
    elsewhere.parent.mkdir()
    redirected = bench.engine("files", paths=[str(elsewhere), str(bench.root / "elsewhere" / "two")])
    restored(bench, redirected, restic, part)
    assert files.content(elsewhere) == before
    assert (bench.root / "elsewhere" / "two" / "file").read_text() == "second"
    only = bench.engine("files", paths=[str(second), str(bench.root / "third")])
    warnings = only.accepts(part)
    assert any(f"{uploads} of the backup is not restored" in warning for warning in warnings)
    assert any(f"{bench.root / 'third'} is not in this backup" in warning for warning in warnings)
    with pytest.raises(Refused, match="Name as many paths"):
        bench.engine("files", paths=[str(elsewhere)]).accepts(part)
    with pytest.raises(Refused, match="has the format sql"):
        only.accepts(dataclasses.replace(part, format="sql"))


# Configuration ---------------------------------------------------------------------------------------


def test_an_env_file_keeps_its_live_values_unless_they_are_to_be_replaced(
    bench: Bench, restic: Restic, uploads: Path
) -> None:
    uploads.mkdir(parents=True)
    for name in (".env", "web.env", ".env.production"):
        (uploads / name).write_text("# head\nDB_PASSWORD=old\nNEW_IN_BACKUP=yes\n")
        os.chmod(uploads / name, 0o640)
    (uploads / "compose.yml").write_text("then")
    (uploads / "gone.env").write_text("A=1\n")
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    for name in (".env", "web.env", ".env.production"):
        (uploads / name).write_text("DB_PASSWORD=rotated # since\nADDED=1\n")
    (uploads / "compose.yml").write_text("now")
    (uploads / "gone.env").unlink()
    for mode in ("keep", "replace"):
        scratch = staged(engine, restic, part)
        kept = engine.merge_configuration(scratch, mode)
        step = bench.step()
        engine.swap(part, scratch, step)
        for name in (".env", "web.env", ".env.production"):
            text = (uploads / name).read_text()
            if mode == "keep":
                assert text == "DB_PASSWORD=rotated # since\nADDED=1\nNEW_IN_BACKUP=yes\n"
            else:
                assert text == "# head\nDB_PASSWORD=old\nNEW_IN_BACKUP=yes\n"
            assert (uploads / name).stat().st_mode & 0o777 == 0o640
        assert len(kept) == (3 if mode == "keep" else 0)
        assert (uploads / "compose.yml").read_text() == "then"
        assert (uploads / "gone.env").read_text() == "A=1\n"
        engine.undo(step)
        engine.drop_scratch(scratch)


# Stages of other runs ----------------------------------------------------------------------------------


def test_what_killed_runs_left_is_swept_and_nothing_else(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    for run in ("0000bb", "0000cc"):
        other = bench.engine("files", run, paths=[str(uploads)])
        other.stage(part, other.context.scratch_name("main", "stage"))
    verifying = bench.engine("files", "0000dd", paths=[str(uploads)])
    (bench.context().home / "scratch").mkdir(parents=True)
    verifying.stage(part, verifying.context.scratch_name("main", "stage"), bench.context().home / "scratch")
    stranger = bench.engine("files", "0000bb", "other", paths=[str(uploads)])
    stranger.stage(part, stranger.context.scratch_name("other", "stage"))
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    old = uploads.parent / (".day2-" + engine.context.scratch_prefix("main")[5:] + "0000bb_old")
    old.mkdir()
    assert len(engine.sweep(["0000cc"])) == 2
    left = ours(bench.root)
    assert len(left) == 4
    assert str(old) in left
    assert [name for name in left if "0000cc" in name]
    engine.drop_scratch(scratch)
    engine.drop_scratch(scratch)
    assert len(ours(bench.root)) == 3


def test_a_chosen_directory_for_verification_is_swept_too(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    area = bench.root / "area"
    area.mkdir()
    killed = bench.engine("files", "0000bb", paths=[str(uploads)])
    part = backed_up(killed, restic)
    staged(killed, restic, part, area)
    engine = bench.engine("files", paths=[str(uploads)])
    scratch = staged(engine, restic, part, area)
    assert [path.name for path in area.iterdir()] == [".day2-" + scratch[5:]]
    assert engine.query(scratch, str(uploads / "plain.txt"))
    engine.drop_scratch(scratch)
    assert list(area.iterdir()) == []


# Swap, undo, finish, and kills -------------------------------------------------------------------------


def test_a_swap_that_fails_halfway_puts_everything_back(
    bench: Bench, restic: Restic, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.make(uploads)
    second = uploads.parent / "second"
    files.make(second)
    engine = bench.engine("files", paths=[str(uploads), str(second)])
    part = backed_up(engine, restic)
    (uploads / "plain.txt").write_text("now")
    before = files.content(uploads), files.content(second)
    scratch = staged(engine, restic, part)
    exchange = files_tree.exchange

    def failing(one: str, other: str) -> bool:
        if other == str(second):
            raise OSError(5, "Input/output error", other)
        return exchange(one, other)

    monkeypatch.setattr(files_tree, "exchange", failing)
    with pytest.raises(OpsError, match="Input/output error"):
        engine.swap(part, scratch, bench.step())
    assert (files.content(uploads), files.content(second)) == before
    engine.drop_scratch(scratch)
    assert ours(bench.root) == []


def test_an_incomplete_stage_is_not_swapped(bench: Bench, restic: Restic, uploads: Path) -> None:
    files.make(uploads)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    scratch = engine.context.scratch_name("main", "stage")
    engine.stage(part, scratch)
    before = files.content(uploads)
    with pytest.raises(Mismatch, match="is not in the staged copy"):
        engine.swap(part, scratch, bench.step())
    assert files.content(uploads) == before


SCENES = [
    "whole",
    "no exchange",
    "missing",
    pytest.param("inside", marks=root_only),
    pytest.param("several", marks=[root_only, pytest.mark.full]),
]


@dataclasses.dataclass
class Scene:
    engine: Files
    part: Part
    scratch: str
    paths: list[Path]

    def copies(self) -> list[set[str]]:
        return [set(files.content(target)) for target in self.engine.stage_targets(self.scratch)]

    def content(self) -> list[Any]:
        """Times of directories left out: moving names out and in changes them."""
        found = [files.content(path) if os.path.lexists(path) else None for path in self.paths]
        for each in found:
            for entry in (each or {}).values():
                if entry[0].startswith("0o4"):
                    entry[3] = 0
        return found


@contextlib.contextmanager
def scene(bench: Bench, restic: Restic, uploads: Path, kind: str, patch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A live tree that differs from a staged backup of it."""
    if kind == "no exchange":
        patch.setattr(files_tree, "exchange", lambda one, other: False)
    with contextlib.ExitStack() as stack:
        paths = [uploads]
        if kind in ("inside", "several"):
            stack.enter_context(place("tmpfs", uploads))
        if kind == "several":
            paths += [bench.root / "one", bench.root / "conf" / "file"]
            paths[2].parent.mkdir()
            paths[2].write_text("then")
        for path in paths[:2]:
            small(path, "then")
        engine = bench.engine("files", paths=[str(path) for path in paths], exclude=["*.mp4"])
        part = backed_up(engine, restic)
        for path in paths[:2]:
            small(path, "now")
            (path / "since").mkdir()
            (path / "since" / "x.mp4").write_text("film")
            shutil.rmtree(path / "gone")
        if kind == "missing":
            shutil.rmtree(uploads.parent)
        scratch = staged(engine, restic, part)
        yield Scene(engine, part, scratch, paths)


def small(path: Path, mark: str) -> None:
    for directory in (path, path / "gone", path / "kept"):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "file").write_text(f"{mark} {directory.name}")
        (directory / "film.mp4").write_text(f"{mark} film")
    os.chmod(path, 0o750 if mark == "then" else 0o711)


@pytest.mark.faults
@pytest.mark.parametrize("kind", SCENES)
def test_a_swap_killed_anywhere_is_undone(
    bench: Bench, restic: Restic, uploads: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(bench, restic, uploads, kind, monkeypatch) as world:
        engine, before = world.engine, world.content()
        copies = world.copies()
        number, killed = 1, True
        while killed:
            killed = killed_at(number, partial(engine.swap, world.part, world.scratch, bench.step()))
            undone(bench, world, before, copies)
            number += 1
        assert number > 8
        step = bench.step()
        engine.swap(world.part, world.scratch, step)
        engine.finish(step)
        engine.drop_scratch(world.scratch)
        assert [(path / "kept" / "file").read_text() for path in world.paths[:2]] == ["then kept"] * len(
            world.paths[:2]
        )
        assert ours(bench.root) == []


@pytest.mark.faults
@pytest.mark.parametrize("kind", SCENES)
def test_an_undo_killed_anywhere_is_done_by_the_next(
    bench: Bench, restic: Restic, uploads: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(bench, restic, uploads, kind, monkeypatch) as world:
        before, copies = world.content(), world.copies()
        number, killed = 1, True
        while killed:
            world.engine.swap(world.part, world.scratch, bench.step())
            assert world.content() != before
            killed = killed_at(number, partial(world.engine.undo, bench.recorded()))
            undone(bench, world, before, copies)
            number += 1
        assert number > 8


def undone(bench: Bench, world: Scene, before: list[Any], copies: list[set[str]]) -> None:
    """A later process undoes what it finds, twice; the staged copy is whole again, and could be swapped again."""
    later = bench.engine("files", paths=[str(path) for path in world.paths], exclude=["*.mp4"])
    later.undo(bench.recorded())
    later.undo(bench.recorded())
    assert world.content() == before
    assert [path for path in ours(bench.root) if path.endswith("_old")] == []
    assert world.copies() == copies


@pytest.mark.faults
@pytest.mark.parametrize("kind", SCENES)
def test_a_finish_killed_anywhere_is_finished(
    bench: Bench, restic: Restic, uploads: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(bench, restic, uploads, kind, monkeypatch) as world:
        engine = world.engine
        for number in (1, 3, 6):
            before = world.content()
            step = bench.step()
            engine.swap(world.part, world.scratch, step)
            after = world.content()
            killed_at(number, partial(engine.finish, step))
            step = bench.recorded()
            later = bench.engine("files", paths=[str(path) for path in world.paths])
            later.finish(step)
            later.finish(step)
            assert world.content() == after
            assert [path for path in ours(bench.root) if path.endswith("_old")] == []
            with pytest.raises(OpsError, match="finished"):
                later.undo(step)
            engine.drop_scratch(world.scratch)
            assert staged(engine, restic, world.part) == world.scratch
            assert before is not after


def test_what_was_made_anew_in_the_meantime_is_kept_when_a_swap_is_undone(
    bench: Bench, restic: Restic, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two renames, and the application came up and made its directory again."""
    monkeypatch.setattr(files_tree, "exchange", lambda one, other: False)
    files.make(uploads)
    engine = bench.engine("files", paths=[str(uploads)])
    part = backed_up(engine, restic)
    scratch = staged(engine, restic, part)
    before = files.content(uploads)
    step = bench.step()
    rename = os.rename

    def stop(source: str, target: str) -> None:
        if target == str(uploads):
            os._exit(9)
        rename(source, target)

    pid = os.fork()
    if pid == 0:
        os.rename = stop  # type: ignore[assignment]
        engine.swap(part, scratch, step)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert not uploads.exists()
    uploads.mkdir()
    (uploads / "upload").write_text("made meanwhile")
    engine.undo(bench.recorded())
    assert files.content(uploads) == before
    assert any("made anew" in warning for warning in bench.warnings)
    engine.drop_scratch(scratch)
    found = Path(bench.warnings[0].split(" is now at ")[1])
    assert (found / "upload").read_text() == "made meanwhile"
