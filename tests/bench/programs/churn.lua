-- Allocation-heavy Lua: tables, strings, closures. Argument: size.
local size = tonumber(arg[1])
local total = 0
for turn = 1, 6 do
  local records = {}
  for i = 1, size do
    records[i] = { number = i, name = "record " .. i, tags = { i % 3, i % 7, i % 31 } }
  end
  table.sort(records, function(a, b) return a.name < b.name end)
  local parts = {}
  for i, record in ipairs(records) do
    parts[#parts + 1] = record.name .. "=" .. (record.number * turn)
    local add = function(n) return n + record.number end
    total = total + add(i) % 7
  end
  local text = table.concat(parts, ",")
  for word in text:gmatch("%d+") do total = total + #word end
end
print(total)
