#!/usr/bin/env bash
# Begin a sweep, or go on with it:
#
#   deploy/run-or-resume.sh GRID OUTPUT [OPTION...]
#
# OUTPUT is a folder for this sweep alone, on storage that outlives the cluster, or the URI of one in an object store.
# GRID is run into it when it holds no sweep yet; the sweep that it holds is resumed otherwise. The same command can
# therefore be given again, by hand or by a scheduler, after a lost head, a preemption or a time limit. OPTIONs go to
# llem-sweep; so do signals, and its exit code is the script's.
set -euo pipefail

if (($# < 2)); then
  echo "usage: $0 GRID OUTPUT [OPTION...]" >&2
  exit 2
fi
grid=$1 output=$2
shift 2

if [[ $output == *://* ]]; then
  found=$(python "$(dirname "$0")/find_sweeps.py" "$output")
  sweeps=()
  if [[ -n $found ]]; then mapfile -t sweeps <<<"$found"; fi
else
  mkdir -p "$output"
  shopt -s nullglob
  sweeps=("$output"/*/plan.json)
  sweeps=("${sweeps[@]%/plan.json}")
fi
case ${#sweeps[@]} in
  0) exec llem-sweep "$grid" --output "$output" "$@" ;;
  1) exec llem-sweep --resume "${sweeps[0]}" "$@" ;;
  *)
    # Not named: a URI may hold credentials.
    echo "$0: OUTPUT holds ${#sweeps[@]} sweeps: give each its own folder, or resume one with llem-sweep --resume" >&2
    exit 2
    ;;
esac
