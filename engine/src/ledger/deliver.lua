-- Takes one batch of confirmed sales into the ledger of one sale: once, however often and however late it comes.
--
-- KEYS[1]  hash of the ledger: engine, epoch, incarnation, last (the watermark), units
-- KEYS[2]  hash of the sales: sequence -> record
-- ARGV     engine, epoch, incarnation, first sequence, then (sequence, quantity, record) for each record, gapless
--
-- Replies {status, watermark, detail}. A status other than OK has written nothing. What holds afterwards:
--   * every sequence from 1 to `last` stands under its own field, and a field is never overwritten;
--   * `units` is the sum of the quantities from 1 to `last`;
--   * `last` moves after the records, and never back.

local CHUNK = 500 -- unpack() has a limit near 8,000

local stored = redis.call('HMGET', KEYS[1], 'engine', 'epoch', 'incarnation', 'last', 'units')
local engine, epoch, incarnation = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local mark = stored[4] or '0'
local last, units = tonumber(mark), tonumber(stored[5] or '0')
local stored_epoch = tonumber(stored[2] or '0')

if stored[1] and stored[1] ~= engine then
    return { 'OTHER_ENGINE', mark, stored[1] }
end
if stored_epoch > epoch then
    return { 'STALE_EPOCH', mark, stored[2] }
end
if stored[3] and stored_epoch == epoch and stored[3] ~= incarnation then
    return { 'FORKED', mark, stored[3] }
end
local expected = tonumber(ARGV[4])
if expected > last + 1 then
    return { 'GAP', mark, ARGV[4] }
end

-- Everything is compared before anything is written.
local fresh, top = {}, mark
for from = 5, #ARGV, 3 * CHUNK do
    local upto = math.min(from + 3 * CHUNK - 3, #ARGV - 2)
    local fields = {}
    for at = from, upto, 3 do
        fields[#fields + 1] = ARGV[at]
    end
    local found = redis.call('HMGET', KEYS[2], unpack(fields))
    for index, field in ipairs(fields) do
        local at = from + 3 * (index - 1)
        local sequence = tonumber(field)
        if sequence ~= expected then
            return redis.error_reply('ERR the batch is not gapless at sequence ' .. field)
        end
        expected = expected + 1
        if not found[index] then
            fresh[#fresh + 1] = field
            fresh[#fresh + 1] = ARGV[at + 2]
        elseif found[index] ~= ARGV[at + 2] then
            return { 'CONFLICT', mark, field }
        end
        if sequence > last then
            units = units + tonumber(ARGV[at + 1])
            top = field
        end
    end
end

for from = 1, #fresh, 2 * CHUNK do
    redis.call('HSET', KEYS[2], unpack(fresh, from, math.min(from + 2 * CHUNK - 1, #fresh)))
end
redis.call('HSET', KEYS[1], 'engine', engine, 'epoch', ARGV[2], 'incarnation', incarnation,
    'last', top, 'units', string.format('%.0f', units))
return { 'OK', top, '' }
