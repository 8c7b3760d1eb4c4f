#!/usr/bin/env bash
# Brings .venv to the locked state of one purpose: base, demo, check, test or setup.
# Needs a Python of 3.11 or later (PYTHON names it; otherwise the first suitable one on PATH) and pip's usual index.
# A finished purpose leaves .venv/.ready-PURPOSE, so that the next call returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose="$1"
python=.venv/bin/python

is_suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

fail() {
    printf 'peyda: %s\n' "$@" >&2
    exit 1
}

find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        is_suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of version 3.11 or later."
        printf '%s' "$PYTHON"
        return
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if is_suitable "$name"; then
            printf '%s' "$name"
            return
        fi
    done
    fail "no Python of version 3.11 or later was found on PATH." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 $purpose"
}

make_venv() {
    local base
    base="$(find_python)"
    echo "Making .venv with $("$base" --version)"
    "$base" -m venv .venv || {
        rm -rf .venv
        fail "this Python cannot make a virtual environment." \
            "On Debian and Ubuntu, install the package python3-venv and run the command again."
    }
}

# Complete locks: nothing is left for pip to resolve, and nothing but what is listed can come.
install_lock() {
    "$python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r "requirements/$1.txt"
}

# The processor-only build where one is at hand. An accelerator build does not import without the libraries it names,
# so those come only when it turns out that they are needed.
install_torch() {
    "$python" -m pip install -qq --disable-pip-version-check --no-deps -r requirements/torch.txt
    if ! "$python" -c 'import torch' 2>/dev/null; then
        echo "This torch build needs accelerator libraries to start; installing them (large)"
        "$python" -m pip install -qq --disable-pip-version-check -r requirements/torch.txt
    fi
}

if [ -x "$python" ] && ! is_suitable "$python"; then
    fail ".venv holds a Python older than 3.11, or a broken one." "Remove the folder .venv and run the command again."
fi
[ -x "$python" ] || make_venv

echo "Installing what '$purpose' needs"
install_lock "$purpose"
case "$purpose" in test | setup) install_torch ;; esac
"$python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch ".venv/.ready-$purpose"
