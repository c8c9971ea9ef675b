#!/bin/sh
# Make .venv, or leave it as it is where nothing changed.
# usage: make_venv.sh demo|dev      (PYTHON=/path/to/python chooses the interpreter)
set -eu
cd "$(dirname "$0")/.."

level=${1:?usage: make_venv.sh demo|dev}
venv=.venv

# --- which Python -------------------------------------------------------------------------------

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

python=
without_venv=
for name in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3.14 python3; do
    new_enough "$name" || continue
    if can_make_venv "$name"; then
        python=$name
        break
    fi
    : "${without_venv:=$name}"
done

if [ -z "$python" ]; then
    if [ -n "$without_venv" ]; then
        version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "nanofleet: $without_venv has no venv and ensurepip. On Debian or Ubuntu:" >&2
        echo "    sudo apt-get install python$version-venv" >&2
    else
        echo "nanofleet: no Python 3.11 or newer found. On Debian 12+ or Ubuntu 24.04+:" >&2
        echo "    sudo apt-get install python3 python3-venv" >&2
        echo "Elsewhere: make PYTHON=/path/to/python3.11 ..." >&2
    fi
    exit 1
fi

# --- what is there already ----------------------------------------------------------------------

# The place counts too: a moved .venv has scripts that point to where it was.
fingerprint() {
    { pwd -P; cat "$@"; } | cksum
}

demo_now=$(fingerprint requirements/build.txt requirements/demo.txt)
dev_now=$(fingerprint requirements/build.txt requirements/dev.txt)
project_now=$(fingerprint pyproject.toml)

same() { # is $venv/$1 there, and does it hold $2
    [ -f "$venv/$1" ] && [ "$(cat "$venv/$1")" = "$2" ]
}

packages_there() {
    "$venv/bin/python" -c '' 2>/dev/null || return 1
    case $level in
        demo) same .made-demo "$demo_now" ;;
        dev) same .made-demo "$demo_now" && same .made-dev "$dev_now" ;;
        *) echo "make_venv: $level is neither demo nor dev" >&2; exit 2 ;;
    esac
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@"
}

# --- make it ------------------------------------------------------------------------------------

if ! packages_there; then
    # dev.txt holds all of demo.txt at the same versions, so a .venv for the demo can be added to.
    # Anything else starts anew: pip would leave behind what the locks no longer name.
    if [ "$level" = demo ] || ! same .made-demo "$demo_now" || [ -f "$venv/.made-dev" ]; then
        if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
            echo "nanofleet: $venv is no virtual environment; move it away" >&2
            exit 1
        fi
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    echo "nanofleet: installing into $venv (about a minute)"
    # In two steps, and nothing built in isolation: else pip would fetch build backends that no
    # lock file names.
    pip_install --require-hashes --only-binary :all: -r requirements/build.txt
    pip_install --require-hashes --no-build-isolation --use-pep517 -r "requirements/$level.txt"
    rm -f "$venv/.made-project"
    echo "$demo_now" >"$venv/.made-demo"
    if [ "$level" = dev ]; then
        echo "$dev_now" >"$venv/.made-dev"
    fi
fi

if ! same .made-project "$project_now"; then
    pip_install --no-deps --no-build-isolation -e .
    echo "$project_now" >"$venv/.made-project"
fi
