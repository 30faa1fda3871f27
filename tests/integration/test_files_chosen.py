# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: chosen paths of a backup, in place of the live ones or beside them; everything else stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.day2.ops.plugins.module_utils._core.errors import OpsError, Refused
from ansible_collections.day2.ops.plugins.module_utils._core.model import Part
from ansible_collections.day2.ops.plugins.module_utils._engines import files_tree
from ansible_collections.day2.ops.plugins.module_utils._engines.base import Chosen
from ansible_collections.day2.ops.plugins.module_utils._engines.files import Files
from ansible_collections.day2.ops.plugins.module_utils._store.restic import Repository, Restic

from tests.integration.support import files
from tests.integration.support.local import Bench, killed_at
from tests.integration.test_files_engine import backed_up, ours, root_only, staged

pytestmark = pytest.mark.files


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
    shutil.copytree(empty_repository, bench.root / "repository")
    return Restic(Repository(str(bench.root / "repository"), "a long password"), bench.context())


@pytest.fixture
def uploads(bench: Bench) -> Path:
    return bench.root / "srv" / "uploads"


def write(top: Path, mark: str) -> None:
    for name in ("2026/05/a", "2026/05/film.mp4", "2026/06/a", "logo.png", "deep/er/one", "x [y]*/z"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{mark} {name}")
    (top / "deep").chmod(0o750)


def texts(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def content(top: Path) -> dict[str, Any]:
    """Times of directories left out: moving names out and in changes them."""
    found = files.content(top)
    for entry in found.values():
        if entry[0].startswith("0o4"):
            entry[3] = 0
    return found


def changed(bench: Bench, restic: Restic, uploads: Path) -> tuple[Files, Part]:
    """A backup, and the live tree that has changed since, everywhere."""
    write(uploads, "then")
    engine: Files = bench.engine("files", paths=[str(uploads)], exclude=["*.mp4"])
    part = backed_up(engine, restic)
    write(uploads, "now")
    (uploads / "2026/05/since").write_text("now since")
    (uploads / "since").write_text("now since")
    (uploads / "deep" / "own").mkdir()
    return engine, part


def restored(bench: Bench, restic: Restic, engine: Files, part: Part, *names: str, suffix: str = "") -> None:
    chosen = Chosen(names, suffix)
    engine.check_chosen(part, chosen)
    scratch = staged(engine, restic, part)
    step = bench.step()
    engine.swap_chosen(part, scratch, chosen, step)
    engine.finish(step)
    engine.drop_scratch(scratch)
    assert ours(bench.root) == []


@pytest.fixture(params=["plain", pytest.param("tmpfs", marks=root_only)])
def place(request: pytest.FixtureRequest, uploads: Path) -> Iterator[Path]:
    """An ordinary directory, and one that must keep its place."""
    uploads.mkdir(parents=True)
    if request.param == "plain":
        yield uploads
    else:
        with files.mounted(uploads, "-t", "tmpfs", "tmpfs"):
            yield uploads


def test_chosen_paths_come_back_and_the_others_stay(bench: Bench, restic: Restic, place: Path) -> None:
    engine, part = changed(bench, restic, place)
    before = content(place)
    restored(bench, restic, engine, part, "2026/05", str(place / "logo.png"), "x [y]*/")
    found = texts(place)
    assert {name: text.split()[0] for name, text in found.items()} == {
        "2026/05/a": "then",
        "2026/05/film.mp4": "now",  # which no backup holds
        "2026/06/a": "now",
        "deep/er/one": "now",
        "logo.png": "then",
        "since": "now",
        "x [y]*/z": "then",
    }
    after = content(place)
    mine = ("2026/05", "logo.png", "x [y]*")
    assert {k: v for k, v in after.items() if not k.startswith(mine)} == {
        k: v for k, v in before.items() if not k.startswith(mine)
    }


def test_what_is_gone_comes_back_with_the_directories_above_it(
    bench: Bench,
    restic: Restic,
    place: Path,
) -> None:
    engine, part = changed(bench, restic, place)
    shutil.rmtree(place / "deep")
    before = texts(place)
    restored(bench, restic, engine, part, "deep/er/one")
    assert texts(place) == {**before, "deep/er/one": "then deep/er/one"}
    assert (place / "deep").stat().st_mode & 0o777 == 0o750


def test_a_path_of_another_kind_is_replaced(bench: Bench, restic: Restic, uploads: Path) -> None:
    engine, part = changed(bench, restic, uploads)
    shutil.rmtree(uploads / "2026")
    (uploads / "2026").write_text("a file")
    (uploads / "logo.png").unlink()
    (uploads / "logo.png").mkdir()
    (uploads / "logo.png" / "x").touch()
    restored(bench, restic, engine, part, "2026", "logo.png")
    assert (uploads / "2026/06/a").read_text() == "then 2026/06/a"
    assert (uploads / "logo.png").read_text() == "then logo.png"


def test_paths_beside_leave_everything_as_it_is(bench: Bench, restic: Restic, place: Path) -> None:
    engine, part = changed(bench, restic, place)
    before = content(place)
    restored(bench, restic, engine, part, "2026/05", "logo.png", suffix="_restored")
    after = content(place)
    assert {name: entry for name, entry in after.items() if "_restored" not in name} == before
    assert (place / "2026/05_restored/a").read_text() == "then 2026/05/a"
    assert (place / "logo.png_restored").read_text() == "then logo.png"
    with pytest.raises(Refused, match=r"05_restored exists already.*another include_suffix"):
        engine.check_chosen(part, Chosen(("2026/05",), "_restored"))


def test_of_several_paths_one_is_chosen_whole(bench: Bench, restic: Restic, uploads: Path) -> None:
    other = bench.root / "conf" / "app.ini"
    other.parent.mkdir()
    other.write_text("then")
    write(uploads, "then")
    engine = bench.engine("files", paths=[str(uploads), str(other)], exclude=[])
    part = backed_up(engine, restic)
    other.write_text("now")
    write(uploads, "now")
    before = texts(uploads)
    restored(bench, restic, engine, part, str(other))
    restored(bench, restic, engine, part, str(other), suffix=".then")
    assert (other.read_text(), texts(uploads)) == ("then", before)
    assert sorted(path.name for path in other.parent.iterdir()) == ["app.ini", "app.ini.then"]
    with pytest.raises(Refused, match=rf"is a relative path, and the datastore has 2 paths.*{uploads}/logo.png"):
        engine.check_chosen(part, Chosen(("logo.png",)))


# Refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("../outside",), "leads out of where it begins"),
        (("2026/../../outside",), "leads out of where it begins"),
        (("/etc/passwd",), "is not in the datastore's own paths"),
        ((".",), "is everything"),
        (("linked/er/one",), r"is below .*/linked, which is no directory of its own"),
        (("logo.png/x",), r"is below .*/logo.png, which is no directory of its own"),
        (("2026", "2026/05"), '"2026/05" is inside "2026"'),
        (("logo.png", "./logo.png"), "or the same"),
        ((".day2-x",), "a name of our own"),
    ],
)
def test_what_leads_elsewhere_is_refused(
    bench: Bench,
    restic: Restic,
    uploads: Path,
    names: tuple[str, ...],
    why: str,
) -> None:
    engine, part = changed(bench, restic, uploads)
    (uploads / "linked").symlink_to("deep")
    scratch = staged(engine, restic, part)
    before = content(bench.root / "srv")
    for work in (
        partial(engine.check_chosen, part, Chosen(names)),
        partial(engine.swap_chosen, part, scratch, Chosen(names), bench.step()),
    ):
        with pytest.raises(Refused, match=why):
            work()
    assert content(bench.root / "srv") == before


def test_a_link_in_the_backup_leads_nowhere(bench: Bench, restic: Restic, uploads: Path) -> None:
    """What was a link when it was backed up, and is a directory now."""
    write(uploads, "then")
    (uploads / "linked").symlink_to("/etc")
    engine = bench.engine("files", paths=[str(uploads)], exclude=[])
    part = backed_up(engine, restic)
    (uploads / "linked").unlink()
    (uploads / "linked").mkdir()
    scratch = staged(engine, restic, part)
    for name, why in (("linked/hostname", "not in the staged copy"), ("nothing", "not in the staged copy")):
        with pytest.raises(OpsError, match=why):
            engine.swap_chosen(part, scratch, Chosen((name,)), bench.step())
    assert list((uploads / "linked").iterdir()) == []


@root_only
def test_nothing_is_put_beside_a_mount_point(bench: Bench, restic: Restic, uploads: Path) -> None:
    uploads.mkdir(parents=True)
    with files.mounted(uploads, "-t", "tmpfs", "tmpfs"):
        engine, part = changed(bench, restic, uploads)
        with pytest.raises(Refused, match="nothing can be put beside it"):
            engine.check_chosen(part, Chosen((str(uploads),), "_x"))
        restored(bench, restic, engine, part, str(uploads))
        assert texts(uploads)["logo.png"] == "then logo.png"


# Killed ------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("exchange", [True, pytest.param(False, marks=pytest.mark.full)])
@pytest.mark.parametrize("suffix", ["", "_restored"])
@pytest.mark.parametrize("what", ["swap", "undo", "finish"])
def test_killed_anywhere_it_is_undone_or_finished(
    bench: Bench,
    restic: Restic,
    place: Path,
    suffix: str,
    what: str,
    exchange: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not exchange:
        monkeypatch.setattr(files_tree, "exchange", lambda one, other: False)
    engine, part = changed(bench, restic, place)
    shutil.rmtree(place / "deep")
    chosen = Chosen(("2026/05", "logo.png", "deep/er"), suffix)
    scratch = staged(engine, restic, part)
    before, number, killed = content(place), 1, True
    while killed:
        swap = partial(engine.swap_chosen, part, scratch, chosen, bench.step())
        if what == "swap":
            killed = killed_at(number, swap)
        else:
            swap()
            assert content(place) != before
            killed = killed_at(number, partial(getattr(engine, what), bench.recorded()))
        for _time in (1, 2):
            (engine.finish if what == "finish" else engine.undo)(bench.recorded())
        if what == "finish":
            assert (place / f"2026/05{suffix}/a").read_text() == "then 2026/05/a"
            assert [path for path in ours(bench.root) if path.endswith("_old")] == []
            break
        assert content(place) == before, number
        assert [path for path in ours(bench.root) if path.endswith("_old")] == [], number
        number += 1
    assert number > 5 or what == "finish"
    engine.drop_scratch(scratch)
    assert ours(bench.root) == []


@pytest.mark.faults
def test_a_fault_in_the_middle_is_undone(
    bench: Bench,
    restic: Restic,
    uploads: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, part = changed(bench, restic, uploads)
    scratch, before = staged(engine, restic, part), content(uploads)
    exchange, calls = files_tree.exchange, []

    def failing(one: str, other: str) -> bool:
        calls.append(one)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return exchange(one, other)

    monkeypatch.setattr(files_tree, "exchange", failing)
    with pytest.raises(OpsError, match="Input/output error"):
        engine.swap_chosen(part, scratch, Chosen(("2026/05", "logo.png")), bench.step())
    assert len(calls) > 2
    assert content(uploads) == before
    engine.drop_scratch(scratch)
    assert ours(bench.root) == []
