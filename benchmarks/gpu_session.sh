#!/usr/bin/env bash
# All that is checked and measured on a GPU, in less than nine minutes, with nothing downloaded: the doctor, the tests
# marked `gpu`, and the benchmarks on CUDA. Writes what they say, named by the day and the card, into a folder.
#
#     bash benchmarks/gpu_session.sh [FOLDER]      # by default benchmarks/results
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-benchmarks/results}
card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr -cs 'A-Za-z0-9\n' '-')
name=$folder/$(date +%F)-${card:-no-gpu}
mkdir -p "$folder"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
status=0

# part SECONDS NAME COMMAND...: runs the command for so long at most, and keeps what it prints.
part() {
    local seconds=$1 log=$name-$2.txt
    shift 2
    printf '\n=== %s\n' "$*"
    timeout --kill-after=5 "$seconds" "$@" 2>&1 | tee "$log"
    local ended=${PIPESTATUS[0]}
    [ "$ended" = 0 ] || { echo "=== ended with status $ended" | tee -a "$log"; status=1; }
}

workers=()
python3 -c 'import xdist' 2>/dev/null && workers=(-n 4)
part 30 doctor python3 -m tinygrad_edu.cli doctor
part 200 tests python3 -m pytest -q -m gpu "${workers[@]}" tests

# benchmarks SECONDS PRECISION ROWS: rows that are done when the time is over are in the file.
benchmarks() {
    part "$1" "$2" python3 -m benchmarks --device cuda --precision "$2" --rows "$3" --limit 45 \
        --peers torch,torch-compile,jax --json "$name-$2.json"
}
benchmarks 130 float32 wide,gpt,lstm,mnist,overhead,resnet
benchmarks 75 tf32 wide,gpt
benchmarks 75 bfloat16 wide,gpt
exit "$status"
