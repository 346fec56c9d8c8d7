"""Who may be sent data in a fetch session: credit in bytes, taken in turns.

    balance > 0 ─► the next ready subscription in turn, unless it holds half of all credit
    a message of n bytes: balance - n (below zero by at most that message)
    a grant of n bytes: balance + n, and what was sent first counts as read

Owns the ledger and the turns. Credit is returned for the session, not for a subscription, so
grants are taken to return what was sent first; that decides fairness only, the balance is exact.
Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from ottla.protocol.errors import InvalidRequest

CREDIT_MAX: Final = 1 << 40
"""More than any client can hold; a larger sum is a mistake."""
UNREAD_COUNT_LEAST: Final = 10_000
"""So many messages not returned are remembered one by one, and two a subscription."""
_GONE: Final = 0
"""Stands for all subscriptions that are over; no subscription has this id."""


class CreditLedger:
    """Credit of one session. All sizes are bytes of messages that carry batches.

    Its memory is bounded by the number of subscriptions there are, whatever is granted and never
    returned.
    """

    def __init__(self) -> None:
        self._balance = 0
        self._unread: deque[tuple[int, int]] = deque()
        self._held: dict[int, int] = {}
        self._held_size = 0

    @property
    def balance(self) -> int:
        """What may be sent; below zero by at most one message."""
        return self._balance

    @property
    def window(self) -> int:
        """All credit there is: what may be sent and what was sent and not returned."""
        return self._balance + self._held_size

    def held(self, subscription_id: int) -> int:
        """Bytes sent for a subscription and not returned, as far as can be told."""
        return self._held.get(subscription_id, 0)

    def grant(self, size: int) -> None:
        """The client returns credit, or gives more.

        Raises:
            InvalidRequest: the credit would exceed what makes sense.
        """
        if self._balance + size > CREDIT_MAX:
            raise InvalidRequest(f"credit of more than {CREDIT_MAX} bytes")
        self._balance += size
        unread = self._unread
        while size > 0 and unread:
            subscription_id, sent = unread.popleft()
            returned = min(size, sent)
            size -= returned
            self._release(subscription_id, returned)
            if returned < sent:
                unread.appendleft((subscription_id, sent - returned))

    def sent(self, subscription_id: int, size: int) -> None:
        """A message was sent; only while the balance is above zero."""
        assert self._balance > 0, self._balance
        self._balance -= size
        self._held_size += size
        self._held[subscription_id] = self.held(subscription_id) + size
        unread = self._unread
        if unread and unread[-1][0] == subscription_id:
            unread[-1] = subscription_id, unread[-1][1] + size
            return
        unread.append((subscription_id, size))
        if len(unread) > UNREAD_COUNT_LEAST + 2 * len(self._held):
            self._forget_times()

    def left(self, subscription_id: int) -> None:
        """The subscription is over; what was sent for it is still to be returned."""
        size = self._held.pop(subscription_id, 0)
        if size:
            self._held[_GONE] = self.held(_GONE) + size

    def _forget_times(self) -> None:
        """Keep how much is out of each, in the order they began, and not what was sent when."""
        held = self._held
        order = dict.fromkeys(each for each, _ in self._unread if each in held)
        if _GONE in held:
            order = {_GONE: None} | order
        self._unread = deque((each, held[each]) for each in order)

    def _release(self, subscription_id: int, size: int) -> None:
        self._held_size -= size
        for each in (subscription_id, _GONE):  # the id may have been another's before
            part = min(size, self.held(each))
            size -= part
            if part == self.held(each):
                self._held.pop(each, None)
            else:
                self._held[each] -= part
        assert size == 0, "more was returned than sent"


class Turns:
    """Ready subscriptions in the order they are served: each once, then again from the first."""

    def __init__(self, ledger: CreditLedger) -> None:
        self._ledger = ledger
        self._ready: OrderedDict[int, None] = OrderedDict()

    def add(self, subscription_id: int) -> None:
        """The subscription has, or may have, something to send; it goes last."""
        self._ready.setdefault(subscription_id)

    def remove(self, subscription_id: int) -> None:
        """It has nothing to send, or is not to."""
        self._ready.pop(subscription_id, None)

    def next(self, *, subscription_count: int) -> int | None:
        """Whose turn it is; it goes to the end of the line. None: nobody may send.

        Args:
            subscription_count: of the session; one that is alone may use all credit.
        """
        ledger = self._ledger
        if ledger.balance <= 0 or not self._ready:
            return None
        half = ledger.window / 2
        for subscription_id in self._ready:
            if subscription_count <= 1 or ledger.held(subscription_id) < half:
                self._ready.move_to_end(subscription_id)
                return subscription_id
        return None
