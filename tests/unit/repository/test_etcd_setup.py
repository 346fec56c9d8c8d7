"""Installing etcd for the tests: nothing starts, the machine stays as it was, nothing runs twice.

The real script runs in a copy of its folder with a PATH of stand-ins; the program that Debian's
packages ask whether to start anything stands in the test's folder as well.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from unit.repository.source_tree import ROOT

TOOLS = ("sh", "dirname", "mkdir", "cat", "rm", "mv", "chmod", "grep", "flock")
POLICY = "/usr/sbin/policy-rc.d"
# Asks the policy as a package does when it is set up, and brings the two commands.
APT_GET = """#!/bin/sh
here=$(dirname "$0")
echo "apt-get $* frontend=$DEBIAN_FRONTEND" >>"$here/log"
case "$*" in
*update*) exit 0 ;;
esac
status=0
"$here/policy-rc.d" etcd start || status=$?
echo "policy $status" >>"$here/log"
[ ! -e "$here/fails" ] || { echo "E: no such package" >&2; exit 100; }
for name in etcd etcdctl; do
    printf '#!/bin/sh\\n' >"$here/$name"
    chmod 755 "$here/$name"
done
"""
OPERATORS_OWN = "#!/bin/sh\n# the operator's\nexit 0\n"
DENIES_ALL = "#!/bin/sh\nexit 101\n"

pytestmark = pytest.mark.slow


class BareMachine:
    """A checkout, and a PATH that has only what its test puts there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.checkout = folder / "a check out"
        self.path.mkdir()
        (self.checkout / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "apt_packages.sh", self.checkout / "scripts")
        script = (ROOT / "scripts" / "install_etcd.sh").read_text(encoding="utf-8")
        assert POLICY in script
        moved = script.replace(POLICY, f"'{self.policy}'")
        (self.checkout / "scripts" / "install_etcd.sh").write_text(moved, encoding="utf-8")
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.path / tool).symlink_to(found)
        self.add("apt-get", APT_GET)
        self.be_user(0)

    @property
    def policy(self) -> Path:
        return self.path / "policy-rc.d"

    @property
    def log(self) -> list[str]:
        path = self.path / "log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def add(self, name: str, text: str) -> None:
        program = self.path / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    def be_user(self, number: int) -> None:
        self.add("id", f"#!/bin/sh\necho {number}\n")

    def left(self) -> set[str]:
        """What of the policy is there."""
        return {path.name for path in self.path.glob("policy-rc.d*")}

    def install(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.path / "sh"), "scripts/install_etcd.sh"],
            cwd=self.checkout,
            env={"PATH": str(self.path), "LANG": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    return BareMachine(tmp_path)


def test_root_gets_it_installed_and_nothing_may_start_meanwhile(machine: BareMachine) -> None:
    ran = machine.install()
    assert (ran.returncode, ran.stderr) == (0, "Installing etcd-server etcd-client\n")
    assert machine.log == [
        "apt-get -qq update frontend=noninteractive",
        "apt-get install -y --no-install-recommends etcd-server etcd-client -qq "
        "-o DPkg::Lock::Timeout=300 frontend=noninteractive",
        "policy 101",
    ]
    assert machine.left() == set()


def test_it_does_not_start_with_the_machine_either(machine: BareMachine) -> None:
    machine.add("update-rc.d", '#!/bin/sh\necho "update-rc.d $*" >>"$(dirname "$0")/log"\n')
    machine.install()
    assert machine.log[-1] == "update-rc.d etcd disable"


def test_a_policy_that_was_there_stands_again_afterwards(machine: BareMachine) -> None:
    machine.add("policy-rc.d", OPERATORS_OWN)
    assert machine.install().returncode == 0
    assert machine.log[-1] == "policy 101"
    assert machine.policy.read_text(encoding="utf-8") == OPERATORS_OWN
    assert machine.left() == {"policy-rc.d"}


def test_a_policy_that_forbids_starts_anyway_is_left_alone(machine: BareMachine) -> None:
    machine.add("policy-rc.d", DENIES_ALL)
    before = machine.policy.stat()
    machine.install()
    after = machine.policy.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert machine.log[-1] == "policy 101"


def test_an_install_that_fails_puts_the_policy_back_and_the_tests_go_on(
    machine: BareMachine,
) -> None:
    machine.add("policy-rc.d", OPERATORS_OWN)
    (machine.path / "fails").touch()
    ran = machine.install()
    assert ran.returncode == 0
    assert "E: no such package" in ran.stderr
    assert ran.stderr.endswith("ottla: etcd could not be installed; what needs it is left out\n")
    assert machine.policy.read_text(encoding="utf-8") == OPERATORS_OWN


def test_an_install_that_is_interrupted_puts_the_policy_back(machine: BareMachine) -> None:
    machine.add("policy-rc.d", OPERATORS_OWN)
    script = machine.checkout / "scripts" / "install_etcd.sh"
    text = script.read_text(encoding="utf-8")
    cut = text.replace('if (install_packages "$packages"); then', "kill -TERM $$\nif true; then")
    assert cut != text
    script.write_text(cut, encoding="utf-8")
    assert machine.install().returncode == 128 + signal.SIGTERM
    assert machine.policy.read_text(encoding="utf-8") == OPERATORS_OWN
    assert machine.left() == {"policy-rc.d"}


@pytest.mark.parametrize("written", [True, False])
def test_what_a_killed_install_left_is_put_right_by_the_next(
    machine: BareMachine, written: bool
) -> None:
    machine.add("policy-rc.d.before-ottla", OPERATORS_OWN)
    if written:
        mark = "# ottla: nothing starts while etcd is installed"
        machine.add("policy-rc.d", f"#!/bin/sh\n{mark}\nexit 101\n")
    machine.install()
    assert machine.policy.read_text(encoding="utf-8") == OPERATORS_OWN
    assert machine.left() == {"policy-rc.d"}


def test_a_machine_that_has_it_is_left_alone(machine: BareMachine) -> None:
    machine.install()
    calls = machine.log
    again = machine.install()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.log == calls


def test_who_may_not_install_gets_the_one_line_to_run(machine: BareMachine) -> None:
    machine.be_user(1000)
    ran = machine.install()
    assert (ran.returncode, ran.stderr) == (
        0,
        "ottla: etcd is missing, what needs it is left out; run: sudo apt-get update && "
        "sudo apt-get install -y --no-install-recommends etcd-server etcd-client\n",
    )
    assert machine.log == []


def test_a_machine_without_apt_goes_on_without_it(machine: BareMachine) -> None:
    (machine.path / "apt-get").unlink()
    ran = machine.install()
    assert (ran.returncode, ran.stderr) == (
        0,
        "ottla: etcd is missing; what needs it is left out\n",
    )
