-- What the edge does for every request before any other filter, and for every answer after them.
-- The template puts constants above: MAX_UPLOAD_BYTES and MAX_PREDICT_BYTES; PROBLEMS, Envoy's own
-- replies as JSON by their status; SAMPLED_PPM, how many of a million traces that begin here are
-- recorded; CORS, whether pages of other origins may ask; WINDOW_S, the seconds that the rate limit
-- counts in, and WINDOWS_S, those of tenants with a limit of their own.

local ZERO_TRACE = string.rep("0", 32)
local ZERO_SPAN = string.rep("0", 16)
local HEX16 = string.rep("[0-9a-f]", 16)
local SPAN = "^(" .. HEX16 .. HEX16 .. ")%-(" .. HEX16 .. ")$"
local TRACEPARENT = "^([0-9a-f][0-9a-f])%-(" .. HEX16 .. HEX16 .. ")%-(" .. HEX16 .. ")%-[0-9a-f][0-9a-f]"

-- The trace id of a valid W3C traceparent (https://www.w3.org/TR/trace-context/), else nil.
local function trace_id_of(traceparent)
  if not traceparent then return nil end
  local version, trace_id, span_id = traceparent:match(TRACEPARENT)
  if not version or version == "ff" or trace_id == ZERO_TRACE or span_id == ZERO_SPAN then
    return nil
  end
  -- Only versions after 00 may carry more, and only behind another dash.
  local rest = traceparent:sub(56)
  if rest ~= "" and (version == "00" or rest:sub(1, 1) ~= "-") then return nil end
  return trace_id
end

-- Whether a trace that begins here is recorded, as Envoy's trace_id_ratio_based sampler decides: by
-- the id's first 8 bytes, the lowest first. It tells nobody.
local function flags_of_new(trace_id)
  local value = 0
  for byte = 8, 1, -1 do
    value = (value * 256 + tonumber(trace_id:sub(byte * 2 - 1, byte * 2), 16)) % 1000000
  end
  return value < SAMPLED_PPM and "01" or "00"
end

-- The trace that a request belongs to. Where Envoy traces, what goes on is below its own span: the
-- router says so too, but not in requests that the cache sends, which leave past it.
local function adopt_trace(headers)
  local sent = headers:get("traceparent")
  local theirs = trace_id_of(sent)
  local trace_id, span_id = (headers:get("x-visionmesh-span") or ""):match(SPAN)
  headers:remove("x-visionmesh-span")
  if trace_id then
    local continued = sent and sent:sub(4, 35) == trace_id
    local flags = continued and sent:sub(54, 55) or flags_of_new(trace_id)
    headers:replace("traceparent", "00-" .. trace_id .. "-" .. span_id .. "-" .. flags)
    if not continued then headers:remove("tracestate") end
    return trace_id
  end
  if theirs then return theirs end
  -- A new one, named after Envoy's request id.
  trace_id = headers:get("x-request-id"):gsub("-", "")
  local flags = flags_of_new(trace_id)
  headers:replace("traceparent", "00-" .. trace_id .. "-" .. trace_id:sub(17) .. "-" .. flags)
  headers:remove("tracestate")
  return trace_id
end

-- The path with its parameters sorted and exact duplicates dropped, so that one answer has one
-- cache key; nil when there is nothing to change.
local function canonical(path)
  local mark = path:find("?", 1, true)
  if not mark then return nil end
  local seen, parameters = {}, {}
  for parameter in path:sub(mark + 1):gmatch("[^&]+") do
    if not seen[parameter] then
      seen[parameter] = true
      parameters[#parameters + 1] = parameter
    end
  end
  table.sort(parameters)
  local sorted = path:sub(1, mark - 1)
  if #parameters > 0 then sorted = sorted .. "?" .. table.concat(parameters, "&") end
  if sorted == path then return nil end
  return sorted
end

-- The path of a query with the release that a header asks for: only what is in the URL is in the
-- cache's key. nil when there is nothing to change; what the URL says comes first, and what is no
-- release's name is refused by the gateway.
local function with_release(headers, path)
  local release = headers:get("visionmesh-release")
  if not release or not path:find("^/graphql%f[?%z]") then return nil end
  headers:remove("visionmesh-release")
  if path:find("[?&]release=") then return nil end
  return path .. (path:find("?", 1, true) and "&" or "?") .. "release=" .. release:gsub("%W", "_")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("visionmesh", "trace_id", adopt_trace(headers))
  metadata:set("visionmesh", "request_id", headers:get("x-request-id"))

  local method = headers:get(":method")
  if method == "GET" or method == "HEAD" then
    local path = headers:get(":path")
    local released = with_release(headers, path)
    local changed = canonical(released or path) or released
    if changed then headers:replace(":path", changed) end
  end

  -- A body that says that it is too long is refused before it is sent; the buffer filter counts
  -- the bytes of those that do not say.
  local length = headers:get("content-length")
  local predicts = headers:get(":path"):find("^/v1/models/[^/?:]+:predict")
  if length and tonumber(length) > (predicts and MAX_PREDICT_BYTES or MAX_UPLOAD_BYTES) then
    handle:respond({ [":status"] = "413" }, "")
  end
end

-- Gives an answer the body of a problem that names the trace.
local function write_problem(handle, problem, trace_id)
  local headers = handle:headers()
  headers:replace("content-type", "application/problem+json")
  headers:replace("cache-control", "no-store")
  if headers:get(":status") == "503" then headers:replace("retry-after", "1") end
  local body = handle:body()
  if body then
    local named = '{"traceId":"' .. trace_id .. '",' .. problem:sub(2)
    local length = body:setBytes(named)
    -- Waiting for the body ended the life of `headers`.
    handle:headers():replace("content-length", tostring(length))
  end
end

-- Envoy's rate limit in the words of draft-ietf-httpapi-ratelimit-headers.
local function state_rate_limit(headers, tenant)
  local limit, remaining = headers:get("x-ratelimit-limit"), headers:get("x-ratelimit-remaining")
  if not limit then return end
  limit, remaining = tonumber(limit), tonumber(remaining)
  for _, name in ipairs({ "limit", "remaining", "reset" }) do
    headers:remove("x-ratelimit-" .. name)
  end
  if not tenant or tenant == "" then return end
  local window = WINDOWS_S[tenant] or WINDOW_S
  local full = math.ceil((limit - remaining) * window / limit)
  headers:replace("ratelimit-policy", string.format('"tenant";q=%d;w=%d', limit, window))
  headers:replace("ratelimit", string.format('"tenant";r=%d;t=%d', remaining, full))
  if headers:get(":status") == "429" then
    headers:replace("retry-after", string.format("%d", math.ceil(window / limit)))
  end
end

-- What tells two answers to the same URL apart, so that caches of others never mix them.
local function state_vary(headers, keyed)
  if keyed then headers:add("vary", "X-API-Key, Authorization") end
  if CORS then headers:add("vary", "Origin") end
end

-- Times are those of one request, and the cache keeps them with the answer.
local function state_timing(headers, request_id)
  local made_for = headers:get("x-visionmesh-made-for")
  if not made_for then return end
  headers:remove("x-visionmesh-made-for")
  if made_for ~= request_id then headers:replace("server-timing", "cache;desc=hit") end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local problem = PROBLEMS[tonumber(headers:get(":status"))]
  local ours = handle:streamInfo():dynamicMetadata():get("visionmesh")
  headers:remove("x-envoy-upstream-service-time")
  if ours then
    headers:replace("x-trace-id", ours["trace_id"])
    state_timing(headers, ours["request_id"])
    state_rate_limit(headers, ours["tenant"])
    state_vary(headers, ours["keyed"])
    -- The origin could not be asked on behalf of the cache: Envoy says so in words of its own,
    -- past local_reply_config.
    local media_type = headers:get("content-type")
    if problem and media_type and media_type:find("text/plain", 1, true) == 1 then
      write_problem(handle, problem, ours["trace_id"])
    end
    return
  end
  -- Refused before it was a request: local_reply_config brings a fresh id, still with dashes.
  local trace_id = headers:get("x-trace-id")
  if problem and trace_id then
    trace_id = trace_id:gsub("-", "")
    headers:replace("x-trace-id", trace_id)
    write_problem(handle, problem, trace_id)
  end
end
