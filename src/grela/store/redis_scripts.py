"""What the Redis store does on the server, in Lua: a script runs alone, and all of it is in the log or nothing.

Keys, all beginning with the prefix:

    users         hash: user to generation                 format    the version of this layout
    log:USER      list: the events, seq 1 first, as JSON   seeding   the progress of an import, as JSON
    ids:USER      set: ids of the events that have one     state:USER   hash: model, generation, seq, payload

The server never reads an event: a number in Lua is a double, and a time may be a larger integer.
"""

# add: logs the events of one user from ARGV[at] on: the user, a generation if the user is new, how many events, and
# for each its id ('' without) and itself. Gives the place after them, the user's generation, and what was new.
_ADD = """
local function add(log, ids, at)
    local user, generation, count = ARGV[at], redis.call('HGET', KEYS[1], ARGV[at]), tonumber(ARGV[at + 2])
    if not generation and count > 0 then
        generation = ARGV[at + 1]
        redis.call('HSET', KEYS[1], user, generation)
    end
    at = at + 3
    local added = {}
    for n = 1, count do
        added[n] = 0
        if ARGV[at] == '' or redis.call('SADD', ids, ARGV[at]) == 1 then
            redis.call('RPUSH', log, ARGV[at + 1])
            added[n] = 1
        end
        at = at + 2
    end
    return at, generation, added
end
"""

# KEYS: users, then log and ids for each entry. ARGV: for each entry what `add` takes, then generation and seq known.
# Answers {generation, last seq, whether the known position is of this user, added, events} for each.
APPEND = (
    _ADD
    + """
local at, answers = 1, {}
for entry = 1, (#KEYS - 1) / 2 do
    local log = KEYS[2 * entry]
    local after, generation, added = add(log, KEYS[2 * entry + 1], at)
    local last, known, seen = redis.call('LLEN', log), ARGV[after], tonumber(ARGV[after + 1])
    local same = generation == known and seen <= last
    answers[entry] = {
        generation or '0', last, same and 1 or 0, added, redis.call('LRANGE', log, same and seen or 0, -1)
    }
    at = after + 2
end
return answers
"""
)

# KEYS: users, seeding, then log and ids for each user. ARGV: the progress expected ('' for none), the progress
# after, then what `add` takes for each user. Answers how many events were new, or -1 if the progress is another.
SEED = (
    _ADD
    + """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then
    return -1
end
local at, logged = 3, 0
for user = 1, (#KEYS - 2) / 2 do
    local after, _, added = add(KEYS[2 * user + 1], KEYS[2 * user + 2], at)
    for n = 1, #added do
        logged = logged + added[n]
    end
    at = after
end
redis.call('SET', KEYS[2], ARGV[2])
return logged
"""
)

# KEYS: users, log, ids, state. ARGV: the user. Answers how many events there were.
DELETE = """
local events = redis.call('LLEN', KEYS[2])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], ARGV[1])
return events
"""

# KEYS: users, then state for each. ARGV: the model, then for each user, generation, seq, payload.
PUT_STATES = """
for n = 1, #KEYS - 1 do
    local user, generation, seq, payload = unpack(ARGV, 4 * n - 2, 4 * n + 1)
    local held = redis.call('HMGET', KEYS[n + 1], 'model', 'seq')
    local newer = held[1] ~= ARGV[1] or tonumber(held[2]) <= tonumber(seq)
    if newer and redis.call('HGET', KEYS[1], user) == generation then
        redis.call(
            'HSET', KEYS[n + 1], 'model', ARGV[1], 'generation', generation, 'seq', seq, 'payload', payload
        )
    end
end
"""
