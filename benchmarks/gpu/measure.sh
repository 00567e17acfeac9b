#!/usr/bin/env bash
# What fobench does on a GPU, measured in two parts; docs/gpu.md says what each file holds.
#
#     benchmarks/gpu/measure.sh [--device cpu] [A|B]
#
# A, 220 s: the card, the time of a step at every depth, the tests that need CUDA, loops beside
# others. B, 260 s: the runs of configs/gpu/timed.toml, alone on the card; then those of
# configs/cpu, several at once, for their errors.
# Without a letter, both. With --device cpu, everything in small, to rehearse it.
#
# Environment: OUT, the folder of results [results/reproduced/gpu]; PYTHON, the interpreter
# [python3]; FOBENCH_DATA, the folder of prepared data sets; WHEELS, a folder of packages that the
# interpreter lacks; FOBENCH_COMMIT, what the code is if there is no .git.
#
# Every step is a process of its own in a box of time. What it measured until it failed stays, and
# the next one starts all the same. Exit status 1 if any failed.
set -u

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}

device=cuda parts=
while (($#)); do
  case $1 in
    --device) device=${2-} && shift ;;
    A | B) parts+=" $1" ;;
    *) usage ;;
  esac
  shift
done
case $device in cuda | cpu) ;; *) usage ;; esac

python=${PYTHON:-python3}
case $python in /*) ;; */*) python=$PWD/$python ;; esac
case ${WHEELS:-/} in /*) ;; *) WHEELS=$PWD/$WHEELS ;; esac
case ${FOBENCH_DATA:-/} in /*) ;; *) export FOBENCH_DATA=$PWD/$FOBENCH_DATA ;; esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${OUT:-$root/results/reproduced/gpu}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
scratch=$(mktemp -d) || exit 2
trap 'pack; rm -rf "$scratch"' EXIT
cd "$root" || exit 2
export PYTHONPATH=$root:$scratch/site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
small=
if [ "$device" = cpu ]; then
  # So small that two threads would only wait for each other.
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  small="--set data.dataset=synthetic --set data.train_size=20 --set data.validation=10"
  small+=" --set data.test_size=10 --set train.batch_size=5 --set train.epochs=4"
fi
wheels=${WHEELS:-} failed=0

# What counts of the runs.
pack() {
  [ -d "$scratch/results" ] || return 0
  (cd "$scratch/results" && find . -name '*.json' ! -name heartbeat.json -o -name epochs.csv |
    tar czf "$out/runs.tar.gz" --files-from=-) || failed=1
}

# begin PART SECONDS FILE...: the part ends that soon, a few seconds early, and writes these files.
begin() {
  log=$out/$1.log
  deadline=$((SECONDS + $2))
  shift 2
  (cd "$out" && rm -f "$log" "$@")
  if [ -n "$wheels" ]; then
    step wheels 40 "$python" -m pip install --quiet --no-index --no-deps --no-compile \
      --no-cache-dir --disable-pip-version-check --target "$scratch/site" "$wheels"/*.whl
    wheels=
  fi
}

# step NAME SECONDS COMMAND...: for so long at most. Not without LEAST seconds.
LEAST=5
step() {
  local name=$1 box=$2 left=$((deadline - SECONDS)) began=$SECONDS status
  shift 2
  ((box <= left)) || box=$left
  if ((box < LEAST)); then
    echo "== $name: no time left" | tee -a "$log"
    return 0
  fi
  echo "== $name: $box s at most" >>"$log"
  timeout --signal="${SIGNAL:-TERM}" --kill-after=3 "$box" "$@" >>"$log" 2>&1 </dev/null
  status=$?
  echo "== $name: exit status $status after $((SECONDS - began)) s" | tee -a "$log"
  ((status == 0 || status == 75)) || failed=1 # 75: time was up for a sweep
  return "$status"
}

# measure NAME SECONDS SCRIPT ARGUMENT...
measure() {
  local name=$1 box=$2 script=$3
  shift 3
  step "$name" "$box" "$python" "$here/$script" "$@" --device "$device" --out "$out"
}

# fobench NAME SECONDS ARGUMENT...
fobench() {
  local name=$1 box=$2
  shift 2
  step "$name" "$box" "$python" -m fobench "$@" \
    --device "$device" --results "$scratch/results" $small
}

part_A() {
  local depths variants tests workers=()
  begin A "${A_SECONDS:-215}" hardware.jsonl steps.csv loops.csv
  measure hardware 30 hardware.py
  measure depths 110 steps.py depths
  depths=$?
  # Only the files with such tests, as importing all of them takes long; pytest takes each once.
  mapfile -t tests < <(grep -rl --include='test_cuda*.py' 'mark\.cuda' tests
    grep -rl --include='test_*.py' 'mark\.cuda' tests)
  # In one process they take longer than there is time for. Other plugins are not needed.
  if (($(nproc) >= 8)) && "$python" -c 'import xdist' 2>/dev/null; then
    workers=(-p xdist --numprocesses=4)
  fi
  # Interrupted, it still tells what failed.
  PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 SIGNAL=INT step tests 75 "$python" -m pytest "${workers[@]}" \
    -m cuda -v --tb=short --durations=5 -p no:cacheprovider --continue-on-collection-errors \
    "${tests[@]}"
  measure loops 38 loops.py
  measure variants 45 steps.py variants
  variants=$?
  LEAST=35 measure fused 60 steps.py fused
  # What they did not come to.
  ((depths == 0)) || LEAST=20 measure "depths, the rest" 60 steps.py depths
  ((variants == 0)) || LEAST=15 measure "variants, the rest" 60 steps.py variants
}

part_B() {
  local timed=configs/gpu/timed.toml prefix=gpu- left
  local configs=(configs/cpu/wideresnet.toml configs/cpu/densenet.toml configs/cpu/vgg.toml)
  [ "$device" = cuda ] || prefix=small- configs=("$timed")
  begin B "${B_SECONDS:-255}" runs.tar.gz
  fobench profile 40 predict "$timed"
  fobench timed 115 run "$timed" --time-limit 110s
  pack
  left=$((deadline - SECONDS))
  RESULTS=$scratch/results OUT=$out PYTHON=$python DEVICE=$device OPTIONS=$small PREFIX=$prefix \
    LEAST=30 step sweeps "$left" "$here/sweeps.sh" "$((left - 3))" 5 "${configs[@]}"
  pack
}

for part in ${parts:-A B}; do "part_$part"; done
exit "$failed"
