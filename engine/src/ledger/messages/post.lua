-- Takes one batch of messages into the stream: each once, however often and however late it comes. An empty batch is
-- a look.
--
-- KEYS[1]  hash of who writes: engine, epoch, incarnation
-- KEYS[2]  the stream: entries under the ids of the messages
-- ARGV     engine, epoch, incarnation, the id after which the batch follows, then for each message, in the order of
--          the ids: id, how many words follow, fields and values
--
-- Replies {status, last id, detail, fields and values of the last entry ..}; the entry only for a look, and if it is
-- still there. A status other than OK has written nothing. What holds afterwards:
--   * the stream has been given every message up to its last id, once and in order, whatever was trimmed since;
--   * only the newest opening of one engine's journal has written.

local function number(id)
    local record, part = string.match(id, '^(%d+)%-(%d+)$')
    return tonumber(record), tonumber(part)
end

local function after(one, other)
    local record, part = number(one)
    local from, place = number(other)
    return record > from or (record == from and part > place)
end

local stored = redis.call('HMGET', KEYS[1], 'engine', 'epoch', 'incarnation')
local engine, epoch, incarnation = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local stored_epoch = tonumber(stored[2] or '0')

local last = '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[2])
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            last = info[at + 1]
        end
    end
end

if stored[1] and stored[1] ~= engine then
    return { 'OTHER_ENGINE', last, stored[1] }
end
if stored_epoch > epoch then
    return { 'STALE_EPOCH', last, stored[2] }
end
if stored[3] and stored_epoch == epoch and stored[3] ~= incarnation then
    return { 'FORKED', last, stored[3] }
end
if after(ARGV[4], last) then
    return { 'GAP', last, ARGV[4] }
end

if #ARGV == 4 then
    local reply = { 'OK', last, '' }
    local entries = last ~= '0-0' and redis.call('XRANGE', KEYS[2], last, last) or {}
    for _, word in ipairs(entries[1] and entries[1][2] or {}) do
        reply[#reply + 1] = word
    end
    return reply
end

-- Who writes is there before what is written: an older opening is refused from here on.
redis.call('HSET', KEYS[1], 'engine', engine, 'epoch', ARGV[2], 'incarnation', incarnation)
local at = 5
while at <= #ARGV do
    local id, words = ARGV[at], tonumber(ARGV[at + 1])
    if after(id, last) then
        redis.call('XADD', KEYS[2], id, unpack(ARGV, at + 2, at + 1 + words))
        last = id
    end
    at = at + 2 + words
end
return { 'OK', last, '' }
