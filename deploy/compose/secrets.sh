#!/bin/sh
# Makes secrets/ with random passwords and keys; what is there already stays.
#
# The folder is this user's alone; the files in it can be read by the containers' users, which is who they are for.
set -eu
cd "$(dirname "$0")"
umask 022
mkdir -p secrets
chmod 700 secrets

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
make() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }

make redis_password "$(random)"
make redis_url "redis://:$(cat secrets/redis_password)@${REDIS_HOST:-redis}:6379/0"
make flower_password "$(random)"
make grafana_password "$(random)"
for role in orchestrator worker submitter operator trainer; do
    make "${role}_s3_access_key" "$(random | head -c 20)"
    make "${role}_s3_secret_key" "$(random)"
done
../s3/identities.sh respool secrets > secrets/s3_identities
echo "secrets/ is complete; a submitter on this host takes secrets/submitter_s3_* and secrets/redis_url; gc and doctor take secrets/operator_s3_*."
