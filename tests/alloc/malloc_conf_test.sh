#!/bin/bash
# The index is exact whatever MALLOC_CONF makes of jemalloc.
set -euo pipefail
for conf in prof:true,lg_prof_sample:12 junk:true tcache:false narenas:1 \
  percpu_arena:percpu zero:true san_guard_small:8,san_guard_large:8 \
  background_thread:true dirty_decay_ms:0,muzzy_decay_ms:0 \
  cache_oblivious:false oversize_threshold:0 lg_tcache_max:10 \
  tcache_nslots_small_max:8 thp:always,metadata_thp:always \
  retain:false,hpa:true,dss:primary; do
  echo "MALLOC_CONF=$conf"
  MALLOC_CONF=$conf "$1" || { echo "FAILED: MALLOC_CONF=$conf"; exit 1; }
done
