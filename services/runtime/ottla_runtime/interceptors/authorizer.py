"""Who may make which call.

Owns the `Authorizer` port, the one that allows all, and the interceptor that asks it about the RPC
as a whole, before a servicer sees the call. Servicers ask the same port about named resources.
"""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from ottla.protocol.errors import NotAuthorized, OttlaError
from ottla_runtime.interceptors.errors import abort_with
from ottla_runtime.interceptors.permissions import OPEN_SERVICES, PERMISSIONS, Permission
from ottla_runtime.interceptors.principal import principal_of
from ottla_runtime.interceptors.scoped import Context, Continuation, Handler, with_behaviour


class Authorizer(Protocol):
    """Decides who may do what."""

    def allows(self, principal: str, permission: Permission, resource_name: str | None) -> bool:
        """Whether `principal` has `permission`, on one resource or, for None, on any at all."""
        ...


class AllowAll:
    """Everybody may do everything: right only where the network keeps strangers out."""

    def allows(self, principal: str, permission: Permission, resource_name: str | None) -> bool:
        return True


class AuthorizationInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls whose principal lacks their permission, and calls missing in the table."""

    def __init__(self, *, authorizer: Authorizer, trusts_forwarded: bool) -> None:
        self._authorizer = authorizer
        self._trusts_forwarded = trusts_forwarded

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        refusal = self._refusal(handler_call_details)
        return handler if refusal is None else _refusing(handler, refusal)

    def _refusal(self, details: grpc.HandlerCallDetails) -> OttlaError | None:
        method = details.method
        permission = PERMISSIONS.get(method)
        if permission is None:
            if method.startswith(OPEN_SERVICES):
                return None
            return NotAuthorized(f"{method} needs a permission that nobody has defined")
        try:
            principal = principal_of(
                details.invocation_metadata, trusts_forwarded=self._trusts_forwarded
            )
        except OttlaError as error:
            return error
        if self._authorizer.allows(principal, permission, None):
            return None
        return NotAuthorized(f"{principal} may not {permission.operation} on {permission.resource}")


def _refusing(handler: Handler, refusal: OttlaError) -> Handler:
    """A handler of the same kind that only says no."""

    async def refuse(_request: object, context: Context) -> Any:
        await abort_with(context, refusal)

    return with_behaviour(handler, refuse)
