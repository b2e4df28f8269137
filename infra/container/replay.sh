#!/usr/bin/env bash
# The steps of the Dockerfile without an engine: as root on Linux, from the root of the tree.
#   infra/container/replay.sh FOLDER     an empty or new folder; it needs 8 GB and some minutes
# What the context would hold is copied there, the same install.sh runs, and the result is tried as
# the container would be: user 10001, the root file system read-only but for /tmp, /cache, /dev/shm.
# PYTHON names an interpreter that every user may run (/usr/bin/python3).
set -euo pipefail

folder=$(realpath -m "${1:?a folder}")
export PYTHON=${PYTHON:-/usr/bin/python3}
if [[ -e $folder && -n $(ls -A "$folder") ]]; then
    echo "$folder: is not empty" >&2
    exit 2
fi
mkdir -p "$folder/src" "$folder/opt" "$folder/cache"
chmod 755 "$folder" "$folder/opt"

echo "context"
git ls-files -z pyproject.toml README.md LICENSE schemas pipeline jobs weights infra/container |
    xargs -0 cp --parents -t "$folder/src"
prefix=$folder/opt/noiseloom

cd "$folder/src"
echo "dependencies"
env -i PATH="$PATH" HOME="$folder" PYTHON="$PYTHON" \
    ${PIP_CERT:+SSL_CERT_FILE="$PIP_CERT"} ${PIP_FIND_LINKS:+PIP_FIND_LINKS="$PIP_FIND_LINKS"} \
    infra/container/install.sh dependencies "$prefix"
echo "project"
env -i PATH="$PATH" HOME="$folder" PYTHON="$PYTHON" \
    infra/container/install.sh project "$prefix"
cp infra/container/healthcheck "$prefix/bin/healthcheck"
mkdir -p "$folder/srv/noiseloom"
cp -r weights "$folder/srv/noiseloom/weights"

echo "user 10001, read-only"
export prefix folder
# shellcheck disable=SC2016 # expanded inside
unshare --mount --fork bash -euo pipefail -c '
    mount --make-rprivate /
    root=$(mktemp -d)
    mount --rbind / "$root"
    mount -o remount,bind,ro "$root"
    # The folder itself is seen where it is, for /tmp is new.
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
    mount -t tmpfs -o mode=0755,uid=10001,gid=10001 tmpfs "$root$folder/cache"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
        env -i PATH="$prefix/bin:/usr/bin:/bin" HOME=/tmp RAY_TMPDIR=/tmp \
            XDG_CACHE_HOME="$folder/cache" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
            WEIGHTS="$folder/srv/noiseloom/weights" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
        bash "$folder/src/infra/container/try.sh"
'
