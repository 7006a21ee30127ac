"""Requests per minute and key, counted in Redis, so that all API processes share one count.

Headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), and the three
`RateLimit-*` of its earlier drafts, which most clients read.
"""

import math

from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.exceptions import RateLimited
from app.problems import refuse
from app.state import Service
from wire import keys

_WINDOW = 60
# Answers how many requests this owner has made in the window, and milliseconds until it ends.
_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class RateLimit:
    """Answers 429 to more than ``limit`` requests under `/v1` in a minute by one key."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = await self._count(scope)
        if counted is None:
            await self._app(scope, receive, send)
            return
        count, seconds = counted
        left = max(0, self._limit - count)
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

        if count > self._limit:
            answer = refuse(scope["path"], RateLimited(self._limit, seconds))
            await answer(scope, receive, told)
        else:
            await self._app(scope, receive, told)

    async def _count(self, scope: Scope) -> tuple[int, int] | None:
        """Requests of this minute and seconds left of it; None where nothing is to be counted."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return None
        service: Service = scope["state"]["service"]
        try:
            owner = scope["state"]["owner"]
            count, milliseconds = await service.redis.eval(
                _COUNT, 1, keys.rate(owner), str(_WINDOW)
            )
        except RedisError:
            return None  # the route answers that
        return int(count), math.ceil(max(int(milliseconds), 0) / 1000)
