"""Lua scripts with named arguments, and calls of them as values.

A script is a `.lua` file beside this one. Its header names what it takes and what it shares:

    -- args: id worker now        local names, in the order in which they are sent
    -- rest: fields               optional: a table of all further arguments
    -- uses: emit                 optional: fragments (`shared/emit.lua`) that stand before it

`key.NAME` in a script is the name of that key in `wire.keys`. Scripts send no KEYS: they work out
keys from what a record says, which Redis allows outside a cluster. Knows no Redis client; `Life`
and `AsyncLife` are given one.

Each script is a function body, too: `together` runs many calls in one go, in one script that has
them all.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from wire import keys

T = TypeVar("T")
Argument = str | bytes | int | float
_FOLDER = Path(__file__).parent
_HEADER = re.compile(r"^-- (args|rest|uses): *(.*)$", re.MULTILINE)
_KEY = re.compile(r"\bkey\.(\w+)")


@dataclass(frozen=True)
class Script:
    """A script as Redis gets it, and the names of its arguments."""

    name: str
    text: str
    args: tuple[str, ...]
    rest: str | None

    def call(
        self, read: Callable[[Any], T], *, rest: Sequence[Argument] = (), **args: Argument
    ) -> "Call[T]":
        """Fill the arguments in; ``read`` makes sense of the answer."""
        if args.keys() != set(self.args) or (rest and self.rest is None):
            raise TypeError(f"{self.name}.lua takes {self.args}, not {tuple(args)}")
        return Call(self, (*(args[name] for name in self.args), *rest), read)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One script with its arguments, ready to run anywhere; its answer is a ``T``."""

    script: Script
    args: tuple[Argument, ...]
    read: Callable[[Any], T]


class _Client(Protocol):
    def register_script(self, script: str) -> Any: ...


class _Pipeline(Protocol):
    def eval(self, script: str, numkeys: int, /, *keys_and_args: Any) -> Any: ...


class Life:
    """Runs calls on a blocking Redis client: `life(call)`."""

    def __init__(self, redis: _Client) -> None:
        self._script = cache(redis.register_script)

    def __call__(self, call: Call[T]) -> T:
        return call.read(self._script(call.script.text)(keys=[], args=call.args))


class AsyncLife:
    """Runs calls on an asyncio Redis client: `await life(call)`."""

    def __init__(self, redis: _Client) -> None:
        self._script = cache(redis.register_script)

    async def __call__(self, call: Call[T]) -> T:
        return call.read(await self._script(call.script.text)(keys=[], args=call.args))


def append(pipeline: _Pipeline, call: Call[Any]) -> None:
    """Add a call to a pipeline or transaction; the answer there is not read."""
    pipeline.eval(call.script.text, 0, *call.args)


def together(calls: Sequence[Call[Any]]) -> Call[list[Any]]:
    """These calls as one: one after the other, nothing between them, each answer as it is read.

    A script that raises ends it there: those before it have happened, those after it have not.
    """
    args: list[Argument] = []
    for call in calls:
        args += (call.script.name, len(call.args), *call.args)

    def read(answers: Any) -> list[Any]:
        return [call.read(answer) for call, answer in zip(calls, answers, strict=True)]

    return Call(_every_script(), tuple(args), read)


@cache
def script(name: str) -> Script:
    """The script in ``name``.lua."""
    body = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    header = dict(_HEADER.findall(body))
    args, rest = header.get("args", "").split(), header.get("rest")
    parts = [_read_shared(part) for part in header.get("uses", "").split()]
    locals_ = [f"local {name} = ARGV[{i}]" for i, name in enumerate(args, start=1)]
    if rest:
        locals_.append(f"local {rest} = {{unpack(ARGV, {len(args) + 1})}}")
    whole = "\n".join([*locals_, *parts, body])
    return Script(name, f"{_key_names(whole)}\n{whole}", tuple(args), rest)


@cache
def _every_script() -> Script:
    """One text with each script as a function; what it is given names them, each with its count."""
    bodies = {path.stem: script(path.stem).text for path in sorted(_FOLDER.glob("*.lua"))}
    functions = "\n".join(f"{name} = function(ARGV)\n{body}\nend," for name, body in bodies.items())
    return Script("together", f"local scripts = {{\n{functions}\n}}\n{_RUN_EACH}", (), None)


_RUN_EACH = """
local answers, at = {}, 1
while at <= #ARGV do
  local last = at + 1 + ARGV[at + 1]
  answers[#answers + 1] = scripts[ARGV[at]]({unpack(ARGV, at + 2, last)})
  at = last + 1
end
return answers
"""


def _read_shared(name: str) -> str:
    return (_FOLDER / "shared" / f"{name}.lua").read_text(encoding="utf-8")


def _key_names(text: str) -> str:
    """The table ``key``, with those names that the script uses."""
    lines = ["local key = {}"]
    for name in sorted(set(_KEY.findall(text))):
        value = getattr(keys, name)
        if isinstance(value, str):
            lines.append(f"key.{name} = '{value}'")
        else:
            first, *others = value.pattern.split("{}")
            parts = [f"'{first}'"]
            for i, other in enumerate(others):
                parts += [f"a{i}", *([f"'{other}'"] if other else [])]
            names = ", ".join(f"a{i}" for i in range(len(others)))
            lines.append(f"key.{name} = function({names}) return {' .. '.join(parts)} end")
    return "\n".join(lines)
