#!/usr/bin/env bash
# Makes sure that this machine has what a group of make targets needs from the system.
#
#   tools/host_packages.sh GROUP...      GROUP: python build test fuzz
#
# What is missing is installed with apt-get where that is allowed (root, or sudo without a
# password); elsewhere the names are printed and the script exits with status 2.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }
header() { echo "#include <$1>" | c++ -E -x c++ - >/dev/null 2>&1; }
python_header() {
  test -e "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
}

links_fuzzer() {
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -fsanitize=fuzzer -x c++ - -o /dev/null
}

missing=()
need() { # need DEBIAN_PACKAGE CHECK...
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

python=${PYTHON:-python3}
for group in "$@"; do
  case $group in
    python)
      need python3-venv "$python" -c 'import ensurepip'
      ;;
    build)
      need g++ have c++
      need cmake have cmake
      need python3-dev python_header "$python"
      ;;
    test)
      need git have git
      need libgtest-dev header gtest/gtest.h
      ;;
    fuzz)
      need clang have clang++
      need libclang-rt-dev links_fuzzer
      ;;
    *)
      echo "$0: unknown group '$group'" >&2
      exit 2
      ;;
  esac
done

if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
if have apt-get && "${as_root[@]}" true 2>/dev/null; then
  echo "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  exit 0
fi

cat >&2 <<MESSAGE
Bireme needs system packages that are not installed: ${missing[*]}
They cannot be installed from here (not root, no password-less sudo, or not a Debian system).
On Debian or Ubuntu:  sudo apt-get install ${missing[*]}
Then run make again.
MESSAGE
exit 2
