// Many Buffers whose memory malloc has, freed late by the collector. Argument: count.
const count = Number(process.argv[2]);
let kept = [];
let total = 0;
for (let i = 0; i < count; i++) {
  const buffer = Buffer.allocUnsafeSlow(64 + (i % 512));
  buffer[0] = i & 0xff;
  kept.push(buffer);
  if (kept.length === 100000) {
    total += kept[i % 1000].length;
    kept = [];
  }
}
console.log(total);
