-- wrk's requests: events with lists, and reads, over the users and items of two files.
-- Arguments after --: users file, items file, share of reads, requests a second of each connection or 0 for a closed
-- loop, "once" to read each user in turn, and events of a request, each of another user as a rule.
local users, items, reads, rate, once, events, at

local function lines(path)
  local found = {}
  for line in io.lines(path) do found[#found + 1] = line end
  return found
end

local number = 0
function setup(thread)
  thread:set("id", number)
  number = number + 1
end

function init(args)
  users, items = lines(args[1]), lines(args[2])
  reads, rate, once, events, at = tonumber(args[3]), tonumber(args[4]), args[5] == "once", tonumber(args[6]), 0
  math.randomseed(os.time() + 7919 * id)
end

local function escaped(user)
  return (user:gsub("[^%w%-%._~]", function(c) return string.format("%%%02X", c:byte()) end))
end

function request()
  if once then
    at = at % #users + 1
    return wrk.format("GET", "/users/" .. escaped(users[at]) .. "/recommendations?k=10")
  end
  if math.random() < reads then
    return wrk.format("GET", "/users/" .. escaped(users[math.random(#users)]) .. "/recommendations?k=10")
  end
  local sent = {}
  for n = 1, events do
    sent[n] = string.format('{"user":"%s","item":"%s"}', users[math.random(#users)], items[math.random(#items)])
  end
  local body = '{"events":[' .. table.concat(sent, ",") .. '],"recommend":{"k":10}}'
  return wrk.format("POST", "/events", {["Content-Type"] = "application/json"}, body)
end

-- In an open loop each connection sends at times that depend on nothing; milliseconds.
function delay()
  if rate == 0 then return 0 end
  return math.floor(-math.log(1 - math.random()) / rate * 1000 + 0.5)
end

function done(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.3f, "bad": %d, "p50": %.3f, "p95": %.3f, "p99": %.3f, "most": %.3f}\n',
    summary.requests, summary.duration / 1e6, bad, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3))
end
