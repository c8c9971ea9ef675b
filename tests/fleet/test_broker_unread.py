"""The role `broker` after a run that ended too soon: what mosquitto has not read yet is found, and read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.fleet.player import ANSIBLE
from tests.fleet.role_broker import is_let_in
from tests.fleet.role_site import Site, book_of_the_broker, up_to

pytestmark = [pytest.mark.ansible, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_list_that_nobody_read_is_read_by_the_next_run(site: Site, tmp_path: Path) -> None:
    """Of a run that ended between the list and its reload; without a change, nothing is due any more."""
    gone = ("-e", "nanofleet_decommission=nano-1")
    lost = {"name": "Lose the line", "ansible.builtin.fail": {"msg": "it is lost"}}
    site.run(up_to("Tell the broker", tmp_path, lost), *gone, fails=True)
    assert site.reloads == 0
    assert is_let_in(site.stolen, site.broker.port)
    site.run("decommission.yml", *gone)
    assert site.reloads == 1
    assert not is_let_in(site.stolen, site.broker.port)


def test_lists_are_read_once_and_again_if_they_were_written_meanwhile(site: Site, tmp_path: Path) -> None:
    book = book_of_the_broker(tmp_path, "access")
    site.run(book)
    assert site.reloads == 1
    for options in ((), ("--check", "--diff")):
        assert "changed=0" in site.run(book, *options)
        assert site.reloads == 0
    for name in ("acl", "crl.pem"):
        # Another file with what was there, as a copy that comes in the middle of a reload.
        shutil.copy(site.broker.etc / name, site.broker.etc / "meanwhile")
        site.while_it_reloads = f"mv {site.broker.etc}/meanwhile {site.broker.etc}/{name}; "
        (site.broker.etc / name).touch()
        site.run(book)
        site.while_it_reloads = ""
        assert "changed=1" in site.run(book, "--check")
        site.run(book)
        assert site.reloads == 1
        assert "changed=0" in site.run(book)


def book_of_the_look(folder: Path) -> str:
    """A playbook that only sees whether mosquitto was started with its settings: the rest writes to /etc."""
    broker = ANSIBLE / "roles/broker"
    tasks = yaml.safe_load((broker / "tasks/configure.yml").read_text())
    play = {
        "hosts": "broker",
        "gather_facts": False,
        "vars_files": [str(broker / f"{kind}/main.yml") for kind in ("defaults", "vars")],
        "tasks": [task for task in tasks if task["name"] == "See whether mosquitto was started with these"],
        "handlers": yaml.safe_load((broker / "handlers/main.yml").read_text()),
    }
    book = folder / "look.yml"
    book.write_text(yaml.safe_dump([play]))
    return str(book)


def test_settings_that_it_was_not_started_with_restart_it_and_it_reads_its_lists_too(
    site: Site, tmp_path: Path
) -> None:
    settings, lists = tmp_path / "nanofleet.conf", book_of_the_broker(tmp_path, "access")
    settings.touch()
    site.variables["__nanofleet_broker_settings"] = [str(settings)]
    site.run(lists)
    with site.restarting():
        for _ in range(2):
            before = site.broker.pid
            settings.write_text("# another")
            (site.broker.etc / "acl").touch()
            site.run(book_of_the_look(tmp_path))
            assert site.broker.pid != before
            assert "changed=0" in site.run(book_of_the_look(tmp_path))
    assert "changed=0" in site.run(lists)
