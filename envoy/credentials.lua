-- What a request shows to be let in, before the filters that check keys and JWTs look at it. The
-- same for both listeners. mesh/access.py puts sha256.lua above and four constants: TOKEN, what the
-- processes of this mesh show each other (empty: nothing does; read from its file, as Envoy's admin
-- interface shows this source); OPEN, whether no key is needed; JWT,
-- whether JWTs are known; PUBLIC, the paths that need no key, as a set.

local PREFIX = "vmk_"
local MAX_KEY_BYTES = 128 -- keys are half as long; longer ones would only cost hashing

-- Nothing that means something inside is taken from who is not of this mesh. The digest stays: by
-- it a call was routed already, and it proves nothing.
local function strip(headers)
  local internal = {}
  for name in pairs(headers) do
    if name:find("x-visionmesh-", 1, true) == 1 and name ~= "x-visionmesh-digest"
      or name:find("x-envoy-", 1, true) == 1
    then
      internal[#internal + 1] = name
    end
  end
  for _, name in ipairs(internal) do headers:remove(name) end
end

local function is_public(headers)
  local whole = headers:get(":path")
  local path = whole:match("^[^?]*")
  if PUBLIC[path] or path:find("/docs/", 1, true) == 1 then return true end
  -- GraphiQL's page, which holds no answer: what is asked from it needs a key.
  return whole == "/graphql" and headers:get(":method") == "GET"
    and (headers:get("accept") or ""):find("text/html", 1, true) ~= nil
end

-- What is behind "Bearer" (RFC 6750; names of schemes have no case).
local function bearer_of(authorization)
  local scheme, token = (authorization or ""):match("^(%a+) +(%S+)$")
  if scheme and scheme:lower() == "bearer" then return token end
  return nil
end

-- Whether a request was meant for this machine. A page of another site may let its own name lead
-- here (DNS rebinding), and where no key is needed it could do and read everything.
local function is_ours(authority)
  local host = (authority or ""):lower():gsub(":%d+$", "")
  return host == "localhost" or host == "[::1]" or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local ours = handle:streamInfo():dynamicMetadata()
  local key, authorization = headers:get("x-api-key"), headers:get("authorization")
  headers:remove("x-api-key")
  if TOKEN ~= "" and headers:get("x-visionmesh-token") == TOKEN then
    -- A process of this mesh, which acts for whom it says, or for nobody.
    headers:remove("authorization")
    headers:remove("x-visionmesh-key")
    ours:set("visionmesh", "settled", true)
    return
  end
  strip(headers)
  -- Believed only together with a tenant, which only the filters below give.
  if TOKEN ~= "" then headers:replace("x-visionmesh-token", TOKEN) end
  if OPEN then
    headers:remove("authorization")
    if not is_ours(headers:get(":authority")) then
      handle:respond({ [":status"] = "421" }, "")
      return
    end
    headers:replace("x-visionmesh-tenant", "local")
    return
  end
  if is_public(headers) then
    headers:remove("authorization")
    ours:set("visionmesh", "settled", true)
    return
  end
  ours:set("visionmesh", "keyed", true)
  local bearer = bearer_of(authorization)
  if not key and bearer and bearer:find(PREFIX, 1, true) == 1 then key = bearer end
  if key then
    headers:remove("authorization")
    if #key <= MAX_KEY_BYTES and key:find(PREFIX, 1, true) == 1 then
      headers:replace("x-visionmesh-key", sha256(key))
    end
  elseif JWT and bearer then
    headers:replace("authorization", "Bearer " .. bearer)
  else
    headers:remove("authorization")
  end
end
