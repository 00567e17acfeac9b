#!/usr/bin/env bash
# Sweeps on one GPU for their errors: untimed runs, several at once.
#
#     benchmarks/gpu/sweeps.sh SECONDS JOBS CONFIG...
#
# First the profile of each config's network, with the card to itself, for the seconds that its runs
# would take alone. Then one config after another, by `fobench run --jobs JOBS`. If the driver's
# Multi-Process Service can be started, kernels of different runs run side by side, else in turns.
# The same command goes on where the last one stopped.
#
# Environment: PREFIX, before a config's name in that of its experiment [gpu-]; RESULTS, the folder
# of results [results/reproduced]; OUT, the folder of the logs and of sweeps.tar.gz, which holds
# what counts of the results [RESULTS]; PYTHON, the interpreter [python3]; DEVICE [cuda];
# FOBENCH_DATA; OPTIONS, words for all commands, such as --set experiment.seeds=[0].
set -u

(($# > 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
deadline=$((SECONDS + $1)) jobs=$2
shift 2
python=${PYTHON:-python3} results=${RESULTS:-results/reproduced} device=${DEVICE:-cuda}
mkdir -p "$results" && out=$(cd "${OUT:-$results}" && pwd) || exit 2
read -ra options <<<"${OPTIONS:-}"
# One thread in profiles and runs alike: the host only starts kernels.
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
  command -v nvidia-cuda-mps-control >/dev/null && service=$(mktemp -d) || return
  export CUDA_MPS_PIPE_DIRECTORY=$service/pipe CUDA_MPS_LOG_DIRECTORY=$service/log
  mkdir "$service"/{pipe,log}
  trap stop_service EXIT
  # It can start and still not serve, where the driver is not wholly there.
  nvidia-cuda-mps-control -d && timeout --kill-after=3 25 "$python" -c '
import torch
torch.ones(8, device="cuda").sum().item()' && return
  echo "no Multi-Process Service: kernels of different runs take turns" >&2
  cat "$service"/log/* >&2
  stop_service
  service=
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

for config; do
  fobench predict "$config" >"$out/$(basename "$config" .toml).log" || exit $?
done
[ "$device" = cpu ] || start_service
status=0
for config; do
  left=$((deadline - SECONDS - 10)) # to pack
  ((left > 0)) || break
  fobench run "$config" --jobs "$jobs" --time-limit "${left}s" \
    >>"$out/$(basename "$config" .toml).log" 2>&1
  each=$?
  ((each == 0 || each == 75)) || status=$each
done
(cd "$results" && find . -name '*.json' ! -name heartbeat.json -o -name epochs.csv | sort |
  tar czf "$out/sweeps.tar.gz" --files-from=-)
exit "$status"
