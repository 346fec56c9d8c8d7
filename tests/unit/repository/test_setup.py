"""Set-up on a bare machine: what it installs, what it says, and that it does nothing twice.

The real script runs in a copy of its folder with a PATH of stand-ins, so that no test depends on
what is installed here or changes it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unit.repository.source_tree import ROOT

TOOLS = ("sh", "dirname", "basename", "mkdir", "cat", "head", "rm", "mv", "flock")
APT_GET = """#!/bin/sh
echo "apt-get $* frontend=$DEBIAN_FRONTEND" >>"$0.log"
case "$*" in
*update*)
    tries=$(cat "$0.tries" 2>/dev/null || echo 0)
    echo $((tries + 1)) >"$0.tries"
    [ "$tries" -ge 2 ] || { echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; } ;;
*install*) mv "$(dirname "$0")/python3.hidden" "$(dirname "$0")/python3" ;;
esac
"""

pytestmark = pytest.mark.slow


class BareMachine:
    """A checkout with one empty lock, and a PATH that has only what its test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a check out"
        self.path = folder / "bin"
        self.path.mkdir()
        (self.checkout / "scripts").mkdir(parents=True)
        script = (ROOT / "scripts" / "setup_venv.sh").read_text(encoding="utf-8")
        hidden = script.replace("/usr/bin/python3", "/nonexistent/python3")
        (self.checkout / "scripts" / "setup_venv.sh").write_text(hidden, encoding="utf-8")
        shutil.copy(ROOT / "scripts" / "apt_packages.sh", self.checkout / "scripts")
        (self.checkout / "pyproject.toml").touch()
        (self.checkout / "some.lock").write_text("# nothing\n", encoding="utf-8")
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.path / tool).symlink_to(found)
        self.add("sleep", "#!/bin/sh\n")

    def add(self, name: str, text: str) -> Path:
        program = self.path / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        return program

    def add_python(self, name: str = "python3") -> None:
        # Not a link: a linked interpreter would take the environment of these tests for its own.
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        self.add(name, f'#!/bin/sh\nexec "{python}" "$@"\n')

    def be_user(self, number: int) -> None:
        self.add("id", f"#!/bin/sh\necho {number}\n")

    def set_up(self, *, active: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the script, in a shell where the environment `active` has been activated."""
        path = f"{active / 'bin'}:{self.path}" if active else str(self.path)
        return subprocess.run(
            [str(self.path / "sh"), "scripts/setup_venv.sh", "env", "some.lock"],
            cwd=self.checkout,
            env={"PATH": path, "LANG": "C"},  # no HOME, no terminal
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    return BareMachine(tmp_path)


def test_user_without_venv_gets_the_one_line_to_run(machine: BareMachine) -> None:
    machine.be_user(1000)
    machine.add("apt-get", APT_GET)
    ran = machine.set_up()
    assert ran.returncode == 1
    assert ran.stderr == (
        "ottla: python3-venv is missing; run: sudo apt-get update && "
        "sudo apt-get install -y --no-install-recommends python3-venv\n"
    )
    assert not (machine.path / "apt-get.log").exists()


def test_root_gets_it_installed_though_the_package_lists_are_locked(machine: BareMachine) -> None:
    machine.be_user(0)
    machine.add_python("python3.hidden")
    machine.add("apt-get", APT_GET)
    ran = machine.set_up()
    assert ran.returncode == 0, ran.stderr
    calls = (machine.path / "apt-get.log").read_text(encoding="utf-8").splitlines()
    update = "apt-get -qq update frontend=noninteractive"
    install = (
        "apt-get install -y --no-install-recommends python3-venv -qq "
        "-o DPkg::Lock::Timeout=300 frontend=noninteractive"
    )
    assert calls == [update, update, update, install]
    assert (machine.checkout / "env" / "bin" / "python").exists()


def test_machine_without_apt_is_told_what_is_needed(machine: BareMachine) -> None:
    machine.be_user(0)
    ran = machine.set_up()
    assert ran.returncode == 1
    assert ran.stderr == "ottla: needs Python 3.11 or newer with its venv module\n"


def test_older_python_is_passed_over(machine: BareMachine) -> None:
    machine.be_user(1000)
    machine.add("python3", "#!/bin/sh\nexit 1\n")
    machine.add_python("python3.12")
    ran = machine.set_up()
    assert ran.returncode == 0, ran.stderr


def test_second_run_does_nothing_and_a_changed_lock_starts_afresh(machine: BareMachine) -> None:
    machine.be_user(1000)
    machine.add_python()
    assert machine.set_up().stderr.startswith("Setting up env from some.lock\n")
    mark = machine.checkout / "env" / "mark"
    mark.touch()
    again = machine.set_up()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert mark.exists()
    (machine.checkout / "some.lock").write_text("# something\n", encoding="utf-8")
    assert machine.set_up().returncode == 0
    assert not mark.exists()


def test_activated_environment_is_neither_wiped_nor_a_base_for_another(
    machine: BareMachine,
) -> None:
    machine.be_user(1000)
    machine.add_python()
    assert machine.set_up().returncode == 0
    environment = machine.checkout / "env"
    (environment / "mark").touch()
    for active in (environment, None, environment):
        again = machine.set_up(active=active)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        assert (environment / "mark").exists()
    (machine.checkout / "some.lock").write_text("# something\n", encoding="utf-8")
    assert machine.set_up(active=environment).returncode == 0
    made_by = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    assert str(environment / "bin") not in made_by.replace(f"venv {environment}", "")
    assert (environment / "bin" / "python").resolve().is_file()


def test_interrupted_set_up_is_taken_up_again(machine: BareMachine) -> None:
    machine.be_user(1000)
    machine.add_python()
    (machine.checkout / "env").mkdir()
    (machine.checkout / "env" / "half").touch()
    assert machine.set_up().returncode == 0
    assert not (machine.checkout / "env" / "half").exists()


def test_package_that_is_not_pinned_by_hash_is_refused(machine: BareMachine) -> None:
    machine.be_user(1000)
    machine.add_python()
    (machine.checkout / "some.lock").write_text("hpack==4.1.0\n", encoding="utf-8")
    ran = machine.set_up()
    assert ran.returncode != 0
    assert "hash" in ran.stderr
    assert not (machine.checkout / "env" / ".ottla-stamp").exists()
