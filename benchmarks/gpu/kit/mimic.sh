#!/usr/bin/env bash
# A virtual environment like that machine's, without a GPU: what runs here runs there. bash mimic.sh FOLDER; then PATH=FOLDER/bin:$PATH bash .gpu/go.sh ...
set -euo pipefail
${PYTHON:-python3.12} -m venv "$1"
"$1"/bin/python -m pip install -q torch==2.11.0 torchvision==0.26.0 numpy==2.5.2 pandas scipy scikit-learn numba joblib matplotlib \
  tqdm filelock lazy-loader requests safetensors==0.8.0 pytest pytest-xdist hypothesis jinja2 psutil packaging pyyaml click rich typer \
  httpx attrs aiohttp python-dateutil pygments typing-extensions portalocker
