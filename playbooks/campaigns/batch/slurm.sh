#!/bin/sh
# A campaign as an array of jobs: `sbatch slurm.sh` starts eight, each with its own part of the same
# plan. When all have ended: `ordeal runs merge shards/*` and `ordeal runs --campaign node`.
#SBATCH --job-name=ordeal
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --output=shards/%a.log
exec ordeal run --matrix playbooks/campaigns/node.yaml --seed 1 \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --on "lab:shard-$SLURM_ARRAY_TASK_ID" --store "shards/$SLURM_ARRAY_TASK_ID"
