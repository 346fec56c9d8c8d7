"""Controllers in plural: one leads, the others stand by, and take over when it is gone."""

from __future__ import annotations

import signal

import pytest

from ottla.protocol.errors import NotController

from .platform import Platform, client_of, error_of_call, eventually
from .writer import check, writing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes"),
]


async def test_standbys_serve_what_they_know_and_say_who_leads(platform: Platform) -> None:
    leader, calls = await platform.active()
    assert not (await calls.create("flights")).HasField("error")
    owner = str(platform.controllers[leader].port)
    for node_id in {1, 2, 3} - {leader}:
        standby = platform.calls(node_id)

        async def whole() -> object:
            described = await standby.described()  # noqa: B023 - called before the next one
            return described if described.topic_count == 1 else None

        await eventually(whole, what="topic on a standby")
        described = await standby.described()
        assert {each.node_id: each.active for each in described.controllers} == {
            each: each == leader for each in (1, 2, 3)
        }
        assert described.controller_epoch == (await calls.described()).controller_epoch
        refused = await error_of_call(standby.create("trains"))
        assert isinstance(refused, NotController)
        assert refused.metadata == {"owner_host": "127.0.0.1", "owner_port": owner}
        first = await standby.watch().read()
        assert first.snapshot_begin
        assert first.controller_epoch == described.controller_epoch


async def test_a_killed_controller_is_replaced_and_nothing_acknowledged_is_lost(
    platform: Platform,
) -> None:
    async with client_of(platform) as client:
        leader, calls = await platform.active()
        before = (await calls.described()).brokers
        async with writing(client) as ledger:
            await platform.controllers[leader].kill()
            await ledger.grows_by(3)
            following, calls = await platform.active(but=leader)
            await platform.controllers[leader].start()
            await platform.controllers[following].kill()
            await ledger.grows_by(3)
        _, calls = await platform.active(but=following)
        after = (await calls.described()).brokers
        assert [each.broker_epoch for each in after] == [each.broker_epoch for each in before]
        assert [each.state for each in after] == [each.state for each in before], "never fenced"
        await check(client, ledger)
        assert "broker.session_lost" not in platform.broker.log_text()


async def test_a_controller_that_stops_in_good_order_hands_over(platform: Platform) -> None:
    async with client_of(platform) as client:
        leader, _ = await platform.active()
        async with writing(client) as ledger:
            assert await platform.controllers[leader].end(signal.SIGTERM) == 0
            await ledger.grows_by(3)
        await check(client, ledger)
        _, calls = await platform.active(but=leader)
        described = await calls.described()
        assert leader not in {each.node_id for each in described.controllers}


async def test_a_controller_that_was_stopped_for_a_while_writes_nothing_more(
    platform: Platform,
) -> None:
    async with client_of(platform) as client:
        leader, stopped = await platform.active()
        async with writing(client) as ledger:
            platform.controllers[leader].signal(signal.SIGSTOP)
            following, _ = await platform.active(but=leader)
            await ledger.grows_by(3)
            platform.controllers[leader].signal(signal.SIGCONT)
            refused = await error_of_call(stopped.create("late"))
            assert isinstance(refused, NotController)
            await ledger.grows_by(3)
        await check(client, ledger)

        async def agreed() -> object:
            described = await stopped.described()
            active = [each.node_id for each in described.controllers if each.active]
            return described if active == [following] else None

        await eventually(agreed, what="agreement on who leads")
