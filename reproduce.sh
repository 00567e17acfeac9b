#!/usr/bin/env bash
# Train, plot and say where the figures are: `./reproduce.sh quick|cpu|paper FOLDER`.
# Started by `make reproduce`, with fobench on the PATH. Finished runs are not trained again.
set -eu
profile=$1
results=$2
configs=(configs/"$profile"/*.toml)
[ -e "${configs[0]}" ] || { echo "no profile $profile: give quick, cpu or paper" >&2; exit 2; }

case $profile in
  cpu) fobench data cifar10 ;;
  paper)
    fobench data cifar100
    fobench run "${configs[@]}" --results "$results" --estimate
    ;;
esac
fobench run "${configs[@]}" --results "$results"

echo "Figures:"
for config in "${configs[@]}"; do
  folder=$results/$profile-$(basename "$config" .toml)
  for kind in speedup-error curves; do
    fobench plot "$folder" --kind "$kind" -o "$folder/$kind.png"
  done
done
