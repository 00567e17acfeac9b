#!/usr/bin/env bash
# Sweeps that share one GPU: untimed runs of several configs at once, for their errors.
#
#     benchmarks/gpu/sweeps.sh SECONDS JOBS CONFIG...
#
# First the profile of each config's network, with the card to itself, for the seconds that its runs
# would take alone. Then a `fobench run --jobs JOBS` for each config, all at the same time, so that
# all have trained about as many seeds when the SECONDS are over. If the driver's Multi-Process
# Service can be started, their kernels run side by side, else in turns. The same command goes on.
#
# Environment: PREFIX, before a config's name in that of its experiment [gpu-]; RESULTS, the folder of results [results/reproduced]; OUT, where sweeps.tar.gz gets
# what counts of them [RESULTS]; PYTHON, the interpreter [python3]; FOBENCH_DATA; OPTIONS, words for
# all commands, such as --set train.epochs=5.
set -u

(($# > 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
deadline=$((SECONDS + $1)) jobs=$2
shift 2
python=${PYTHON:-python3} results=${RESULTS:-results/reproduced} device=${DEVICE:-cuda}
mkdir -p "$results" && out=$(cd "${OUT:-$results}" && pwd) || exit 2
read -ra options <<<"${OPTIONS:-}"
# All profiles and runs with one thread each: the host only starts kernels.
export OMP_NUM_THREADS=1

fobench() {
  local command=$1 config=$2 name=${PREFIX:-gpu-}$(basename "$2" .toml)
  shift 2
  "$python" -c 'from fobench.cli import main; main(prog_name="fobench")' "$command" "$config" \
    --set "experiment.name=$name" --results "$results" --device "$device" "${options[@]}" "$@" \
    </dev/null
}

service=
stop_service() { [ -z "$service" ] || echo quit | nvidia-cuda-mps-control; }

start_service() {
  command -v nvidia-cuda-mps-control >/dev/null || return
  service=$(mktemp -d) || return
  export CUDA_MPS_PIPE_DIRECTORY=$service/pipe CUDA_MPS_LOG_DIRECTORY=$service/log
  mkdir "$service"/{pipe,log}
  trap stop_service EXIT
  nvidia-cuda-mps-control -d && timeout --kill-after=3 25 "$python" -c '
import torch
print("Multi-Process Service:", torch.ones(8, device="cuda").sum().item() == 8)' && return
  echo "no Multi-Process Service: kernels of different runs take turns" >&2
  cat "$service"/log/* >&2
  stop_service
  service=
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

pack() {
  (cd "$results" && find . -name '*.json' ! -name 'heartbeat.json' -o -name epochs.csv | sort |
    tar czf "$out/sweeps.tar.gz" --files-from=-)
}

for config; do
  fobench predict "$config" >/dev/null || exit $?
done
[ "$device" = cpu ] || start_service
left=$((deadline - SECONDS))
echo "profiles are measured; $left s for the runs"
for config; do
  log=$out/$(basename "$config" .toml).log
  fobench run "$config" --jobs "$jobs" --time-limit "$((left > 15 ? left - 10 : 5))s" >"$log" 2>&1 &
done
status=0
for job in $(jobs -p); do
  wait "$job"
  each=$?
  ((each == 0 || each == 75)) || status=$each
done
pack
grep -c '^.*"status": "finished"' "$results"/*/*/run.json | awk -F: '{n += $NF} END {print n, "runs finished"}'
exit "$status"
