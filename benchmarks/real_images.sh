#!/usr/bin/env bash
# The quick experiments on real images: each network on CIFAR-10 and CIFAR-100, one seed, a quarter
# of an hour on two cores. Needs fobench on the PATH and both sets prepared (`fobench data`).
set -eu
cd "$(dirname "$0")/.."
for dataset in cifar10 cifar100; do
  folders=()
  for network in densenet wideresnet vgg; do
    name=quick-$network-$dataset
    fobench run "configs/quick/$network.toml" \
      --set "experiment.name=$name" --set "data.dataset=$dataset"
    folders+=("results/$name")
  done
  fobench plot "${folders[@]}" -o "results/quick-$dataset.svg"
done
