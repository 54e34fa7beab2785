#!/bin/sh
# Runs all benches one after the other, so that none takes another's cores, and says where and when.
# `benches/run.sh [NAME…]` runs some of them.
set -eu
cd "$(dirname "$0")/.."
cargo bench --no-run
for bench in ${*:-flow job retrieve fuse metrics noise train decoder decoder_train}; do
    echo "## $bench"
    echo "$(date -u +%Y-%m-%dT%H:%MZ), commit $(git rev-parse --short HEAD)," \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores,$(uptime | sed 's/.*load/ load/')"
    cargo bench --bench "$bench"
done
