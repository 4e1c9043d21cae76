#!/bin/bash
# launches.sh PROGRAM: runs infonce_mpi_test under the launchers of Open MPI and MPICH, as far as they are installed, and
# says what has to come of it. Ends with 'N launches as expected' or the first that is not.
set -uo pipefail
program=$1
passed=0
# Two processors serve more ranks than that, and root may start them.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS} # libmpi keeps what it has

# launch EXPECTED SUITE COMMAND...: `succeeds` or `fails`, and does not hang.
launch() {
  local expected=$1 suite=$2 begun=$SECONDS output status got
  shift 2
  output=$(timeout --kill-after 5 120 "$@" "$program" --no-skip --no-colors --test-suite="$suite" 2>&1)
  status=$?
  # By SIGPIPE its processes ended sooner than MPICH's mpiexec saw it, in spite of `staying`: once more.
  if [[ $expected == succeeds ]] && ((status == 141)); then
    output=$(timeout --kill-after 5 120 "$@" "$program" --no-skip --no-colors --test-suite="$suite" 2>&1)
    status=$?
  fi
  if ((status == 124 || status == 137)) && ((SECONDS - begun >= 120)); then
    got=hangs
  else
    ((status == 0)) && got=succeeds || got=fails
  fi
  # Where a launch is to fail, what is checked still holds, and nothing crashes; by SIGTERM the launcher ends the others.
  if [[ $got != "$expected" ]] || grep -v 'CRASHED: SIGTERM' <<<"$output" | grep -qE 'ERROR:|egmentation|signal (6|11)'; then
    printf '%s\n--- %s: %s, with status %d, but %s was expected\n' "$output" "$suite under $1" "$got" "$status" "$expected"
    exit 1
  fi
  passed=$((passed + 1))
  [[ -z ${INFONCE_TEST_VERBOSE:-} ]] || printf '%s under %s: %s with status %d in %d s\n' "$suite" "$1" "$got" "$status" $((SECONDS - begun))
}

# The beginning of a command that stays a little longer than the program after it: where all processes end at once, without
# MPI, MPICH's mpiexec may write to one that is gone, and end by SIGPIPE.
staying=(bash -c '"$@"; status=$?; sleep 0.3; exit $status' bash)

# family NAME-AND-VERSION LAUNCHER-IN-MESSAGES LIBRARY OTHER-LIBRARY OTHER-NAME COMMAND...
family() {
  local name=$1 launcher=$2 library=$3 other_library=$4 other=$5 suite
  shift 5
  export INFONCE_TEST_MPI=$name INFONCE_TEST_LIBRARY_NAME=$library
  INFONCE_TEST_RANKS=1 launch succeeds ranks "$@" 1
  INFONCE_TEST_RANKS=3 launch succeeds ranks "$@" 3
  launch succeeds 'for all threads' "$@" 2
  launch succeeds 'for one thread' "$@" 2
  for suite in killed exits 'gives up' stays 'never comes'; do
    launch fails "$suite" "$@" 2
  done
  SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 INFONCE_MPI_LIBRARY=$library launch succeeds alone env
  if [[ -n $other ]]; then
    INFONCE_TEST_MPI=$other INFONCE_TEST_LAUNCHER=$launcher INFONCE_MPI_LIBRARY=$other_library \
      launch succeeds 'wrong launcher' "$@" 2 "${staying[@]}"
  fi
}

# version COMMAND PATTERN
version() {
  "$1" --version 2>/dev/null | grep -oP "$2" | head -n 1
}

open_mpi= mpich=
[[ ! $(command -v mpirun.openmpi) ]] || open_mpi="Open MPI $(version mpirun.openmpi '\((Open MPI|OpenRTE)\) \K\S+')"
[[ ! $(command -v mpirun.mpich) ]] || mpich="MPICH $(version mpirun.mpich 'Version:\s+\K\S+')"
[[ -n $open_mpi$mpich ]] || { echo 'there is neither mpirun.openmpi nor mpirun.mpich'; exit 1; }

if [[ -n $open_mpi ]]; then
  family "$open_mpi" 'mpirun of Open MPI' libmpi.so.40 libmpich.so.12 "$mpich" mpirun.openmpi -n
fi
if [[ -n $mpich ]]; then
  family "$mpich" 'mpiexec of MPICH' libmpich.so.12 libmpi.so.40 "$open_mpi" mpirun.mpich -n
  # With the binary interface of MPI 5.
  INFONCE_TEST_MPI=$mpich INFONCE_TEST_RANKS=3 INFONCE_MPI_LIBRARY=${program%/*}/libinfonce_mpi_abi_test.so \
    launch succeeds ranks mpirun.mpich -n 3
  # As npx does.
  launch succeeds 'cut off' mpirun.mpich -n 2 "${staying[@]}" bash -c 'exec {PMI_FD}>&-; exec "$@"' bash
fi
echo "${open_mpi:-no Open MPI}, ${mpich:-no MPICH}: $passed launches as expected"
