#!/bin/sh
# one-gpu COMMAND...: run COMMAND on a GPU that no other container of this host has taken.
#
# Docker gives every replica of a service the same GPU. So all see all, and each takes the first one whose lock it gets;
# the lock is a file in a volume that they share, held as long as the process lives, however it ends.
set -eu
locks=${RESPOOL_GPU_LOCKS:-/run/respool-gpus}
cards=$(nvidia-smi --query-gpu=uuid --format=csv,noheader)
for card in $cards; do
    exec 9>"$locks/$card"
    if flock --nonblock 9; then
        export CUDA_VISIBLE_DEVICES="$card"
        exec "$@"
    fi
done
echo "one-gpu: all GPUs of this host have a worker; scale to their number" >&2
exit 75 # EX_TEMPFAIL
