"""Installing gRPC for C++ for the program in that language: once, as root, and never a failure.

The real script runs in a copy of its folder with a PATH of stand-ins.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from unit.repository.source_tree import ROOT

TOOLS = ("sh", "dirname", "mkdir", "flock")
COMMANDS = ("g++", "make", "pkg-config", "protoc", "grpc_cpp_plugin")
PACKAGES = "g++ make pkg-config protobuf-compiler-grpc libgrpc++-dev libprotobuf-dev"
APT_GET = f"""#!/bin/sh
here=${{0%/*}}
echo "apt-get $*" >>"$here/log"
case "$*" in
*update*) exit 0 ;;
esac
[ ! -e "$here/fails" ] || {{ echo "E: no such package" >&2; exit 100; }}
for name in {" ".join(COMMANDS)}; do
    printf '#!/bin/sh\\n' >"$here/$name"
    chmod 755 "$here/$name"
done
"""

pytestmark = pytest.mark.slow


class BareMachine:
    """A checkout, and a PATH that has only what its test puts there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.checkout = folder / "a check out"
        self.path.mkdir()
        (self.checkout / "scripts").mkdir(parents=True)
        for name in ("apt_packages.sh", "install_cpp_grpc.sh"):
            shutil.copy(ROOT / "scripts" / name, self.checkout / "scripts")
        for tool in (*TOOLS, "chmod"):
            if found := shutil.which(tool):
                (self.path / tool).symlink_to(found)
        self.add("apt-get", APT_GET)
        self.add("id", "#!/bin/sh\necho 0\n")

    @property
    def log(self) -> list[str]:
        path = self.path / "log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def add(self, name: str, text: str) -> None:
        program = self.path / name
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    def install(self) -> str:
        """Runs the script, which succeeds; returns what it said."""
        ran = subprocess.run(
            [str(self.path / "sh"), "scripts/install_cpp_grpc.sh"],
            cwd=self.checkout,
            env={"PATH": str(self.path), "LANG": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (0, "")
        return ran.stderr


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    return BareMachine(tmp_path)


def test_root_gets_it_installed_once(machine: BareMachine) -> None:
    assert machine.install() == f"Installing {PACKAGES}\n"
    calls = [
        "apt-get -qq update",
        f"apt-get install -y --no-install-recommends {PACKAGES} -qq -o DPkg::Lock::Timeout=300",
    ]
    assert machine.log == calls
    assert machine.install() == ""
    assert machine.log == calls


@pytest.mark.parametrize("missing", COMMANDS)
def test_it_is_installed_when_one_part_is_missing(machine: BareMachine, missing: str) -> None:
    for name in COMMANDS:
        if name != missing:
            machine.add(name, "#!/bin/sh\n")
    assert machine.install() == f"Installing {PACKAGES}\n"


def test_tools_without_the_libraries_are_not_enough(machine: BareMachine) -> None:
    for name in COMMANDS:
        machine.add(name, "#!/bin/sh\n")
    machine.add("pkg-config", "#!/bin/sh\nexit 1\n")
    assert machine.install() == f"Installing {PACKAGES}\n"


def test_who_may_not_install_gets_the_one_line_to_run(machine: BareMachine) -> None:
    machine.add("id", "#!/bin/sh\necho 1000\n")
    assert machine.install() == (
        "ottla: gRPC for C++ is missing, its program is left out; run: sudo apt-get update && "
        f"sudo apt-get install -y --no-install-recommends {PACKAGES}\n"
    )
    assert machine.log == []


def test_a_machine_without_apt_goes_on_without_it(machine: BareMachine) -> None:
    (machine.path / "apt-get").unlink()
    assert machine.install() == "ottla: gRPC for C++ is missing, its program is left out\n"


def test_an_install_that_fails_is_told_and_the_run_goes_on(machine: BareMachine) -> None:
    (machine.path / "fails").touch()
    said = machine.install()
    assert "E: no such package" in said
    assert said.endswith("ottla: gRPC for C++ could not be installed, its program is left out\n")
