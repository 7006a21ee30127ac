"""Requests per minute and key, counted in Redis, so that all API processes share one count.

A moving window: a request counts for a minute from when it was made, so there is no boundary at
which twice as many get through. Headers: `RateLimit-Policy` and `RateLimit`
(draft-ietf-httpapi-ratelimit-headers), and the three `RateLimit-*` of its earlier drafts, which
most clients read.
"""

import math
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.exceptions import RateLimited
from app.problems import refuse
from app.state import Service
from wire import keys

_WINDOW = 60


class RateLimit:
    """Answers 429 to more than ``limit`` requests under `/v1` in a minute by one key."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app, self._limit = app, limit
        self._rate = RateLimitItemPerMinute(limit)
        self._limiter: MovingWindowRateLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = await self._count(scope)
        if counted is None:
            await self._app(scope, receive, send)
            return
        allowed, left, seconds = counted
        headers = {
            "RateLimit-Policy": f'"default";q={self._limit};w={_WINDOW}',
            "RateLimit": f'"default";r={left};t={seconds}',
            "RateLimit-Limit": str(self._limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": str(seconds),
        }

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if allowed:
            await self._app(scope, receive, told)
        else:
            answer = refuse(scope["path"], RateLimited(self._limit, seconds))
            await answer(scope, receive, told)

    async def _count(self, scope: Scope) -> tuple[bool, int, int] | None:
        """Whether it may pass, how many more may, and seconds until the first counted is not.

        None where nothing is to be counted.
        """
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return None
        try:
            owner, limiter = scope["state"]["owner"], self._on(scope["state"]["service"])
            allowed = await limiter.hit(self._rate, owner)
            reset, left = await limiter.get_window_stats(self._rate, owner)
        except RedisError:
            return None  # the route answers that
        return allowed, max(0, left), max(0, math.ceil(reset - time.time()))

    def _on(self, service: Service) -> MovingWindowRateLimiter:
        """The limiter on the process's own connections, which are there once it serves."""
        if self._limiter is None:
            storage = RedisStorage(
                "async+redis://",
                implementation="redispy",
                key_prefix=keys.RATES,
                connection_pool=service.redis.connection_pool,  # type: ignore[arg-type]
            )
            self._limiter = MovingWindowRateLimiter(storage)
        return self._limiter
