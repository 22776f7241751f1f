#!/bin/sh
# identities.sh BUCKET SECRETS: SeaweedFS' identities, on stdout, from this folder's policies and the keys in SECRETS.
#
# On AWS, MinIO or Ceph, attach the same policies to one user or role for each role instead.
set -eu
bucket=$1
secrets=$(cd "$2" && pwd)
cd "$(dirname "$0")"

each() { # each FUNCTION: its output for every role, with commas between
    comma=
    for role in orchestrator worker submitter operator trainer; do
        printf '%s' "$comma"
        "$1" "$role"
        comma=,
    done
}
identity() {
    printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "policyNames": ["%s"]}' \
        "$1" "$(cat "$secrets/$1_s3_access_key")" "$(cat "$secrets/$1_s3_secret_key")" "$1"
}
policy() { # the document goes in as a string
    printf '{"name": "%s", "content": "%s"}' "$1" \
        "$(sed "s|:::respool|:::$bucket|g" "$1.json" | tr -d '\n' | sed 's/"/\\"/g')"
}

printf '{"identities": [%s], "policies": [%s]}\n' "$(each identity)" "$(each policy)"
