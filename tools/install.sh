#!/bin/sh
# Creates the environment from a lock, then installs the package alone: install.sh PYTHON VENV study|all
set -eu
python=$1
venv=$2
lock=locks/$3.txt

begin=$(date +%s)
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "headstart needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Try: make study PYTHON=python3.12" >&2
    exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "$@"; }

# A machine with an NVIDIA driver takes the plain build; else the CPU build, whose wheel is ten times smaller.
torch=locks/torch-cpu.txt
if command -v nvidia-smi >/dev/null 2>&1; then
    torch=locks/torch-gpu.txt
elif ! pip --dry-run --no-deps --require-hashes -r locks/torch-cpu.txt >/dev/null 2>&1; then
    echo "the CPU build of torch is not to be had here; installing the plain build" >&2
    torch=locks/torch-gpu.txt
fi
echo "installing $lock, $torch and headstart into $venv"
# The locks hold everything, setuptools too, each file with its SHA-256: nothing is resolved or taken beside them.
pip --no-deps --require-hashes --only-binary :all: -r "$torch" -r "$lock"
pip --no-deps --no-build-isolation --editable .
echo "installed in $(($(date +%s) - begin)) s"
