#!/usr/bin/env bash
set -euo pipefail

readonly TARGET="${1:-staging}"

# Says what happens.
log() {
  printf '%s %s\n' "$(date)" "$*" >&2
}

function build {
  local name=$1
  for file in src/*.c; do
    cc -c "$file" -o "build/$(basename "$file").o"
  done
}

# Copies it all,
# and restarts.
function deploy() {
  if [[ "$TARGET" == production ]]; then
    log "careful"
  fi
  cat <<EOF
deploying ${TARGET} {
EOF
}

trap 'log failed' ERR
build app
deploy
