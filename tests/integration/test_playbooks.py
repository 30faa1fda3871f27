# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as users run them, on a copy of the example inventory: ansible-playbook and its screen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "pUrpleMonkey-77-dishwasher"

pytestmark = [pytest.mark.ansible, pytest.mark.sqlite, pytest.mark.files]


@dataclasses.dataclass(frozen=True)
class Run:
    """How an ansible-playbook ended."""

    rc: int
    text: str

    def changed(self, host: str = "booking_local") -> int:
        found = re.search(rf"^{host} +: ok=\d+ +changed=(\d+) .* failed=0 ", self.text, re.M)
        assert found, self.text
        return int(found.group(1))

    def ok(self) -> Run:
        assert self.rc == 0, self.text
        return self

    def refused(self, *words: str) -> Run:
        assert self.rc != 0, self.text
        for word in words:
            assert word in self.text
        return self


@dataclasses.dataclass(frozen=True)
class Application:
    """The example's application in a directory of its own."""

    base: Path
    inventory: Path

    @property
    def database(self) -> Path:
        return self.base / "booking" / "data" / "booking.db"

    @property
    def uploads(self) -> Path:
        return self.base / "booking" / "uploads"

    def deploy(self) -> None:
        self.database.parent.mkdir(parents=True)
        self.uploads.mkdir()
        (self.base / "repository.password").write_text(PASSWORD + "\n")
        with sqlite3.connect(self.database) as connection:
            connection.execute("CREATE TABLE payments (id INTEGER PRIMARY KEY, paid_at TEXT, proof BLOB)")
            rows = [(n, f"2026-11-{1 + n % 28:02}", bytes(range(256)) if n % 3 else None) for n in range(300)]
            connection.executemany("INSERT INTO payments VALUES (?, ?, ?)", rows)
        connection.close()
        for number in range(5):
            (self.uploads / f"scan {number}.jpg").write_bytes(os.urandom(1000 + number))

    def add_row(self) -> None:
        with sqlite3.connect(self.database) as connection:
            connection.execute("INSERT INTO payments (paid_at) VALUES ('2026-12-24')")
        connection.close()

    def damage(self) -> None:
        with sqlite3.connect(self.database) as connection:
            connection.execute("DROP TABLE payments")
        connection.close()
        (self.uploads / "scan 1.jpg").unlink()
        (self.uploads / "scan 2.jpg").write_bytes(b"gone")

    def content(self) -> dict[str, Any]:
        """What the application holds: every row, every file."""
        connection = sqlite3.connect(self.database)
        try:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
        finally:
            connection.close()
        return {"rows": rows, "files": files(self.uploads)}

    def play(self, playbook: str, *words: str, **variables: Any) -> Run:
        """Run a playbook of the collection. Variables are given as a survey gives them: as JSON."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "RESTIC_"))},
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
            "ANSIBLE_HOME": str(self.base / "ansible"),
            "ANSIBLE_REMOTE_TMP": str(self.base / "ansible" / "tmp"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
            "DAY2_DEMO_DIR": str(self.base),
            "LC_ALL": "C.UTF-8",
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory)]
        command += [playbook if "/" in playbook else f"day2.ops.{playbook}", "-e", json.dumps(variables), *words]
        done = subprocess.run(command, env=environment, cwd=self.base, capture_output=True, text=True, check=False)
        return Run(done.returncode, done.stdout + done.stderr)


def files(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def application(base: Path) -> Application:
    inventory = base / "inventory"
    shutil.copytree(ROOT / "inventories" / "example", inventory)
    return Application(base, inventory)


@pytest.fixture(scope="module")
def booking(tmp_path_factory: pytest.TempPathFactory) -> Application:
    """Deployed, prepared and backed up once. Tests leave its data as they found them."""
    made = application(tmp_path_factory.mktemp("booking"))
    made.deploy()
    made.play("prepare").ok()
    made.play("backup").ok()
    return made


@pytest.fixture
def fresh(tmp_path: Path) -> Application:
    """Deployed only."""
    made = application(tmp_path)
    made.deploy()
    return made


def with_hosts(app: Application, change: Any) -> Application:
    """The same application under another inventory."""
    inventory = app.base / "other-inventory"
    shutil.rmtree(inventory, ignore_errors=True)
    shutil.copytree(app.inventory, inventory)
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text())
    change(hosts["day2"]["children"])
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
    return dataclasses.replace(app, inventory=inventory)


# Inventories that would do nothing, or the wrong thing ------------------------------------------------


@pytest.mark.parametrize("playbook", ["prepare", "backup", "verify", "restore"])
def test_a_target_without_hosts_fails_with_its_name(booking: Application, playbook: str) -> None:
    empty = with_hosts(booking, lambda groups: groups.update(garage={}))
    empty.play(playbook, target="garage").refused("target 'garage' matches no host", "booking, garage")


def test_a_host_in_two_applications_is_refused(booking: Application) -> None:
    both = with_hosts(booking, lambda groups: groups.update(garage={"hosts": {"booking_local": {}}}))
    both.play("backup").refused("host booking_local is in two applications, booking and garage")


def test_an_unknown_variable_is_named(booking: Application) -> None:
    booking.play("backup", day2_uncoverd=[]).refused(
        "day2_uncoverd, which day2.ops does not know: did you mean day2_uncovered?"
    )


def test_an_option_of_another_engine_is_named(booking: Application) -> None:
    datastores = [{"name": "main", "engine": "sqlite", "path": "/srv/booking.db", "volume": "uploads"}]
    booking.play("backup", day2_datastores=datastores).refused(
        'datastore "main": volume is not an option of engine sqlite'
    )


def test_an_option_of_the_retention_with_a_typing_mistake_is_refused_before_the_backup(booking: Application) -> None:
    before = files(booking.base / "repository")
    booking.play("backup", day2_retention={"keep_lsat": 3}).refused("keep_lsat")
    assert files(booking.base / "repository") == before


def test_an_application_without_datastores_is_refused(booking: Application) -> None:
    booking.play("backup", day2_datastores=[]).refused("booking-demo has no datastores")


def second_host(app: Application) -> Application:
    def add(groups: dict[str, Any]) -> None:
        groups["booking"]["hosts"]["booking_second"] = dict(groups["booking"]["hosts"]["booking_local"])

    return with_hosts(app, add)


def test_of_two_hosts_the_first_runs_the_data_operations(booking: Application) -> None:
    two = second_host(booking).play("backup").ok()
    assert two.changed("booking_local") == 1
    assert two.changed("booking_second") == 0
    assert two.text.count("backed up as") == 1


def test_the_primary_host_can_be_named(booking: Application) -> None:
    two = second_host(booking).play("backup", day2_primary="booking_second").ok()
    assert two.changed("booking_local") == 0
    assert two.changed("booking_second") == 1


@pytest.mark.parametrize("playbook", ["prepare", "backup"])
def test_a_target_without_the_primary_host_does_not_end_well(booking: Application, playbook: str) -> None:
    run = second_host(booking).play(playbook, target="booking_second")
    run.refused("The data operations of booking-demo run on booking_local", "not in this play")


# Preparing ------------------------------------------------------------------------------------------


def test_prepare_in_check_mode_makes_nothing(fresh: Application) -> None:
    assert fresh.play("prepare", "--check").ok().changed() > 0
    assert {path.name for path in fresh.base.iterdir()} == {"ansible", "booking", "inventory", "repository.password"}


def test_preparing_again_changes_nothing(booking: Application) -> None:
    assert booking.play("prepare").ok().changed() == 0
    assert (booking.base / "state" / "booking-demo").stat().st_mode & 0o777 == 0o700


def test_preparing_with_a_wrong_password_leaves_the_repository_alone(booking: Application) -> None:
    before = files(booking.base / "repository")
    run = booking.play("prepare", day2_repository_password="quite-another-one")
    run.refused("password of the repository", "No repository was created")
    assert files(booking.base / "repository") == before


def test_a_password_that_is_a_name_in_use_is_refused_before_the_repository_exists(fresh: Application) -> None:
    (fresh.base / "repository.password").write_text("paymentsdb")
    datastores = [{"name": "main", "engine": "files", "volume": "paymentsdb"}]
    fresh.play("prepare", day2_datastores=datastores).refused("the repository password equals a name that is in use")
    assert not (fresh.base / "repository").exists()


def test_a_missing_program_is_named_and_nothing_is_made(fresh: Application) -> None:
    fresh.play("prepare", day2_repository_restic="/opt/restic/restic").refused(
        "/opt/restic/restic is not on the PATH of booking_local"
    )
    assert not (fresh.base / "state").exists()


# Backing up -----------------------------------------------------------------------------------------


def test_a_young_backup_makes_another_one_unnecessary(booking: Application) -> None:
    again = booking.play("backup", backup_max_age="1h").ok()
    assert again.changed() == 0
    assert "is younger than 1h, so none was made" in again.text


def test_the_summary_says_that_no_retention_was_applied(booking: Application) -> None:
    assert "Retention: none, because no policy is given" in booking.play("backup", backup_max_age="1h").ok().text


def test_a_retention_is_applied(booking: Application) -> None:
    booking.play("backup").ok()
    run = booking.play("backup", "--check", backup_max_age="1h", backup_retention={"keep_last": 1}).ok()
    assert re.search(r"Retention: \d+ kept, [1-9]\d* would be removed", run.text)


def test_a_workflow_gets_the_id(booking: Application) -> None:
    run = booking.play("backup").ok()
    made = re.search(r"backed up as ([0-9TZ]+-[0-9a-f]{6})", run.text)
    assert made
    stats = run.text[run.text.index("CUSTOM STATS") :]
    assert f'"day2_backup_id": "{made.group(1)}"' in stats
    assert f'"day2_backup_id_booking_demo": "{made.group(1)}"' in stats
    # In the workflow's next job it comes back as an extra variable.
    booking.play("verify", "--check", day2_backup_id=made.group(1), verify_backup=made.group(1)).ok()


@pytest.mark.parametrize("playbook", ["backup", "verify", "restore"])
def test_check_mode_changes_nothing(booking: Application, playbook: str) -> None:
    before = booking.content(), files(booking.base / "repository")
    booking.play(playbook, "--check", "--diff", restore_replace=True).ok()
    assert (booking.content(), files(booking.base / "repository")) == before


# Verifying and restoring ----------------------------------------------------------------------------

UNANSWERED = {"restore_backup": "", "restore_before": "", "restore_from_instance": "", "restore_only": "", "target": ""}


def test_unanswered_questions_of_a_survey_mean_not_given(booking: Application) -> None:
    booking.play("backup").ok()
    booking.play("verify", target="", verify_backup="", verify_only="").ok()
    before = booking.content()
    booking.damage()
    assert booking.content() != before
    run = booking.play("restore", **UNANSWERED, restore_replace=True).ok()
    assert booking.content() == before
    assert "what was there before is the safety copy" in run.text


def test_a_time_from_a_survey_chooses_the_backup(booking: Application) -> None:
    booking.play("backup").ok()
    earlier = booking.content()
    booking.add_row()
    later = booking.play("backup").ok().text
    started = re.search(r"backed up as (\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", later)
    assert started
    year, month, day, hour, minute, second = started.groups()
    moment = f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"
    booking.play("restore", **{**UNANSWERED, "restore_before": moment}, restore_replace="true").ok()
    assert booking.content() == earlier


def test_part_of_a_backup_is_chosen_by_a_list_of_names(booking: Application) -> None:
    booking.play("backup").ok()
    before = booking.content()
    booking.damage()
    booking.play("restore", **{**UNANSWERED, "restore_only": "uploads"}, restore_replace=True).ok()
    assert booking.content()["files"] == before["files"]
    assert booking.content()["rows"] != before["rows"]
    booking.play("restore", restore_only=["main"], restore_replace=True).ok()
    assert booking.content() == before


def test_live_data_are_not_replaced_unless_told(booking: Application) -> None:
    before = booking.content()
    booking.play("restore").refused("replace")
    assert booking.content() == before


def test_a_role_reads_what_an_extra_variable_chooses(booking: Application) -> None:
    """Not only the playbook of that name: a play of one's own with the role must not restore another backup."""
    play = [{"hosts": "booking", "gather_facts": False, "roles": [{"role": "day2.ops.restore"}]}]
    (booking.base / "own.yml").write_text(yaml.safe_dump(play))
    run = booking.play(str(booking.base / "own.yml"), restore_backup="20200101T000000Z-abcdef", restore_replace=True)
    run.refused("20200101T000000Z-abcdef")


# Secrets --------------------------------------------------------------------------------------------


def test_no_password_is_shown_however_much_is_asked_for(booking: Application) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "kEy-of-the-bucket-9931"}
    for playbook in ("prepare", "backup", "verify", "restore"):
        run = booking.play(playbook, "-vvv", "--diff", day2_repository_environment=secret, restore_replace=True)
        text = run.ok().text.replace(json.dumps(secret), "")  # what we gave on the command line ourselves
        assert "repository" in text
        assert PASSWORD not in text, playbook
        assert secret["AWS_SECRET_ACCESS_KEY"] not in text, playbook


def test_a_monitoring_system_is_told_of_backups_and_proofs(booking: Application) -> None:
    told = booking.base / "told"
    told.mkdir(exist_ok=True)
    given = {"day2_prometheus_file": str(told / "day2.prom"), "day2_json_file": str(told / "day2.json")}
    booking.play("backup", **given).ok()
    after_backup = json.loads((told / "day2.json").read_text())
    booking.play("verify", **given).ok()
    facts = json.loads((told / "day2.json").read_text())
    newest = facts["last_backup"]
    assert facts["counts"]["backups"] == after_backup["counts"]["backups"] > 1
    assert facts["last_proof"]["backup"] == newest["id"] == after_backup["last_backup"]["id"]
    assert newest["proven"] and not after_backup["last_backup"]["proven"]
    labels = '{app="booking",instance="demo"}'
    lines = (told / "day2.prom").read_text().splitlines()
    assert f"day2_backup_last_size_bytes{labels} {newest['bytes']}" in lines
    assert f"day2_backup_last_proof_timestamp_seconds{labels} {facts['last_proof']['timestamp']}" in lines
    assert sorted(path.name for path in told.iterdir()) == ["day2.json", "day2.prom"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in told.iterdir()}
    assert modes == {"day2.json": 0o600, "day2.prom": 0o644}
