"""Interceptors for `grpc.aio` servers and for every server that runs those unchanged.

A service passes them outermost first, in the order of `standard_interceptors`: the access log sees
what the error interceptor made of a failure, and a call that is not allowed never reaches a
servicer.
"""

from __future__ import annotations

from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.interceptors.access_log import AccessLines, AccessLogInterceptor
from ottla_runtime.interceptors.authorizer import AuthorizationInterceptor, Authorizer
from ottla_runtime.interceptors.errors import ErrorInterceptor


def standard_interceptors(
    *,
    clock: Clock,
    entropy: Entropy,
    authorizer: Authorizer,
    access_log: AccessLines,
    trusts_forwarded: bool,
) -> tuple[AccessLogInterceptor, ErrorInterceptor, AuthorizationInterceptor]:
    """What every service puts around its servicers, outermost first.

    Args:
        clock: for durations.
        entropy: for incident ids.
        authorizer: who may do what.
        access_log: which calls leave a line, until the interceptor is told otherwise.
        trusts_forwarded: whether a caller may name another principal it speaks for; only where
            callers are services of the cluster.
    """
    return (
        AccessLogInterceptor(clock=clock, lines=access_log, trusts_forwarded=trusts_forwarded),
        ErrorInterceptor(entropy=entropy),
        AuthorizationInterceptor(authorizer=authorizer, trusts_forwarded=trusts_forwarded),
    )
