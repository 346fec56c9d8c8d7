"""Where what belongs to the user is kept: as the XDG directories say, or below the home directory.

Owns finding the place; makes nothing there. A variable that is empty counts as one that is not
set: below an empty home everything would end up in the root directory.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

_NAME = "ottla"


def user_directory(environ: Mapping[str, str], *, variable: str, below_home: str) -> Path | None:
    """Where this user's files of one kind are; None for a user without a home.

    Args:
        environ: the environment.
        variable: the XDG variable of that kind, as `XDG_DATA_HOME`; counts where it is absolute.
        below_home: what it stands for where it doesn't.
    """
    base = environ.get(variable, "")
    if base and Path(base).is_absolute():
        return Path(base) / _NAME
    home = environ.get("HOME", "") or _home_of_account()
    return Path(home) / below_home / _NAME if home else None


def _home_of_account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
