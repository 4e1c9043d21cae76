#!/bin/bash
# Collects as many results as possible in the first minutes on a GPU: see usage() and docs/hardware.md.
set -uo pipefail

usage() {
  cat <<'TEXT'
bench/gpu/first-minutes.sh OUT SECONDS [options]

Runs the output of `npm run build:verify` on a GPU, without Node.js and without a network. Each phase is many processes,
each with a time limit. OUT/lines.jsonl gets a line of JSON for each figure as soon as it is known, and one for the
outcome of each process; OUT/log.txt gets their output. `npm run gpu:record -- OUT` turns the lines into a record.

  1  versions; the device before and after a context is created, both generations of kernels
  2  the native tests, one process per case, with each generation
  3  the steps to the kernels for compute capability 9.0
  4  errors against float64, the same bits twice
  5  the performance targets, with each generation, a library of CUDA 12, and PyTorch; the cost of the trace; the L2 cache
  6  torch.compile, ncu, compute-sanitizer, the crossover from sm80 to sm90, calls in flight

  --only PHASE      may be repeated; default: all, in this order
  --build FOLDER    the build folder; default build-cuda
  --library FILE    default: libinfonce_cuda.so in that folder
  --cuda12 FILE     a library built with CUDA 12; default build-cuda12/Release/libinfonce_cuda.so, if it exists
  --cases PATTERN   of the native tests, in doctest's syntax (* and ?); default *
  --jobs N          parallel tests; default half of the processors, at most 8
  --limit S         time limit of every process in seconds; default: depends on the process
  --small           sizes for a simulator
INFONCE_COMMIT names the commit if there is no repository, PYTHON the interpreter.
TEXT
}

refuse() {
  printf 'first-minutes.sh: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ ${1-} == --help || ${1-} == -h ]] && { usage; exit; }
(($# >= 2)) || refuse 'OUT and SECONDS are needed'
out=$1 seconds=$2
shift 2
[[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || refuse "SECONDS: '$seconds' is no whole number above 0"
build=$root/build-cuda library='' cuda12=$root/build-cuda12/Release/libinfonce_cuda.so cases='*' small=0 only=() most=3600
jobs=$(($(nproc) / 2))
((jobs = jobs > 8 ? 8 : jobs < 1 ? 1 : jobs))
while (($#)); do
  case $1 in
    --small) small=1 && shift && continue ;;
    --only | --build | --library | --cuda12 | --cases | --jobs | --limit) (($# >= 2)) || refuse "$1 needs a value" ;;
    *) refuse "there is no option $1" ;;
  esac
  case $1 in
    --only) [[ $2 == [1-6] ]] || refuse "--only: there is no phase '$2'" && only+=("$2") ;;
    --build) build=$2 ;;
    --library) library=$2 ;;
    --cuda12) cuda12=$2 ;;
    --cases) cases=$2 ;;
    --jobs | --limit)
      [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "$1: '$2' is no whole number above 0"
      if [[ $1 == --jobs ]]; then jobs=$2; else most=$2; fi
      ;;
  esac
  shift 2
done
if [[ ! $library ]]; then
  library=$build/Release/libinfonce_cuda.so
  [[ -e $library ]] || library=$build/libinfonce_cuda.so
fi
[[ -e $library ]] || refuse "$library is not there: npm run build:verify"
[[ ! -e $out/lines.jsonl ]] || refuse "$out holds the lines of another run: name a new folder"
mkdir -p "$out" || exit 2
library=$(realpath "$library") out=$(realpath "$out") build=$(realpath "$build")
lines=$out/lines.jsonl log=$out/log.txt
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
export INFONCE_CUDA_LIBRARY=$library INFONCE_TEST_LIBRARY=$library PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
((small)) && export INFONCE_TEST_EFFORT=simulator
unset INFONCE_ISA

python=${PYTHON:-python3}
figure=("$python" "$root/bench/gpu/figure.py")
once=() # for programs that time
((small)) && figure+=(--quick) once=(--once)
ladder=$build/bench/ladder/infonce_ladder
level2=$build/bench/gpu/infonce_l2_bandwidth
tests=$build/native/test

readonly most_lines=2000 # of a process, in the log
readonly grace=2         # seconds between asking a process to end and killing it
readonly most_hangs=3    # of a generation in a phase, after which the rest of its processes are left out
readonly shortest=1500   # milliseconds with which it is no use to begin
readonly begun=$((${EPOCHREALTIME//[!0-9]/} / 1000))
phase=0 phase_end=$((seconds * 1000)) running=''

# --- Lines -----------------------------------------------------------------------------------------------------------

# clock: milliseconds since the script began, in $now.
clock() { now=$((${EPOCHREALTIME//[!0-9]/} / 1000 - begun)); }

# in_seconds MILLISECONDS: as a decimal number, in $REPLY.
in_seconds() { printf -v REPLY '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# quoted TEXT: as a string of JSON, in $REPLY.
quoted() {
  local LC_ALL=C text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  REPLY="\"${text//[[:cntrl:]]/ }\""
}

# tell STEP MEMBER...: appends a line at once; members are written as JSON.
tell() {
  local at step
  clock
  in_seconds "$now" && at=$REPLY
  quoted "$1" && step=$REPLY
  shift
  local IFS=,
  printf '{"phase":%d,"step":%s,"at":%s,%s}\n' "$phase" "$step" "$at" "$*" >>"$lines"
}

note() {
  clock
  printf '%6d.%d s  %s\n' $((now / 1000)) $((now % 1000 / 100)) "$*" | tee -a "$log"
}

# skip STEP REASON
skip() {
  quoted "$2"
  tell "$1" '"status":"skipped"' "\"reason\":$REPLY"
  note "[$phase] $1: skipped: $2"
}

# --- Processes -------------------------------------------------------------------------------------------------------

stop() {
  local children
  children=$(jobs -p)
  # shellcheck disable=SC2086 # several words
  kill -TERM $running $children 2>/dev/null
}
# For background steps, the shell that started them reports the end.
stop_all() {
  stop
  if ((BASHPID == $$)); then
    tell 'end' "\"status\":\"stopped by $1\""
    note "stopped by $1: what was measured is in $lines"
  fi
  exit 143
}
trap 'stop_all SIGTERM' TERM
trap 'stop_all SIGINT' INT
trap 'stop_all SIGHUP' HUP

# step NAME LIMIT COMMAND...: runs a command for at most LIMIT seconds, or what is left of the phase, and tells how it
# went. Lines that it prints and that are objects of JSON are figures. With status SKIP_STATUS (77) it could not be run
# here, and with OR_SKIP set whatever went wrong.
step() {
  local name=$1 limit=$((1000 * ($2 < most ? $2 : most))) from left pipe line='' count=0 code=142
  local reason error='' more=0 last='' outcome late=timeout
  shift 2
  clock
  from=$now left=$((phase_end - now))
  ((left >= shortest)) || { skip "$name" 'no time was left'; return 1; }
  ((limit < left)) || { limit=$left; late='cut off'; }
  if [[ $name == *sm[89]0* ]] && hangs "${name##*, }"; then
    skip "$name" "$most_hangs processes of ${name##*, } in this phase never ended"
    return 1
  fi
  in_seconds "$limit"
  exec {pipe}< <(exec timeout -k "$grace" "$REPLY" "$@" 2>&1 </dev/null)
  running=$!
  # What cannot even be killed is left alone: only the end of what it prints (1 of `read`) says that it has ended.
  while clock; left=$((from + limit + 1000 * (grace + 3) - now)); ((left > 0)); do
    in_seconds "$left"
    IFS= read -r -t "$REPLY" -u "$pipe" line || { code=$? && [[ $line ]] || break; }
    ((++count > most_lines)) || printf '%s\n' "$name| $line" >>"$log"
    if [[ $line == '{"'*'}' ]]; then
      tell "$name" "\"figure\":$line"
    else
      if [[ ! $error && $line =~ (^|[^a-z])(ERROR|FAIL|[Ee]rror|[Ee]xception|skipped:) ]]; then more=3; fi
      ((more-- > 0)) && error+="${line:0:300} / "
      [[ $line =~ [a-z] ]] && last=${line:0:300}
    fi
    line=''
  done
  exec {pipe}<&-
  clock
  if ((code == 1)); then
    wait "$running"
    code=$?
  fi
  running=''
  reason=${error:-$last}
  reason=${reason% / }
  case $code in
    0) outcome=passed reason='' ;;
    "${SKIP_STATUS:-77}") outcome=skipped ;;
    *) outcome=failed ;;
  esac
  # 124: `timeout` has asked it to end, 137: killed it, 142: it could not.
  if ((now - from >= limit)) && [[ $code == 124 || $code == 137 || $code == 142 ]]; then
    in_seconds "$limit"
    outcome=$late reason="it had not ended after $REPLY s${reason:+; the last it said: $reason}"
    [[ $late == timeout ]] || reason="the phase was over: $reason"
  fi
  [[ ! ${OR_SKIP-} || $outcome == passed ]] || outcome=skipped
  in_seconds $((now - from))
  local members=("\"status\":\"$outcome\"" "\"seconds\":$REPLY" "\"exit\":$code")
  if [[ $reason ]]; then quoted "${reason:0:600}" && members+=("\"reason\":$REPLY"); fi
  tell "$name" "${members[@]}"
  note "[$phase] $name: $outcome${reason:+: ${reason:0:160}}"
  [[ $outcome == passed ]]
}

# hangs GENERATION: whether so many of its processes in this phase never ended that others will not either.
hangs() {
  (($(grep -c "^{\"phase\":$phase,\"step\":\"[^\"]*, $1\".*\"status\":\"timeout\"" "$lines") >= most_hangs))
}

# beside COMMAND...: in the background, when fewer than --jobs are.
beside() {
  while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
  "$@" &
}

# with KERNELS COMMAND...: the words that run a command by one generation of kernels, in $words.
with() { words=(env "INFONCE_ISA=$1" "${@:2}"); }

built() { [[ -x $1 ]] || { skip "$2" "$1 is not there: npm run build:verify"; return 1; }; }

# --- Phases ----------------------------------------------------------------------------------------------------------

facts_of_device() {
  if command -v nvidia-smi >/dev/null; then step 'nvidia-smi' 15 nvidia-smi; else skip 'nvidia-smi' 'it is not installed'; fi
  step 'versions' 20 "${figure[@]}" versions
  step 'device before a context' 15 "${figure[@]}" device
  step 'device after a context' 20 "${figure[@]}" device --context
}

# cases_of PROGRAM FILTER...: names of test cases, a line each.
cases_of() {
  timeout -k "$grace" 15 "$1" --no-intro --no-version --list-test-cases "${@:2}" 2>/dev/null </dev/null |
    grep -v -e '^\[doctest\]' -e '^===' -e '^$' -e '^skipped:'
}

# native_cases PROGRAM KERNELS COMMAND [FILTER...]: each case a process. A pattern has no commas: they divide patterns.
native_cases() {
  local program=$tests/$1 kernels=$2 how=$3 case pattern names
  shift 3
  built "$program" "${program##*/}, $kernels" || return
  mapfile -t names < <(cases_of "$program" "$@" --test-case="$cases")
  # What lists nothing cannot run here: why, its own words say.
  if ((${#names[@]} == 0)) && [[ $cases == '*' ]]; then
    with "$kernels" "$program" --no-colors "$@"
    step "${program##*/}, $kernels" 20 "${words[@]}"
  fi
  for case in "${names[@]}"; do
    pattern=${case//[,\\]/?}
    with "$kernels" "$program" --no-colors --test-case="$pattern"
    $how step "$case, $kernels" $((small ? 60 : 30)) "${words[@]}"
  done
}

native_tests() {
  local kernels bounded=${library%.so}_bounded.so
  # Whose kernels end where a barrier is never completed, with a fault that names them.
  [[ ! -e $bounded ]] || local -x INFONCE_TEST_LIBRARY=$bounded
  for kernels in "${generations[@]}"; do
    # A test that fills the device's memory has it to itself.
    native_cases infonce_results_test "$kernels" beside --source-file-exclude='*too_large*'
    native_cases infonce_device_memory_test "$kernels" beside
    wait
    native_cases infonce_concurrency_test "$kernels" ''
    native_cases infonce_results_test "$kernels" '' --source-file='*too_large*'
    native_cases infonce_fault_test "$kernels" ''
  done
}

ladders() {
  local size
  built "$ladder" 'the ladder' || return
  for size in "${ladder_sizes[@]}"; do
    # shellcheck disable=SC2086 # two words
    SKIP_STATUS=3 step "ladder $size" 25 "$ladder" ${size/x/ } "${once[@]}"
  done
}

errors() {
  local kernels
  for kernels in "${generations[@]}"; do
    with "$kernels" "$python" "$root/bench/gpu/compare.py" --self-test
    beside step "errors and bits of small problems, $kernels" 60 "${words[@]}"
    with "$kernels" "${figure[@]}" errors
    beside step "errors and bits beside PyTorch, $kernels" 60 "${words[@]}"
  done
  wait
}

# aims_by NAME COMMAND...: each shape whose speed is aimed at, a process.
aims_by() {
  local name=$1 aim
  shift
  ((${#aims[@]})) || skip "aims, $name" "$python does not list them: see the step 'versions'"
  for aim in "${aims[@]}"; do
    # shellcheck disable=SC2086 # three words
    step "aim $aim, $name" "$([[ $aim == *1048576* ]] && echo 60 || echo 20)" "$@" time $aim
  done
}

speeds() {
  local kernels first=${generations[0]} shape
  for kernels in "${generations[@]}"; do
    with "$kernels" "${figure[@]}"
    aims_by "$kernels" "${words[@]}"
    [[ $kernels == "$first" ]] || continue
    with "$kernels" "${figure[@]}" time ntXent medium "${trace_sizes[@]}"
    step "with the trace, $kernels" 20 "${words[@]}"
    step "without the trace, $kernels" 20 "${words[@]}" --no-trace
    built "$level2" 'the L2 cache' && step 'the L2 cache' 20 "$level2" "${once[@]}" "${level2_sizes[@]}"
  done
  if [[ -e $cuda12 ]]; then
    with "$first" "INFONCE_CUDA_LIBRARY=$(realpath "$cuda12")" "${figure[@]}"
    aims_by "CUDA 12, $first" "${words[@]}"
  else
    skip 'the library of CUDA 12' "$cuda12 is not there"
  fi
  torch_by eager 40
}

# torch_by FORM LIMIT
torch_by() {
  local shape
  has_torch "PyTorch, $1" || return
  for shape in "${torch_shapes[@]}"; do
    # shellcheck disable=SC2086 # two words
    step "PyTorch $shape, $1" "$2" "${figure[@]}" torch ${shape% *} "$1" "${shape#* }"
  done
}

has_torch() {
  "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' 2>/dev/null ||
    { skip "$1" 'PyTorch is not installed'; return 1; }
}

# runs_here TOOL COMMAND...: whether a tool is there and works, for some virtual machines forbid it.
runs_here() {
  command -v "$1" >/dev/null || { skip "$1" 'it is not installed'; return 1; }
  OR_SKIP=1 step "whether $1 works here" 40 "${@:2}"
}

while_time_lasts() {
  local tool kernels size form
  torch_by compile 120
  if runs_here ncu "${figure[@]}" ncu ntXent medium 130x64; then
    for form in "${ncu_forms[@]}"; do
      with "${generations[0]}" "${figure[@]}" ncu
      # shellcheck disable=SC2086 # three words
      step "ncu $form, ${generations[0]}" 90 "${words[@]}" $form
    done
  fi
  if built "$level2" 'compute-sanitizer' && runs_here compute-sanitizer compute-sanitizer "$level2" --once 1; then
    for tool in memcheck racecheck synccheck; do
      for kernels in "${generations[@]}"; do
        with "$kernels" compute-sanitizer --tool "$tool" --error-exitcode 86 --target-processes all \
          "$python" "$root/bench/gpu/compare.py" --self-test
        step "$tool, $kernels" 150 "${words[@]}"
      done
    done
  fi
  for size in "${crossover_dims[@]}"; do
    for kernels in "${generations[@]}"; do
      with "$kernels" "${figure[@]}" time ntXent medium "${crossover_rows[@]/%/x$size}"
      step "N of D = $size, $kernels" 30 "${words[@]}"
    done
  done
  for form in highest medium; do
    step "calls in flight, $form" 60 "${figure[@]}" flights ntXent "$form" "${flight_sizes[@]}"
  done
}

if ((small)); then
  ladder_sizes=(520x128 520x256) level2_sizes=(1) trace_sizes=(130x64) aims=('ntXent medium 130x64' 'clip highest 66x64')
  torch_shapes=('ntXent 130x64') ncu_forms=('ntXent medium 130x64') crossover_rows=(66 130) crossover_dims=(64)
  flight_sizes=(66x64)
else
  ladder_sizes=(8192x128 8192x256) level2_sizes=(8 16 24 32) trace_sizes=(1024x128 8192x128 16384x256)
  mapfile -t aims < <(timeout -k "$grace" 20 "${figure[@]}" aims 2>/dev/null)
  torch_shapes=('ntXent 8192x128' 'ntXent 16384x256' 'ntXent 32768x256' 'ntXent 8192x1024' 'clip 65536x768')
  ncu_forms=('ntXent medium 8192x128' 'ntXent medium 16384x256' 'ntXent medium 8192x1024' 'clip medium 8192x768'
    'ntXent highest 8192x128')
  crossover_rows=(1024 2048 4096) crossover_dims=(64 128 256 768) flight_sizes=(512x128 2048x128 8192x128)
fi

# --- The run ---------------------------------------------------------------------------------------------------------

quoted "$library" && tell 'begin' "\"limit\":$seconds" "\"small\":$small" "\"library\":$REPLY"
generations=(sm90 sm80)
phases=(facts_of_device native_tests ladders errors speeds while_time_lasts)
shares=(8 43 55 80 100 100) # percent of the time at whose end a phase ends, so that those after it begin
for index in "${!phases[@]}"; do
  phase=$((index + 1))
  [[ ${#only[@]} == 0 || " ${only[*]} " == *" $phase "* ]] || continue
  phase_end=$((${#only[@]} ? seconds * 1000 : seconds * 10 * shares[index]))
  "${phases[index]}"
  # A device of another compute capability has the portable kernels alone.
  if ((phase == 1)) && grep -q '"capability": "' "$lines" && ! grep -q '"capability": "9\.0"' "$lines"; then
    generations=(sm80)
  fi
done
phase=0
tell 'end' '"status":"finished"'
count() { grep -c "\"status\":\"$1\"" "$lines"; }
note "$(count passed) passed, $(count failed) failed, $(count timeout) never ended, $(count 'cut off') cut off," \
  "$(count skipped) skipped: $lines"
(($(count failed) + $(count timeout) == 0))
