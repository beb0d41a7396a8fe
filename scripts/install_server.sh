#!/bin/sh
# Installs the command lucyd without napari and Qt into a virtual environment:
#     scripts/install_server.sh FOLDER
# TORCH_INDEX is a package index with another torch than PyPI's, such as https://download.pytorch.org/whl/cpu.
# PYTHON is the interpreter, 3.11 or newer. The Dockerfile runs this script, too.
set -eu
folder=${1:?"the folder of the virtual environment is missing: scripts/install_server.sh FOLDER"}
source=$(cd "$(dirname "$0")/.." && pwd)

"${PYTHON:-python3}" -m venv "$folder"
install() { "$folder/bin/python" -m pip install --disable-pip-version-check -c "$source/constraints.txt" "$@"; }
"$folder/bin/python" "$source/scripts/server_requirements.py" > "$folder/requirements.txt"
# If two builds of torch have the same number, pip takes the one with a label, such as +cpu.
install -r "$folder/requirements.txt" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
# Without the other dependencies, which are those of the window.
install --no-deps "$source"
"$folder/bin/lucyd" --version
