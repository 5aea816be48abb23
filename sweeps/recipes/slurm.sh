#!/usr/bin/env bash
# A sweep on SLURM, submitted from a checkout on a file system that all nodes share; README.md in this folder says how.
#   sbatch sweeps/recipes/slurm.sh --corpus /shared/books.parquet --model small-llama2
# Submit it from a Python environment that has Ray 2.60.0 and this package.
#SBATCH --job-name=schedule-search
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# --requeue: SLURM queues the job again after a node's failure or a preemption.
# --signal: two minutes before the time is up, the job gets USR1 and queues itself again.
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
results=${RESULTS:-$PWD/results}
run=${RUN:-job-$SLURM_JOB_ID}  # a job keeps its number when it is queued again, and so its run

# --- Ray's head on the first node, a worker on each other node; they end with the job ---
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))  # a port of its own for each job, because jobs may share a node
common=(--block --num-cpus="$SLURM_CPUS_PER_TASK")
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" ray start --head --node-ip-address="$head_ip" --port="$port" \
  --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${common[@]}" &
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" ray start --address="$head_ip:$port" "${common[@]}" &
done
python - "$head_ip:$port" "${#nodes[@]}" <<'WAIT'
import sys, time, ray
address, wanted = sys.argv[1], int(sys.argv[2])
for _ in range(120):
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        break
    except Exception:
        time.sleep(2)
for _ in range(150):
    if sum(node["Alive"] for node in ray.nodes()) >= wanted:
        break
    time.sleep(2)
else:
    sys.exit(f"error: {wanted} nodes were asked for but only {len(ray.nodes())} have joined: see their logs.")
WAIT

# --- the same command starts the run, or goes on with it ---
trap 'echo "the time is nearly up: queued again"; scontrol requeue "$SLURM_JOB_ID"' USR1
python sweeps/schedule_search.py --address "$head_ip:$port" --results "$results" --run "$run" "$@" &
wait $!
