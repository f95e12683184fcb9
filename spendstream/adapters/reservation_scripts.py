"""The Lua that keeps accounts and buckets in Redis: one script for each verb of `Reservations`.

A number of Lua is a double, exact to 2^53: nine thousand dollars. Money is therefore decimal text, added and
compared as dollars and picodollars apart, each of which is exact in a double.

An account is a hash: `since`, `opening` (with `read_at`), `settled`, `open`; if rolling also `first`, the
oldest part that counts, and a field by number for each part. What a request holds is one field of the hash
`open`: `key amount key amount ...`. When it expires is its score in the sorted set `expiry`.
"""

from __future__ import annotations

from spendstream.adapters.redis import Script
from spendstream.limits.claims import SLOTS

__all__ = ["EXTEND", "OPEN_ACCOUNT", "RELEASE", "RESERVE", "SETTLE", "SET_OPENING", "STANDING", "SWEEP"]

SWEEP = 8
"""Expired reservations that one call frees, so that no call takes long."""

_COMMON = """
local function split(text)
  local length = #text
  if length <= 12 then return 0, tonumber(text) end
  return tonumber(string.sub(text, 1, length - 12)), tonumber(string.sub(text, length - 11))
end

local function join(dollars, pico)
  if dollars == 0 then return string.format('%.0f', pico) end
  return string.format('%.0f%012.0f', dollars, pico)
end

local function add(a, b)
  if b == '0' then return a end
  if a == '0' then return b end
  local dollars, pico = split(a)
  local more_dollars, more_pico = split(b)
  dollars, pico = dollars + more_dollars, pico + more_pico
  if pico >= 1e12 then dollars, pico = dollars + 1, pico - 1e12 end
  return join(dollars, pico)
end

local function less(a, b)
  if #a ~= #b then return #a < #b end
  local a_dollars, a_pico = split(a)
  local b_dollars, b_pico = split(b)
  if a_dollars ~= b_dollars then return a_dollars < b_dollars end
  return a_pico < b_pico
end

local function subtract(a, b)
  if less(a, b) then return '0' end
  local dollars, pico = split(a)
  local less_dollars, less_pico = split(b)
  dollars, pico = dollars - less_dollars, pico - less_pico
  if pico < 0 then dollars, pico = dollars - 1, pico + 1e12 end
  return join(dollars, pico)
end

local function roll(account, now)
  local first = math.floor(now / account.slot) - SLOTS
  if first <= account.first then return end
  for index = account.first, math.min(first - 1, account.first + SLOTS) do
    local settled = redis.call('HGET', account.key, index)
    if settled then
      account.settled = subtract(account.settled, settled)
      redis.call('HDEL', account.key, index)
    end
  end
  account.first = first
  if account.since < first * account.slot then account.opening = '0' end
  redis.call('HSET', account.key, 'first', first, 'settled', account.settled, 'opening', account.opening)
end

local function find(key, slot, now)
  local found = redis.call('HMGET', key, 'since', 'opening', 'settled', 'open', 'first')
  if not found[1] then return nil end
  local account = {
    key = key, slot = slot, since = tonumber(found[1]),
    opening = found[2], settled = found[3], open = found[4], first = tonumber(found[5]),
  }
  if slot > 0 then roll(account, now) end
  return account
end

local function touch(key, slot, now, keep_until)
  local account = find(key, slot, now)
  if account then return account end
  local first = 0
  if slot > 0 then first = math.floor(now / slot) - SLOTS end
  redis.call('HSET', key, 'since', now, 'opening', '0', 'settled', '0', 'open', '0', 'first', first)
  if keep_until ~= '0' then redis.call('PEXPIREAT', key, keep_until) end
  return {key = key, slot = slot, since = now, opening = '0', settled = '0', open = '0', first = first}
end

local function used(account)
  return add(add(account.opening, account.settled), account.open)
end

local function fits(total, amount, limit)
  return limit == '-' or amount == '0' or not less(limit, add(total, amount))
end

local function free(open, expiry, request)
  local record = redis.call('HGET', open, request)
  if not record then return false end
  for key, amount in string.gmatch(record, '(%S+) (%S+)') do
    local held = redis.call('HGET', key, 'open')
    if held then redis.call('HSET', key, 'open', subtract(held, amount)) end
  end
  redis.call('HDEL', open, request)
  redis.call('ZREM', expiry, request)
  return true
end

local function sweep(open, expiry, now)
  for _, request in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, SWEEP)) do
    free(open, expiry, request)
  end
end

local function level(bucket, leak, now)
  local text = redis.call('GET', bucket)
  if not text then return 0, now end
  local filled, at = string.match(text, '(%d+) (%d+)')
  filled, at = tonumber(filled), tonumber(at)
  if now <= at then return filled, at end
  return math.max(filled - leak * (now - at), 0), now
end

local function fill(bucket, filled, at, leak)
  local drained = math.ceil(filled / leak / 1000) + 1000
  redis.call('SET', bucket, string.format('%.0f %.0f', filled, at), 'PX', string.format('%.0f', drained))
end

local function refill(first_key, first_argument, now)
  for place = 0, #KEYS - first_key do
    local bucket, argument = KEYS[first_key + place], first_argument + 2 * place
    local change, leak = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
    local filled, at = level(bucket, leak, now)
    fill(bucket, math.max(filled + change, 0), at, leak)
  end
end
""".replace("SLOTS", str(SLOTS)).replace("SWEEP", str(SWEEP))

RESERVE = Script(
    _COMMON
    + """
local open, expiry, settled = KEYS[1], KEYS[2], KEYS[3]
local now, expires_at, request, count = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local draws = #KEYS - 3 - count
sweep(open, expiry, now)

local accounts, totals, reply = {}, {}, {1}
local granted = true
for place = 1, count do
  local amount, limit, slot, keep = unpack(ARGV, 4 * place + 1, 4 * place + 4)
  local account = touch(KEYS[3 + place], tonumber(slot), now, keep)
  accounts[place], totals[place] = account, used(account)
  reply[place + 1] = totals[place]
  if not fits(totals[place], amount, limit) then granted = false end
end

if redis.call('HEXISTS', open, request) == 1 or redis.call('EXISTS', settled) == 1 then
  for place = 1, draws do reply[1 + count + place] = 0 end
  return reply
end

local levels, times = {}, {}
for place = 1, draws do
  local cost, leak, capacity, binds = unpack(ARGV, 4 * (count + place) + 1, 4 * (count + place) + 4)
  local bucket = KEYS[3 + count + place]
  levels[place], times[place] = level(bucket, tonumber(leak), now)
  local excess = levels[place] + tonumber(cost) - tonumber(capacity)
  reply[1 + count + place] = excess > 0 and math.ceil(excess / tonumber(leak)) or 0
  if excess > 0 and binds == '1' then granted = false end
end

if not granted then
  reply[1] = 0
  for place = 1, count do
    local amount, limit = ARGV[4 * place + 1], ARGV[4 * place + 2]
    local account, frees = accounts[place], 0
    if account.slot > 0 and not fits(totals[place], amount, limit) then
      local excess = subtract(add(totals[place], amount), limit)
      for index = account.first, account.first + SLOTS do
        local leaving = redis.call('HGET', account.key, index)
        if leaving then
          excess = subtract(excess, leaving)
          if excess == '0' then frees = (index + SLOTS + 1) * account.slot break end
        end
      end
    end
    reply[#reply + 1] = frees
  end
  return reply
end

local record = {}
for place = 1, count do
  local amount, account = ARGV[4 * place + 1], accounts[place]
  redis.call('HSET', account.key, 'open', add(account.open, amount))
  record[#record + 1] = account.key .. ' ' .. amount
end
for place = 1, draws do
  if reply[1 + count + place] == 0 then
    local cost, leak = ARGV[4 * (count + place) + 1], ARGV[4 * (count + place) + 2]
    fill(KEYS[3 + count + place], levels[place] + tonumber(cost), times[place], tonumber(leak))
  end
end
redis.call('HSET', open, request, table.concat(record, ' '))
redis.call('ZADD', expiry, expires_at, request)
return reply
""".replace("SLOTS", str(SLOTS))
)

EXTEND = Script(
    _COMMON
    + """
local open, expiry = KEYS[1], KEYS[2]
local now, expires_at, request = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local record = redis.call('HGET', open, request)
if not record then return 0 end
local held = {}
for key, amount in string.gmatch(record, '(%S+) (%S+)') do held[key] = amount end

local accounts, more = {}, {}
for place = 3, #KEYS do
  local amount, limit, slot, keep = unpack(ARGV, 4 * place - 8, 4 * place - 5)
  local account = touch(KEYS[place], tonumber(slot), now, keep)
  accounts[place], more[place] = account, subtract(amount, held[KEYS[place]] or '0')
  if not fits(used(account), more[place], limit) then return 0 end
end
for place = 3, #KEYS do
  local key = KEYS[place]
  redis.call('HSET', key, 'open', add(accounts[place].open, more[place]))
  held[key] = add(held[key] or '0', more[place])
end
local parts = {}
for key, amount in pairs(held) do parts[#parts + 1] = key .. ' ' .. amount end
redis.call('HSET', open, request, table.concat(parts, ' '))
redis.call('ZADD', expiry, expires_at, request)
return 1
"""
)

SETTLE = Script(
    _COMMON
    + """
local open, expiry, settled = KEYS[1], KEYS[2], KEYS[3]
local now, memory, request, count = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
if not redis.call('SET', settled, '1', 'NX', 'PX', memory) then return 0 end
free(open, expiry, request)
for place = 1, count do
  local amount, slot, keep = ARGV[3 * place + 2], tonumber(ARGV[3 * place + 3]), ARGV[3 * place + 4]
  local account = touch(KEYS[3 + place], slot, now, keep)
  local index = slot > 0 and math.floor(now / slot) or 0
  if now >= account.since and index >= account.first then
    redis.call('HSET', account.key, 'settled', add(account.settled, amount))
    if slot > 0 then
      redis.call('HSET', account.key, index, add(redis.call('HGET', account.key, index) or '0', amount))
      redis.call('PEXPIREAT', account.key, keep)
    end
  end
end
refill(4 + count, 5 + 3 * count, now)
sweep(open, expiry, now)
return 1
"""
)

RELEASE = Script(
    _COMMON
    + """
if not free(KEYS[1], KEYS[2], ARGV[2]) then return 0 end
refill(3, 3, tonumber(ARGV[1]))
return 1
"""
)

OPEN_ACCOUNT = Script(
    _COMMON
    + """
return touch(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]), ARGV[3]).since
"""
)

SET_OPENING = Script("""
local known = redis.call('HMGET', KEYS[1], 'since', 'read_at')
if not known[1] or tonumber(known[1]) ~= tonumber(ARGV[2]) then return 0 end
if known[2] and tonumber(known[2]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'opening', ARGV[1], 'read_at', ARGV[3])
return 1
""")

STANDING = Script(
    _COMMON
    + """
local account = find(KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[1]))
if not account then return false end
return {account.opening, account.settled, account.open, account.since}
"""
)
