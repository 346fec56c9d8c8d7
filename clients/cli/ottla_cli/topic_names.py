"""Names of topics on the command line: a wrong one is wrong usage, told before anybody is asked.

Owns saying so. The rule is the platform's, `ottla.protocol.ids`, imported when there is a name.
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla_cli.failures import UsageFailed


def check_topic_names(names: Iterable[str]) -> None:
    """Raises UsageFailed for the first name that no topic can have."""
    from ottla.protocol.errors import InvalidTopic  # noqa: PLC0415 - help needs no rule
    from ottla.protocol.ids import check_topic_name  # noqa: PLC0415 - as above

    for name in names:
        try:
            check_topic_name(name)
        except InvalidTopic as error:
            raise UsageFailed(error.message) from None
