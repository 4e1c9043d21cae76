#!/bin/bash
# two-hosts.sh openmpi|mpich COMMAND...: runs COMMAND as two ranks, each on a host of its own. The hosts are network namespaces
# that a pair of virtual devices joins; INFONCE_HOST_LINK is the name of either end. Ends as the launcher does, or with 77
# and 'skipped: ' and the reason on stderr. Needs root, and ip (Debian: iproute2).
set -uo pipefail
family=$1
shift
hosts=("infonce-$$-0" "infonce-$$-1")
addresses=(10.77.0.1 10.77.0.2)
export INFONCE_HOST_LINK=link0

skip() {
  echo "skipped: $1" >&2
  exit 77
}

[[ $EUID -eq 0 ]] || skip 'only root can make network namespaces'
[[ -n $(command -v ip) ]] || skip 'there is no ip (Debian: iproute2)'
[[ -n $(command -v "mpirun.$family") ]] || skip "there is no mpirun.$family"

folder=$(mktemp -d)
launched=
# What still runs on the hosts goes with them.
end() {
  local host
  # Whoever started this may be gone, and with it who reads what bash says of those that are killed.
  trap '' PIPE
  exec >/dev/null 2>&1
  for host in "${hosts[@]}"; do
    ip netns pids "$host" 2>/dev/null | xargs --no-run-if-empty kill -KILL 2>/dev/null
    ip netns delete "$host" 2>/dev/null
  done
  [[ -z $launched ]] || wait "$launched" 2>/dev/null
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

make_hosts() {
  local k
  for k in 0 1; do
    ip netns add "${hosts[k]}" && ip -n "${hosts[k]}" link set lo up || return
  done
  ip -n "${hosts[0]}" link add "$INFONCE_HOST_LINK" type veth peer name "$INFONCE_HOST_LINK" netns "${hosts[1]}" || return
  for k in 0 1; do
    ip -n "${hosts[k]}" address add "${addresses[k]}/24" dev "$INFONCE_HOST_LINK" &&
      ip -n "${hosts[k]}" link set "$INFONCE_HOST_LINK" up || return
  done
  # The system sees after a moment that there is a carrier.
  for k in {1..100}; do
    [[ $(ip -n "${hosts[0]}" -brief link; ip -n "${hosts[1]}" -brief link) != *"$INFONCE_HOST_LINK"*DOWN* ]] && return
    sleep 0.05
  done
  echo 'the link stays down'
  return 1
}
reason=$(make_hosts 2>&1) || skip "no network namespaces can be made here: $reason"

# In place of ssh: [OPTION...] ADDRESS COMMAND...
cat >"$folder/ssh" <<END
#!/bin/bash
while [[ \$1 == -* ]]; do shift; done
case \$1 in
  ${addresses[0]}) host=${hosts[0]} ;;
  *) host=${hosts[1]} ;;
esac
shift
exec ip netns exec "\$host" unshare --uts sh -c "hostname \$host; \$*"
END
chmod +x "$folder/ssh"

case $family in
  openmpi)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    launch=(mpirun.openmpi --host "${addresses[0]}:1,${addresses[1]}:1" -n 2 --map-by node --bind-to none
      --mca plm_rsh_agent "$folder/ssh" --mca pml ob1 --mca btl tcp,self
      --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24)
    ;;
  *)
    # Not the memory that two hosts do not share.
    export UCX_TLS=tcp,self UCX_NET_DEVICES=$INFONCE_HOST_LINK
    launch=(mpirun.mpich -launcher ssh -launcher-exec "$folder/ssh" -iface "$INFONCE_HOST_LINK"
      -hosts "${addresses[0]},${addresses[1]}" -n 2 -ppn 1)
    ;;
esac
ip netns exec "${hosts[0]}" unshare --uts sh -c 'hostname "$0"; exec "$@"' "${hosts[0]}" "${launch[@]}" "$@" &
launched=$!
wait "$launched"
status=$?
launched=
exit "$status"
