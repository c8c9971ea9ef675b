#!/bin/sh
# Make .venv-NAME from requirements/NAME.txt, or leave it as it is where nothing changed. For tools
# that the agent and its tests do not need, and whose dependencies would bind those of the agent.
# usage: make_tool_venv.sh ansible|...      (.venv has to be there: its uv installs, in seconds)
set -eu
cd "$(dirname "$0")/.."

name=${1:?usage: make_tool_venv.sh NAME}
lock=requirements/$name.txt
venv=.venv-$name
if [ ! -f "$lock" ]; then
    echo "make_tool_venv: there is no $lock" >&2
    exit 2
fi

# The place counts too: a moved environment has scripts that point to where it was. So does the
# interpreter, which may have been replaced.
now=$({ pwd -P; .venv/bin/python -VV; cat "$lock"; } | cksum)
if "$venv/bin/python" -c '' 2>/dev/null && [ -f "$venv/.made" ] && [ "$(cat "$venv/.made")" = "$now" ]; then
    exit 0
fi

if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
    echo "nanofleet: $venv is no virtual environment; move it away" >&2
    exit 1
fi
rm -rf "$venv"
echo "nanofleet: installing into $venv"
.venv/bin/uv venv --quiet --python .venv/bin/python "$venv"
.venv/bin/uv pip install --quiet --python "$venv/bin/python" --require-hashes --only-binary :all: -r "$lock"
echo "$now" >"$venv/.made"
