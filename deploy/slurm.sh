#!/bin/bash
# A sweep on Slurm: Ray on every node of the allocation, one sweep on it, and everything stopped at the end.
#
#   sbatch deploy/slurm.sh GRID OUTPUT [OPTION...]
#
# Submit it in the folder above this one, on a file system that all nodes share, with `llem-sweep` and `ray` installed in
# .venv there (or already on PATH). OUTPUT, on shared storage too or the URI of an object store, is a folder for this
# sweep alone: the same command given again goes on with it, so does Slurm after a lost node. OPTIONs go to llem-sweep; its exit code becomes the job's.
#
# Change these to your cluster, here or on sbatch's command line (which has the last word):
#SBATCH --job-name=llem-sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --mem=0
#SBATCH --time=08:00:00
#SBATCH --output=llem-sweep-%j.log
#SBATCH --open-mode=append
#
# Nobody else on the nodes: neighbours would be measured along, and at its end `ray symmetric-run` stops every Ray of the
# user on the machine.
#SBATCH --exclusive
# A lost node is the sweep's own business: it goes on without. With the head's node Slurm begins the job again.
#SBATCH --no-kill
#SBATCH --requeue
# Ten minutes before the time is up the sweep is told to stop; `scancel --batch --signal=USR1 JOB` does the same.
#SBATCH --signal=B:USR1@600
set -euo pipefail

if (($# < 2)); then
  echo "usage: sbatch $0 GRID OUTPUT [OPTION...]" >&2
  exit 2
fi
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch}"
if [[ -d .venv/bin ]]; then PATH=$PWD/.venv/bin:$PATH; fi
# shellcheck source=deploy/ray.env
source deploy/ray.env

# Every node reads the token from the shared home; nobody else may.
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
if [[ ! -s $token ]]; then
  mkdir -p "${token%/*}"
  (umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$token")
fi
chmod 600 "$token"

# This shell runs on the first node of the allocation, which becomes Ray's head. Where that node's first address isn't the
# one by which the others reach it, HEAD_IP names another.
read -r first_ip _ < <(hostname -I)
export SWEEP_ADDRESS=${HEAD_IP:-$first_ip}:${RAY_PORT:-6379}
gpus=${SLURM_GPUS_ON_NODE:-0}
export SWEEP_GPUS=$((gpus * SLURM_NNODES))

# Importing Ray from a shared file system on many nodes at once takes longer than the 30 s that Ray allows.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
# The other nodes end when the head has been gone for so long; by default they would be paid for a minute more.
export RAY_gcs_rpc_server_reconnect_timeout_s=15

# `ray symmetric-run` ends with 0 when Ray couldn't be started, so the sweep's exit code takes a way of its own.
export SWEEP_STATE=$PWD/.llem-sweep-job-$SLURM_JOB_ID
trap 'rm -f "$SWEEP_STATE".*' EXIT

# What the head runs once all nodes are there. Without the address, Ray might start a second cluster that has no boards.
# shellcheck disable=SC2016
sweep='
python deploy/count_gpus.py "$SWEEP_ADDRESS" "$SWEEP_GPUS" && {
  deploy/run-or-resume.sh "$@" --address "$SWEEP_ADDRESS" &
  echo $! >"$SWEEP_STATE.pid"
  wait $!
}
echo $? >"$SWEEP_STATE.code"'

# shellcheck disable=SC2329
stop() {
  echo "told to stop: running experiments may finish; give the same command again to go on"
  if [[ -s $SWEEP_STATE.pid ]]; then kill -TERM "$(<"$SWEEP_STATE.pid")" || true; fi
}
trap stop USR1 TERM

srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --cpu-bind=none --no-kill --kill-on-bad-exit=0 --wait=0 \
  ray symmetric-run --address "$SWEEP_ADDRESS" --min-nodes "$SLURM_NNODES" --num-gpus="$gpus" \
  -- bash -c "$sweep" sweep "$@" &
# A signal interrupts the waiting, not what is waited for.
while kill -0 $! 2>/dev/null; do wait $! || true; done

if [[ ! -s $SWEEP_STATE.code ]]; then
  echo "no exit code came from the head: Ray could not be started there, or was killed; what it said is above" >&2
  exit 3
fi
exit "$(<"$SWEEP_STATE.code")"
