#!/usr/bin/env bash
# Sweeps on one GPU for their errors: untimed runs, several at once.
#
#     benchmarks/gpu/sweeps.sh SECONDS JOBS CONFIG...
#
# First the profile of each config's network, with the card to itself, for the seconds that its runs
# would take alone. Then one config after another, by `fobench run --jobs JOBS`. If the driver's
# Multi-Process Service can be started, kernels of different runs run side by side, else in turns.
# The same command goes on where the last one stopped. Exit status 0 if nothing failed, whether or
# not there was time for all.
#
# Environment: PREFIX, before a config's name in that of its experiment [gpu-]; RESULTS, the folder
# of results [results/reproduced]; OUT, the folder of logs, one a config [RESULTS]; PYTHON, the
# interpreter [python3]; DEVICE [cuda]; FOBENCH_DATA; OPTIONS, words for all commands, such as
# --set experiment.seeds=[0].
set -u

(($# > 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
GRACE=10 # seconds for a command to stop after its time limit
deadline=$((SECONDS + $1 - GRACE)) jobs=$2
shift 2
python=${PYTHON:-python3} results=${RESULTS:-results/reproduced} device=${DEVICE:-cuda}
out=${OUT:-$results}
mkdir -p "$results" "$out" || exit 2
read -ra options <<<"${OPTIONS:-}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
# One thread in profiles and runs alike: the host only starts kernels.
export OMP_NUM_THREADS=1

same=$(for config; do basename "$config" .toml; done | sort | uniq --repeated)
if [ -n "$same" ]; then
  echo "several configs are named $same: their experiments would be one" >&2
  exit 2
fi

# fobench SECONDS COMMAND CONFIG ARGUMENT...: for so long at most, with its output in the log.
fobench() {
  local seconds=$1 command=$2 config=$3 name
  shift 3
  name=$(basename "$config" .toml)
  timeout --kill-after=5 "$seconds" \
    "$python" -m fobench "$command" "$config" \
    --set "experiment.name=${PREFIX:-gpu-}$name" --results "$results" --device "$device" \
    "${options[@]}" "$@" >>"$out/$name.log" 2>&1 </dev/null
}

service=
stop_service() {
  [ -n "$service" ] || return 0
  echo quit | timeout 5 nvidia-cuda-mps-control
  rm -rf "$service"
  service=
}
trap stop_service EXIT

start_service() {
  command -v nvidia-cuda-mps-control >/dev/null && service=$(mktemp -d) || return 0
  export CUDA_MPS_PIPE_DIRECTORY=$service/pipe CUDA_MPS_LOG_DIRECTORY=$service/log
  mkdir "$service"/{pipe,log}
  # It can start and still not serve, where the driver is not wholly there.
  nvidia-cuda-mps-control -d && timeout --kill-after=3 25 "$python" -c '
import torch
torch.ones(8, device="cuda").sum().item()' && return
  echo "no Multi-Process Service: kernels of different runs take turns" >&2
  cat "$service"/log/* >&2
  stop_service
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

status=0
for config; do
  left=$((deadline - SECONDS))
  ((left > 0)) || break
  fobench "$left" predict "$config"
  ended=$?
  ((ended == 0 || ended == 124)) || status=$ended # 124: time was up
done
[ "$device" = cpu ] || start_service
for config; do
  left=$((deadline - SECONDS))
  ((left > 0)) || break
  fobench "$((left + GRACE))" run "$config" --jobs "$jobs" --time-limit "${left}s"
  ended=$?
  ((ended == 0 || ended == 75)) || status=$ended
done
exit "$status"
