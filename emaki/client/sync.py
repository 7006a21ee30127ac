"""`Client` and `Handle`: the API with blocking calls."""

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from httpx_sse import connect_sse
from tenacity import Retrying

from emaki.asked import Fields, batches, fields_of
from emaki.bars import Bar
from emaki.client import calls, results
from emaki.client.calls import Call
from emaki.client.events import SILENCE, Event, Place
from emaki.client.retries import AHEAD, RETRIES, away, policy
from emaki.errors import EmakiError
from emaki.pictures import Pictures, joined
from wire.schemas import Generation, ModelCard, Progress, Status

T = TypeVar("T")


class Client:
    """A service at an address. Use it in `with`, or `close` it.

    Args:
        url: default: EMAKI_URL, else http://127.0.0.1:8000.
        key: an API key; default: EMAKI_API_KEY, else none.
        retries: how often what may pass by itself is tried again.
        timeout: seconds that one answer may take.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        timeout: float = 30.0,
    ) -> None:
        self._http = httpx.Client(**calls.connection(url, key, timeout=timeout))
        self._retries = retries

    def draw(
        self, what: object = None, *, n: int = 1, progress: bool | None = None, **fields: Any
    ) -> Pictures:
        """Draw and wait: `client.draw("Sneaker", n=4, seed=1, steps=20)`.

        Args:
            what: a class, or a prompt where the model draws from words.
            n: pictures, however many; picture i has seed + i.
            progress: a bar; None: where somebody sees it.
            fields: of `POST /v1/generations`; `class_` for `class`, and pictures as they are.

        Raises:
            EmakiError: it cannot be drawn, or the service is away; nothing is left running.
        """
        asked = self._fields(what, fields)
        with Bar("drawing", n, shown=progress) as bar:
            return joined(self.draw_parts(batches(asked, n), bar))

    def draw_parts(
        self, requests: Iterable[Fields], bar: Bar, *, forget: bool = False
    ) -> Generator[Pictures, None, None]:
        """Draw requests in order, of one version all; some are submitted ahead.

        Whoever stops early closes it: what was submitted is canceled then.

        Args:
            forget: whether the service need not keep what was had.
        """
        pending, waiting = iter(requests), deque[Handle]()
        pinned: Fields = {}
        done = 0
        try:
            while True:
                for request in islice(pending, AHEAD - len(waiting)):
                    waiting.append(self._submit({**request, **pinned}))
                    pinned = {"model": waiting[0].generation.model}
                if not waiting:
                    return
                drawn = waiting[0].collect(bar, done=done)
                done += len(drawn)
                handle = waiting.popleft()
                yield drawn
                if forget:
                    with calls.gone_is_fine():  # an answer was lost, or somebody was faster
                        handle.delete()
        finally:
            for handle in waiting:
                handle.abandon()

    def submit(
        self,
        what: object = None,
        *,
        n: int | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> "Handle":
        """Ask for one generation and come back at once; the arguments are `draw`'s.

        Args:
            idempotency_key: one of your own, to submit the same again after a crash.
        """
        asked = self._fields(what, fields)
        if n is not None:
            asked["batch"] = n
        return self._submit(asked, idempotency_key)

    def models(self) -> list[ModelCard]:
        """What can be drawn; the default model first."""
        return self.call(calls.models()).data

    def card_of(self, model: str | None = None) -> ModelCard | None:
        """One model's card, the default one's where no name is given; None: there is none."""
        cards = self.models()
        name = cards[0].id if model is None and cards else str(model).partition("@")[0]
        return next((card for card in cards if card.id == name), None)

    def generation(self, id_: str) -> "Handle":
        """One that was submitted before."""
        return Handle(self, self.call(calls.look(id_)))

    def list(self, **wanted: Unpack[calls.Narrowed]) -> Iterator["Handle"]:
        """Your generations, newest first; more are fetched as you go on.

        Args:
            wanted: only those of a `status`, `model`, `class_` or `seed`, or `created_after` or
                `created_before` a moment with its time zone.
        """
        cursor: str | None = None
        while True:
            page = self.call(calls.page(wanted, cursor, limit=50))
            for generation in page.data:
                yield Handle(self, generation)
            cursor = page.next_cursor
            if cursor is None:
                return

    def call(self, call: Call[T], *, retries: int | None = None) -> T:
        """Send a request, again while that may help; ``retries`` if not as often as others."""
        for attempt in Retrying(**policy(self._retries if retries is None else retries)):
            with attempt:
                try:
                    answer = self._http.request(
                        call.method,
                        call.path,
                        json=call.json,
                        headers=call.headers,
                        params=call.params or None,
                    )
                except httpx.TransportError as error:
                    raise away(self._http.base_url, error) from error
                return call.read(calls.check(answer))
        raise AssertionError("tenacity returns or raises")

    def stream(self, path: str, place: Place) -> Iterator[Event]:
        """Events from a place on, as long as the connection holds.

        Raises:
            Refused: the service has no such stream.
            ServiceAway: the connection broke.
        """
        timeout = httpx.Timeout(SILENCE, connect=self._http.timeout.connect)
        try:
            with connect_sse(
                self._http, "GET", path, headers=place.headers, timeout=timeout
            ) as source:
                if not source.response.is_success:
                    source.response.read()
                calls.check(source.response)
                for raw in source.iter_sse():
                    event = place.take(raw)
                    if event is not None:
                        yield event
        except httpx.TransportError as error:
            raise away(self._http.base_url, error) from error

    @property
    def retries(self) -> int:
        """How often what may pass by itself is tried again."""
        return self._retries

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _submit(self, asked: dict[str, Any], idempotency_key: str | None = None) -> "Handle":
        return Handle(self, self.call(calls.submit(asked, idempotency_key)))

    def _fields(self, what: object, fields: dict[str, Any]) -> dict[str, Any]:
        model = fields.get("model")
        card = None if what is None else self.card_of(None if model is None else str(model))
        return fields_of(what, card, fields)


class Handle:
    """A generation on its way.

    Attributes:
        generation: as it was last heard of.
    """

    def __init__(self, client: Client, generation: Generation) -> None:
        self._client, self.generation = client, generation

    @property
    def id(self) -> str:
        """The service's name for it."""
        return self.generation.id

    @property
    def status(self) -> Status:
        """As it was last heard of; `refresh` asks anew."""
        return self.generation.status

    def refresh(self) -> Generation:
        """Ask how it is now."""
        self.generation = self._client.call(calls.look(self.id))
        return self.generation

    def events(self, *, after: str | None = None) -> Iterator[Event]:
        """What happens to it, from the first event on, until `done`.

        A connection that breaks is made again: no event is lost, and none comes twice.

        Args:
            after: an event's id, to go on after it.
        """
        place = Place(after, retries=self._client.retries)
        while not place.done:
            try:
                for event in self._client.stream(self.generation.urls.events, place):
                    if isinstance(event.data, Generation):
                        self.generation = event.data
                    yield event
            except EmakiError as error:
                pause = place.broken(error)
            else:
                pause = place.broken(None)
            if place.done or (place.dry and self.refresh().status.finished):
                return
            time.sleep(pause)

    def wait(self, *, progress: bool | None = None) -> Generation:
        """Until it has ended, however it ends."""
        with Bar("drawing", self.generation.request.batch, shown=progress) as bar:
            return self._wait(bar, done=0)

    def _wait(self, bar: Bar, *, done: int) -> Generation:
        if not self.status.finished:
            for event in self.events():
                if isinstance(event.data, Progress):
                    bar.at(done + event.data.fraction * self.generation.request.batch)
        bar.at(done + len(self.generation.images))
        return self.generation

    def abandon(self) -> None:
        """Cancel it, if that can be done; for when nobody waits for it any more."""
        with suppress(EmakiError):
            self._client.call(calls.cancel(self.id), retries=0)

    def collect(self, bar: Bar, *, done: int = 0) -> Pictures:
        """Wait for the pictures, and have them; ``done`` others stand in the bar already."""
        generation = results.succeeded(self._wait(bar, done=done))
        urls = (generation.urls.images_zip, generation.urls.strip)
        files = [self._client.call(calls.download(url)) for url in urls if url is not None]
        return results.pictures(generation, *files)

    @property
    def images(self) -> Pictures:
        """Its pictures, once they are there.

        Raises:
            Unfinished: it failed or was canceled.
        """
        with Bar("drawing", self.generation.request.batch, shown=None) as bar:
            return self.collect(bar)

    def save(self, folder: str | Path) -> list[Path]:
        """Its pictures as files, with what they are in `metadata.jsonl`."""
        return self.images.save(folder)

    def cancel(self) -> Generation:
        """Stop it; what is canceled already stays so."""
        self.generation = self._client.call(calls.cancel(self.id))
        return self.generation

    def delete(self) -> None:
        """Remove it and its pictures from the service."""
        self._client.call(calls.delete(self.id))
