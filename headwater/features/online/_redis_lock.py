"""Who may publish a product's online features in Redis: one at a time, and nobody who lost the right.

The lock ends by itself a minute after it was taken or renewed. Whoever works for longer renews it on the way.
"""

import secrets
import time
from typing import Any, Final

import redis

_LOCK_SECONDS: Final = 60
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('expire', KEYS[1], ARGV[2]) end return 0"
)
_DELETE_IF_HELD: Final = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return -1 end
if ARGV[3] == 'marked' and (redis.call('hget', KEYS[3], ARGV[2]) or '') ~= ARGV[4] then return 0 end
redis.call('hdel', KEYS[3], ARGV[2])
return redis.call('del', KEYS[2])
"""
_SET_IF_HELD: Final = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[2], ARGV[2])
return 1
"""


class Lock:
    """A lock with a token: who lost it can neither publish nor free it."""

    def __init__(self, client: "redis.Redis", key: bytes) -> None:
        self._client, self._key, self._token = client, key, secrets.token_bytes(16)

    def take(self) -> None:
        end = time.monotonic() + _LOCK_SECONDS
        while not self._client.set(self._key, self._token, nx=True, ex=_LOCK_SECONDS):
            if time.monotonic() > end:
                raise redis.exceptions.LockError("another publication did not end")
            time.sleep(0.05)

    def renew(self) -> None:
        """Another minute. Not between `watch` and the transaction's end: the key would have changed."""
        if not self._client.eval(_RENEW, 1, self._key, self._token, _LOCK_SECONDS):
            raise _lost()

    def watch(self, pipe: Any) -> None:
        """Begins a transaction that fails when the lock is lost before it ends."""
        pipe.watch(self._key)
        if pipe.get(self._key) != self._token:
            raise _lost()
        pipe.multi()

    def execute(self, pipe: Any) -> None:
        """Ends the transaction that `watch` began."""
        try:
            pipe.execute()
        except redis.WatchError as error:
            raise _lost() from error

    def set(self, key: bytes, value: bytes) -> None:
        if not self._client.eval(_SET_IF_HELD, 2, self._key, key, self._token, value):
            raise _lost()

    def delete(self, key: bytes, marks: bytes, name: str, *, mark: str | None) -> bool:
        """Removes a key and its mark, which stands under a name; with `mark` only while that is its mark. Whether the key was there and is gone."""
        wanted = ("", "") if mark is None else ("marked", mark)
        done = self._client.eval(_DELETE_IF_HELD, 3, self._key, key, marks, self._token, name, *wanted)
        if done < 0:
            raise _lost()
        return bool(done)

    def release(self) -> None:
        self._client.eval(_RELEASE, 1, self._key, self._token)


def _lost() -> redis.exceptions.LockError:
    return redis.exceptions.LockError(
        f"its lock was lost: one step took longer than {_LOCK_SECONDS} s, or somebody removed the lock; others may publish since"
    )
