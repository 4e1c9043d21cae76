#!/bin/bash
# link-is-cut.sh: two hosts compute a loss together, then the link between them is cut: on both the call ends with
# ERR_INFONCE_GROUP_LOST in time, and with them the job. Says why where there can be no hosts.
set -uo pipefail
here=$(dirname "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for family in openmpi mpich; do
  mkdir "$folder/$family"
  begun=$SECONDS
  output=$(timeout --kill-after 5 90 "$here/two-hosts.sh" "$family" node "$here/rank-of-two-hosts.mjs" "$folder/$family" 2>&1)
  status=$?
  if ((status == 77)); then
    echo "$family: $(grep -o 'skipped: .*' <<<"$output")"
    continue
  fi
  results=$(cat "$folder/$family"/*.txt 2>/dev/null)
  # 124: it hung.
  if [[ $results != $'0: as one call, ERR_INFONCE_GROUP_LOST\n1: as one call, ERR_INFONCE_GROUP_LOST' || $status == 0 || $status == 124 ]]; then
    printf '%s\n--- %s: ended with status %d in %d s, and the ranks with:\n%s\n' "$output" "$family" "$status" $((SECONDS - begun)) "$results"
    exit 1
  fi
  echo "$family: two hosts compute what one call does; without their link both lose the group, and the job ends with status $status"
done
