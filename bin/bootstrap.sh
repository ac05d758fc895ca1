#!/bin/sh
# Runs a program of this folder under Debian's Python, which a small fresh machine may lack.
# usage: bootstrap.sh PROGRAM.py [ARGUMENT...]
set -eu
if [ ! -x /usr/bin/python3 ]; then
    echo "install: Python is missing, installing Debian's python3"
    root=""
    [ "$(id -u)" -eq 0 ] || root="sudo"
    $root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get -q -o DPkg::Lock::Timeout=300 update && apt-get -qy --no-install-recommends -o DPkg::Lock::Timeout=300 install python3' \
        </dev/null >/dev/null 2>&1 || {
        echo "install: python3 could not be installed: run this as root or with sudo on Debian 12, with its mirror in reach" >&2
        exit 1
    }
fi
program=$(dirname "$0")/$1
shift
exec /usr/bin/python3 "$program" "$@"
