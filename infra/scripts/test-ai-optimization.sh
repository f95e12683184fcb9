#!/usr/bin/env bash
# Plays a cluster and its AI calls before and after optimisation, step by step or all at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/.venv/bin
data=${SIMULATION_DIR:-$root/.cache/simulation}

usage() {
    cat <<HELP
Usage: ${0##*/} COMMAND [OPTION...]

Commands:
  all         build, phase1 and phase2, one after the other
  build       make the environment in $root/.venv
  phase1      play the unoptimized phase
  phase2      play the optimized phase, after phase1, and compare the two
  monitoring  start the pipeline on what the phases left, and watch it; Ctrl-C stops it
  cleanup     remove what the phases left

Options go to \`spendstream simulate\` (such as --seed 7 or --json), for monitoring to \`spendstream up\`
(such as --for 1m). Files are kept in
  $data
or where SIMULATION_DIR says.
HELP
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

build() {
    make --no-print-directory -C "$root" .venv/.ready
}

phase() {
    [[ -x $bin/spendstream ]] || build >&2
    "$bin/spendstream" simulate --data-dir "$data" --phase "$@"
}

monitoring() {
    [[ -d $data/clickhouse ]] || fail "nothing has been simulated in $data yet: run phase1 first"
    "$bin/spendstream" up --no-load --data-dir "$data" "$@"
}

cleanup() {
    [[ -e $data ]] || return 0
    [[ -d $data/clickhouse ]] || fail "$data was not made by a simulation: remove it yourself"
    [[ ! -e $data/running.json ]] || fail "a stack runs on $data, or was killed: stop it, and remove running.json"
    rm -rf -- "$data"
}

command=${1:-}
[[ $# -eq 0 ]] || shift
case $command in
    all)
        build
        phase unoptimized "$@"
        phase optimized "$@"
        ;;
    build) build ;;
    phase1) phase unoptimized "$@" ;;
    phase2) phase optimized "$@" ;;
    monitoring) monitoring "$@" ;;
    cleanup) cleanup ;;
    -h | --help | help) usage ;;
    "")
        usage >&2
        exit 2
        ;;
    *) fail "no such command: $command (see --help)" 2 ;;
esac
