-- What the edge does for every request before any other filter, and for every answer after them.
-- MAX_UPLOAD_BYTES is defined above by the template.

local ZERO_TRACE = string.rep("0", 32)
local ZERO_SPAN = string.rep("0", 16)
local HEX16 = string.rep("[0-9a-f]", 16)
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

-- Continues the client's trace, or begins one that is named after Envoy's request id.
local function adopt_trace(headers)
  local trace_id = trace_id_of(headers:get("traceparent"))
  if trace_id then return trace_id end
  trace_id = headers:get("x-request-id"):gsub("-", "")
  headers:replace("traceparent", "00-" .. trace_id .. "-" .. trace_id:sub(17) .. "-01")
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

function envoy_on_request(handle)
  local headers = handle:headers()
  handle:streamInfo():dynamicMetadata():set("visionmesh", "trace_id", adopt_trace(headers))

  local method = headers:get(":method")
  if method == "GET" or method == "HEAD" then
    local path = canonical(headers:get(":path"))
    if path then headers:replace(":path", path) end
  end

  -- A body that says that it is too long is refused before it is sent; the buffer filter counts
  -- the bytes of those that do not say.
  local length = headers:get("content-length")
  if length and tonumber(length) > MAX_UPLOAD_BYTES then
    handle:respond({ [":status"] = "413" }, "")
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  headers:remove("x-envoy-upstream-service-time")
  local ours = handle:streamInfo():dynamicMetadata():get("visionmesh")
  if ours then
    headers:replace("x-trace-id", ours["trace_id"])
    return
  end
  -- Refused before it was a request: Envoy's own reply brings a fresh id, still with dashes.
  local id = headers:get("x-trace-id")
  if id then headers:replace("x-trace-id", (id:gsub("-", ""))) end
end
