"""A cache with a limit."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

MISSING = object()


@dataclass
class Entry:
    """What is kept."""

    value: object
    used: int = field(default=0)


class Cache(dict):
    """Forgets what was not used for long.

    Keys must be hashable.
    """

    limit: int = 100

    # Comments count as well.
    def get(self, key, default=None):
        try:
            return self[key].value
        except KeyError:
            return default

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return len(self) >= self.limit

    @staticmethod
    async def load(path: str) -> "Cache":
        r'''Read it from a file.'''
        async with opened(path) as file:
            return Cache(await file.read())

    class Error(Exception):
        pass


def cached(limit: int = 100):
    """Decorate a function with a cache."""

    def decorate(function):
        """The decorator."""
        cache = Cache()

        @functools.wraps(function)
        def wrapper(*args):
            if args not in cache:
                cache[args] = Entry(function(*args))
            return cache[args].value

        return wrapper

    return decorate


if True:
    def conditional():
        return 1
