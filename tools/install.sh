#!/bin/sh
# Creates the environment and installs the package with its pinned versions: install.sh PYTHON VENV EXTRAS
set -eu
python=$1
venv=$2
extras=$3

begin=$(date +%s)
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "headstart needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Try: make study PYTHON=python3.12" >&2
    exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

# A machine with an NVIDIA driver takes the plain build; else the CPU build, whose wheel is ten times smaller.
pinned=constraints-cpu.txt
if command -v nvidia-smi >/dev/null 2>&1; then
    pinned=constraints-gpu.txt
elif ! "$venv/bin/python" -m pip install --quiet --dry-run --no-deps -c constraints-cpu.txt torch >/dev/null 2>&1; then
    echo "the CPU build of torch is not to be had here; installing the plain build" >&2
    pinned=constraints-gpu.txt
fi
echo "installing headstart[$extras] and what it needs into $venv ($pinned)"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check -c "$pinned" --editable ".[$extras]"
echo "installed in $(($(date +%s) - begin)) s"
