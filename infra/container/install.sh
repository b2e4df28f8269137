#!/bin/sh
# The steps of the Dockerfile that install, so that replay.sh takes the same ones. From the root of the tree:
#   install.sh dependencies PREFIX    an environment with what the lock names, by its hashes
#   install.sh project PREFIX         noiseloom into it
set -eu

step=$1 prefix=$2
tools=$prefix/.tools
python=${PYTHON:-python3}

case $step in
dependencies)
    "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --no-cache-dir --require-hashes -r infra/container/uv.lock
    "$python" -m venv --without-pip "$prefix"
    # Compiled now: later nothing can be written there.
    "$tools/bin/uv" pip sync --quiet --no-cache --compile-bytecode --require-hashes \
        --python "$prefix/bin/python" infra/container/requirements.lock
    ;;
project)
    # setuptools is in the lock: nothing is fetched in this step.
    "$tools/bin/uv" pip install --quiet --no-cache --compile-bytecode --offline --no-deps \
        --no-build-isolation --python "$prefix/bin/python" .
    rm -rf "$tools"
    ;;
*)
    echo "install.sh: $step: dependencies or project" >&2
    exit 2
    ;;
esac
