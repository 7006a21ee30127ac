"""What is tried again, and when. No I/O.

Whatever may pass by itself: a connection that broke, a service that restarts, a full queue, a rate
limit. As long as the service says, else a little longer each time, with some chance in it.
"""

from typing import Any

import httpx
from tenacity import (
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from emaki.errors import Refused, ServiceAway

RETRIES = 6  # some twenty seconds, if the service says nothing else
AHEAD = 4  # generations of one drawing that are submitted at once
_LONGEST_PAUSE = 60.0
_growing = wait_random_exponential(multiplier=0.25, max=10)


def policy(retries: int) -> dict[str, Any]:
    """Arguments of tenacity's `Retrying` and `AsyncRetrying`."""
    return {
        "retry": retry_if_exception(passes),
        "wait": pause,
        "stop": stop_after_attempt(retries + 1),
        "reraise": True,
    }


def passes(error: BaseException) -> bool:
    """Whether it may be gone a moment later."""
    if isinstance(error, Refused):
        return error.temporary
    return isinstance(error, ServiceAway)


def pause(state: RetryCallState) -> float:
    """Seconds until the next try."""
    error = state.outcome.exception() if state.outcome else None
    told = error.retry_after if isinstance(error, Refused) else None
    return min(told, _LONGEST_PAUSE) if told is not None else _growing(state)


def away(url: httpx.URL, error: httpx.TransportError) -> ServiceAway:
    """What a person is told of a connection that failed."""
    return ServiceAway(f"{url.scheme}://{url.netloc.decode()}", str(error) or type(error).__name__)
