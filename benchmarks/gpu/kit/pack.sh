#!/usr/bin/env bash
# In the project's root: make .gpu, which has all that a bare machine with a GPU (Python 3.12, torch 2.11, no network) lacks.
# pack.sh [AUTHOR_STACK]: a folder with the author's exports and clips, if you have it.
set -euo pipefail
kit=$(cd "$(dirname "$0")" && pwd)
mkdir -p .gpu/whl
cp "$kit"/go.sh "$kit"/profile_step.py "$kit"/authors.py .gpu/
[ -z "${1:-}" ] || cp -r "$1" .gpu/author-stack
platforms=$(printf -- '--platform manylinux_%s_x86_64 ' 2_34 2_28 2_27 2_26 2_17)
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $platforms \
  --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .gpu/whl -r "$kit/wheels.txt"
find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
echo "$(ls .gpu/whl | wc -l) wheels, $(du -sm .gpu | cut -f1) MiB to carry"
