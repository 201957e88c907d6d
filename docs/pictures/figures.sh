#!/usr/bin/env bash
# Makes docs/images/figure-pareto.svg anew, in about two minutes: docs/pictures/figures.sh
set -euo pipefail
cd "$(dirname "$0")"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
llem-sweep figures.yaml --simulate-gpus 2 --output "$results"
llem-sweep report "$results"/* --figures --format svg
mv "$results"/*/figures/pareto.svg ../images/figure-pareto.svg
