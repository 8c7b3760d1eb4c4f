#!/usr/bin/env bash
# Writes requirements/*.txt anew from pyproject.toml: versions and hashes for Python 3.11 and later on every platform.
# setup.txt is resolved first and constrains the rest, so that one version of each package serves every environment.
# Needs uv. An index of your own goes in the environment (UV_DEFAULT_INDEX), never into these files.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-uv}"

lock() {
    local out="$1"
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --excludes requirements/without-torch.in --custom-compile-command scripts/lock.sh \
        "$@" pyproject.toml requirements/build.in --output-file "requirements/$out.txt"
}

lock setup --all-extras requirements/torch-parts.in ${UPGRADE:+--upgrade}
within=(--constraints requirements/setup.txt)
lock base "${within[@]}"
lock demo "${within[@]}" --extra demo
lock check "${within[@]}" --extra dev
lock test "${within[@]}" --extra demo --extra test --extra parquet --extra raw requirements/torch-parts.in
