#!/usr/bin/env bash
# Installs edgecrack as a service from this checkout: user, environment, settings, folders and unit.
# It keeps what is already correct, so it can be run again, also after an update. See docs/runtime.md,
# "As a service".
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: sudo deploy/install.sh [options]

  --extras LIST    extras of the package (record,serve)
  --python PATH    the Python to use; on aarch64 the system's, for its OpenCV and TensorRT
  --root DIR       install below DIR instead of /, e.g. for a disk image; needs no root
  --dry-run        print the commands without running them
  --remove         uninstall; keeps results and edited settings
  -h, --help       this text

Exit codes: 0 success; 2 option; 6 path cannot be written; 7 something is missing.
TEXT
}

say() { printf '==> %s\n' "$*"; }
warn() { printf 'install.sh: warning: %s\n' "$*" >&2; }
die() { # EXIT_CODE TEXT
    printf 'install.sh: %s\n' "$2" >&2
    exit "$1"
}
run() { # COMMAND ...: run it, or print it with --dry-run
    if [ "$dry_run" = yes ]; then
        printf '  would run:'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname -- "$here")
root='' python='' extras='record,serve' dry_run=no remove=no
while [ $# -gt 0 ]; do
    case $1 in
        --extras | --python | --root)
            if [ $# -lt 2 ] || [ -z "$2" ]; then die 2 "$1 needs a value; see --help"; fi
            case $1 in
                --extras) extras=$2 ;;
                --python) python=$2 ;;
                --root) root=${2%/} ;;
            esac
            shift
            ;;
        --dry-run) dry_run=yes ;;
        --remove) remove=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die 2 "there is no option '$1'; see --help" ;;
    esac
    shift
done
case $extras in
    *[!a-z,]*) die 2 "--extras is '$extras'; give names separated by commas, such as record,serve" ;;
esac
if [ -n "$root" ]; then
    [ -d "$root" ] || die 6 "--root $root is not a folder; create it first"
    root=$(cd -- "$root" && pwd)
fi

user=edgecrack
venv=$root/opt/edgecrack
settings_folder=$root/etc/edgecrack
settings=$settings_folder/edgecrack.env
state=$root/var/lib/edgecrack
unit=$root/etc/systemd/system/edgecrack.service
mark=$venv/.made-by-edgecrack-install

is_root() { [ "$(id -u)" -eq 0 ]; }
is_jetpack() { [ -e "$root/etc/nv_tegra_release" ]; }
systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
id_of() { # FILE NAME: its number in the system or below --root, or nothing
    if [ -n "$root" ]; then
        [ ! -r "$root/etc/$1" ] || sed -n "s/^$2:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/$1"
    else
        getent "$1" "$2" | cut -d: -f3 || true
    fi
}
prefixed() { # COMMAND ...: run it for the tree below --root
    local command=$1
    shift
    if [ -n "$root" ]; then run "$command" --prefix "$root" "$@"; else run "$command" "$@"; fi
}

is_ours() { [ -f "$mark" ] || { [ -f "$venv/pyvenv.cfg" ] && [ -x "$venv/bin/edgecrack" ]; }; }

# On aarch64, OpenCV comes with the system, and on JetPack also TensorRT: the environment must not hide
# them.
sees_system() { [ "$(uname -m)" = aarch64 ]; }
venv_fits() {
    local wanted=false
    if sees_system; then wanted=true; fi
    "$venv/bin/python" -c '' 2>/dev/null &&
        grep -q "^include-system-site-packages *= *$wanted\$" "$venv/pyvenv.cfg"
}

add_user() {
    local groups=video
    if [ -n "$(id_of passwd "$user")" ]; then
        say "user $user: exists"
        return
    fi
    if ! is_root || { [ -n "$root" ] && [ ! -f "$root/etc/passwd" ]; }; then
        warn "the user $user is not created: this needs root and an /etc/passwd"
        return
    fi
    # JetPack opens its GPU to these two groups; not every system has the second.
    if [ -n "$(id_of group render)" ]; then groups=video,render; fi
    if [ -z "$(id_of group video)" ]; then
        warn "the group video does not exist: give $user access to the camera by hand"
        groups=
    fi
    say "user $user${groups:+, in $groups}"
    prefixed useradd --system --user-group ${groups:+--groups "$groups"} --no-create-home \
        --home-dir /var/lib/edgecrack --shell /usr/sbin/nologin "$user"
}

make_environment() {
    local chosen options=()
    if [ -e "$venv" ] && ! is_ours && [ -n "$(ls -A "$venv")" ]; then
        die 6 "$venv contains something else; move it away"
    fi
    if sees_system; then options=(--system-site-packages); fi
    if venv_fits; then
        say "environment $venv: exists and is suitable"
    else
        chosen=$("$checkout/tools/find-python" "${python:-$(default_python)}") || exit 7
        say "environment $venv, with $chosen ${options[*]:-(closed)}"
        run mkdir -p "$(dirname -- "$venv")"
        run "$chosen" -m venv --clear "${options[@]}" "$venv"
        run touch "$mark"
    fi
    if [ "$(uname -m)" = x86_64 ]; then extras=$extras,cpu; fi
    say "packages: edgecrack[$extras]"
    run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -c "$checkout/constraints.txt" "${checkout}[$extras]"
    if is_jetpack; then
        # constraints.txt has the newest version that JetPack's driver supports.
        run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            -c "$checkout/constraints.txt" cuda-python
    fi
    if [ "$dry_run" = no ]; then check_environment; fi
}

default_python() { # the one for the system's OpenCV and TensorRT
    if sees_system; then echo /usr/bin/python3; fi
}

check_environment() {
    local opencv='pip install opencv-python-headless'
    if is_jetpack; then
        opencv='sudo apt-get install nvidia-opencv'
    elif sees_system; then
        opencv='sudo apt-get install python3-opencv'
    fi
    "$venv/bin/python" -c 'import cv2' ||
        die 7 "OpenCV cannot be loaded in $venv; run: $opencv; then run this again"
    if is_jetpack && ! "$venv/bin/python" -c 'import tensorrt'; then
        warn "TensorRT cannot be loaded in $venv, so engines do not run: sudo apt-get install python3-libnvinfer"
    fi
}

install_files() {
    local ids
    say "settings $settings"
    run mkdir -p "$settings_folder" "$(dirname -- "$unit")"
    if [ -e "$settings" ]; then
        echo "    unchanged"
    else
        run install -m 600 "$here/edgecrack.env" "$settings"
    fi
    say "results $state"
    run mkdir -p "$state"
    ids="$(id_of passwd "$user")"
    if is_root && [ -n "$ids" ]; then run chown "$ids:$(id_of group "$user")" "$state"; fi
    say "unit $unit"
    if cmp -s "$here/edgecrack.service" "$unit"; then
        echo "    exists"
    else
        run install -m 644 "$here/edgecrack.service" "$unit"
    fi
    if systemd_runs; then
        run systemctl daemon-reload
        run systemctl try-restart edgecrack
    fi
}

remove_all() {
    if systemd_runs && [ -e "$unit" ]; then run systemctl disable --now edgecrack; fi
    say "unit $unit"
    run rm -f "$unit" "$root/etc/systemd/system/multi-user.target.wants/edgecrack.service"
    if systemd_runs; then run systemctl daemon-reload; fi
    say "environment $venv"
    if [ ! -e "$venv" ]; then
        echo "    does not exist"
    elif is_ours; then
        run rm -rf "$venv"
    else
        warn "$venv contains something else and is kept"
    fi
    say "settings $settings"
    if cmp -s "$here/edgecrack.env" "$settings"; then
        run rm -f "$settings"
    elif [ -e "$settings" ]; then
        echo "    edited, so kept"
    fi
    [ ! -d "$settings_folder" ] || run rmdir --ignore-fail-on-non-empty "$settings_folder"
    say "results $state"
    if [ -d "$state" ] && [ -n "$(ls -A "$state")" ]; then
        echo "    kept, with their owner $user"
        return
    fi
    [ ! -d "$state" ] || run rmdir "$state"
    if is_root && [ -n "$(id_of passwd "$user")" ]; then
        say "user $user"
        prefixed userdel "$user"
        # /etc/login.defs decides whether this also removes the group.
        if [ -n "$(id_of group "$user")" ]; then prefixed groupdel "$user"; fi
    fi
}

if [ -z "$root" ] && [ "$dry_run" = no ]; then
    is_root || die 6 "this needs root: run it with sudo, or use --dry-run or --root DIR"
fi
if [ "$remove" = yes ]; then
    remove_all
    exit 0
fi
add_user
make_environment
install_files
if [ "$dry_run" = yes ]; then
    say "nothing was changed"
    exit 0
fi
say "done. Next:"
cat <<TEXT
    $settings                         edit the source and the options
    sudo -u $user $venv/bin/edgecrack doctor    what is available and what is missing
    sudo systemctl enable --now edgecrack
TEXT
