#!/bin/sh
# Creates the environment of the benchmarks' peers from pinned versions: install.sh PYTHON VENV
set -eu
python=$1
venv=$2
pinned=$(dirname "$0")/requirements.txt

begin=$(date +%s)
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check"

echo "installing the benchmarks' peers into $venv"
# Looked at before it comes: with any other torch than the CPU build, gigabytes of CUDA packages would follow.
plan=$($pip install --dry-run --requirement "$pinned") || {
    echo "benchmarks/requirements.txt cannot be had here in full (see above); it needs the CPU build of torch" >&2
    exit 2
}
if printf '%s\n' "$plan" | grep '^Would install' | grep -qi 'nvidia\|cuda'; then
    echo "these versions would bring NVIDIA's packages; nothing was installed" >&2
    exit 2
fi
$pip install --quiet --requirement "$pinned"
echo "installed in $(($(date +%s) - begin)) s"
