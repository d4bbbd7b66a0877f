# What the scripts share; sourced at the checkout's root. shellcheck shell=bash
lab=$PWD/.lab
mkdir -p "$lab"
# Where a machine forbids Python to keep what it has compiled, every ansible-playbook would compile Ansible anew
unset PYTHONDONTWRITEBYTECODE

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_root() { # need_root TO_DO_WHAT
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "root is needed $1: run this as root, or install sudo."
}
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
  command -v apt-get >/dev/null || die "this needs Debian or Ubuntu (there is no apt-get to install $*)."
  need_root "to install $*"
  say "Installing Debian packages: $*"
  as_root apt-get -qq update >"$lab/apt.log" 2>&1 \
    || die "apt-get update failed, is there a network? See .lab/apt.log."
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@" \
    >>"$lab/apt.log" 2>&1 </dev/null || die "apt-get could not install $*: see .lab/apt.log."
}
