-- Behind the filters that check keys and JWTs: without a tenant a request goes no further. The
-- template puts SEPARATE above: whether the tenant goes into the authority, and with it into the
-- cache's keys.

local MAX_LABEL = 63

-- As `is_tenant` in services/serving/tenancy.py: a JWT's claim may be anything.
local function is_tenant(name)
  return #name <= MAX_LABEL and name:find("^[a-z0-9][a-z0-9-]*$") ~= nil and name:sub(-1) ~= "-"
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata()
  local ours = metadata:get("visionmesh")
  local tenant = headers:get("x-visionmesh-tenant")
  if not (ours and ours["settled"]) then
    -- A token that was not good is still here.
    headers:remove("authorization")
    local claim = headers:get("x-visionmesh-claim")
    if claim then
      tenant = claim
      headers:remove("x-visionmesh-claim")
      headers:replace("x-visionmesh-tenant", claim)
    end
    if not tenant or not is_tenant(tenant) then
      handle:respond({ [":status"] = "401" }, "")
      return
    end
  end
  if SEPARATE then
    metadata:set("visionmesh", "tenant", tenant or "")
    headers:replace(":authority", tenant and tenant .. ".visionmesh" or "visionmesh")
  end
end
