"""What Redis does in one step: Lua, so that a miss costs two round trips and never three.

Every key may hold anything, as Redis is nobody's alone: `pcall` turns a wrong type into an answer.
"""

from __future__ import annotations

import hashlib
from typing import Final


class Script:
    """Lua, and the name under which Redis keeps it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


MINE: Final = 1
BUSY: Final = 0
"""What CLAIM says when there is no result."""

KEPT: Final = 1
GONE: Final = 0
REFUSED: Final = -1
"""What PUBLISH says became of a result."""

GET: Final = Script("""
-- KEYS: results; ARGV: field. Something else than a result is none.
local found = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(found) == 'string' then return found end
return false
""")

CLAIM: Final = Script("""
-- KEYS: results, lease; ARGV: field, token, lease in ms.
-- The stored result, or 1 when it is the caller's to make it, or 0 while somebody else does.
local found = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(found) == 'string' then return found end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return 1 end
local holder = redis.pcall('GET', KEYS[2])
if holder == ARGV[2] then return 1 end
-- Not a lease of ours: those all expire, and soon.
local left = redis.call('PTTL', KEYS[2])
if type(holder) ~= 'string' or left < 0 or left > tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  return 1
end
return 0
""")

PUBLISH: Final = Script("""
-- KEYS: results, lease, gone; ARGV: field, envelope, token, lifetime in s.
-- 1 when the result is kept, 0 when its image is gone, -1 when it is not taken, as by a full Redis.
-- When it is kept, the lease ends: who waits for that finds it.
local kept = 0
if redis.call('EXISTS', KEYS[3]) == 0 then
  kept = -1
  local done = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
  if type(done) == 'table' and string.find(done['err'], 'WRONGTYPE') then
    redis.call('DEL', KEYS[1])
    done = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
  end
  if type(done) == 'number' then
    kept = 1
    redis.call('EXPIRE', KEYS[1], ARGV[4])
  end
end
if kept == 1 and redis.pcall('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
return kept
""")

RELEASE: Final = Script("""
-- KEYS: lease; ARGV: token.
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

RENEW: Final = Script("""
-- KEYS: lease; ARGV: token, lease in ms.
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")

DISCARD: Final = Script("""
-- KEYS: results; ARGV: field, what was found there. Somebody may have put a good one meanwhile.
if redis.pcall('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
""")

FORGET: Final = Script("""#!lua flags=allow-oom
-- KEYS: results, gone; ARGV: seconds for which nothing may be published. A full Redis forgets too.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 1
""")

ADMIT: Final = Script("""
-- KEYS: gone.
return redis.call('DEL', KEYS[1])
""")
