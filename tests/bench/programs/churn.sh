# Allocation-heavy bash: associative arrays. Argument: size.
size=$1
declare -A table
for ((turn = 0; turn < 3; turn++)); do
  for ((i = 0; i < size; i++)); do table["key number $i"]="value $i of turn $turn"; done
  total=0
  for key in "${!table[@]}"; do ((total += ${#table[$key]})); done
  for ((i = 0; i < size; i += 2)); do unset "table[key number $i]"; done
done
echo "$total"
