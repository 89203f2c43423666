#!/usr/bin/env bash
# Installs edgecrack as a service of a robot, from the checkout that this file lies in: user,
# environment, settings, folders and unit. What is there already and right is kept, so it may be run
# again, after an update too. docs/runtime.md, "As a service", tells the rest.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: sudo deploy/install.sh [options]

  --extras LIST    extras of the package (record,serve)
  --python PATH    the Python to use; on aarch64 the system's, whose OpenCV and TensorRT are used
  --root DIR       install below DIR instead of /, as for a disk image; needs no root
  --dry-run        say what would be done, and do nothing
  --remove         undo; results, and settings that were edited, stay
  -h, --help       this text

Ends with 0, or with 2 for an option, 6 for a place that cannot be written, 7 for what is missing.
TEXT
}

say() { printf '==> %s\n' "$*"; }
warn() { printf 'install.sh: warning: %s\n' "$*" >&2; }
die() { # EXIT_CODE TEXT
    printf 'install.sh: %s\n' "$2" >&2
    exit "$1"
}
run() { # COMMAND ...: run it, or with --dry-run say it
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
    *[!a-z,]*) die 2 "--extras is '$extras'; give names with commas between, as in record,serve" ;;
esac
if [ -n "$root" ]; then
    [ -d "$root" ] || die 6 "--root $root is no folder; make it first"
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
# Of the system, or of the tree below --root.
id_of() { # FILE NAME: its number, or nothing
    if [ -n "$root" ]; then
        [ ! -r "$root/etc/$1" ] || sed -n "s/^$2:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/$1"
    else
        getent "$1" "$2" | cut -d: -f3 || true
    fi
}
# The changes that useradd makes below --root, without a change of root.
prefixed() { # COMMAND ...
    local command=$1
    shift
    if [ -n "$root" ]; then run "$command" --prefix "$root" "$@"; else run "$command" "$@"; fi
}

is_ours() { [ -f "$mark" ] || { [ -f "$venv/pyvenv.cfg" ] && [ -x "$venv/bin/edgecrack" ]; }; }

# On aarch64 OpenCV comes with the system (pip brings none), and on JetPack TensorRT: an environment
# that hides the system's packages has neither.
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
        say "user $user: there already"
        return
    fi
    if ! is_root || { [ -n "$root" ] && [ ! -f "$root/etc/passwd" ]; }; then
        warn "the user $user is not made: this takes root, and an /etc/passwd"
        return
    fi
    # JetPack's GPU is open to these two; the second is not everywhere.
    if [ -n "$(id_of group render)" ]; then groups=video,render; fi
    if [ -z "$(id_of group video)" ]; then
        warn "there is no group video: give $user access to the camera by hand"
        groups=
    fi
    say "user $user${groups:+, in $groups}"
    prefixed useradd --system --user-group ${groups:+--groups "$groups"} --no-create-home \
        --home-dir /var/lib/edgecrack --shell /usr/sbin/nologin "$user"
}

make_environment() {
    local chosen options=()
    if [ -e "$venv" ] && ! is_ours && [ -n "$(ls -A "$venv")" ]; then
        die 6 "$venv holds something else; move it away"
    fi
    if sees_system; then options=(--system-site-packages); fi
    if venv_fits; then
        say "environment $venv: there already, and right"
    else
        chosen=$("$checkout/tools/find-python" "${python:-$(default_python)}") || exit 7
        say "environment $venv, by $chosen ${options[*]:-(closed)}"
        run mkdir -p "$(dirname -- "$venv")"
        run "$chosen" -m venv --clear "${options[@]}" "$venv"
        run touch "$mark"
    fi
    if [ "$(uname -m)" = x86_64 ]; then extras=$extras,cpu; fi
    say "packages: edgecrack[$extras]"
    run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -c "$checkout/constraints.txt" "${checkout}[$extras]"
    if is_jetpack; then
        # The version that JetPack's driver starts is in constraints.txt; a later one cannot be used.
        run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            -c "$checkout/constraints.txt" cuda-python
    fi
    if [ "$dry_run" = no ]; then check_environment; fi
}

default_python() { # the one that the system's OpenCV and TensorRT are for
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
        echo "    kept as they are"
    else
        run install -m 600 "$here/edgecrack.env" "$settings"
    fi
    say "results $state"
    run mkdir -p "$state"
    ids="$(id_of passwd "$user")"
    if is_root && [ -n "$ids" ]; then run chown "$ids:$(id_of group "$user")" "$state"; fi
    say "unit $unit"
    if cmp -s "$here/edgecrack.service" "$unit"; then
        echo "    there already"
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
        echo "    there is none"
    elif is_ours; then
        run rm -rf "$venv"
    else
        warn "$venv holds something else and stays"
    fi
    say "settings $settings"
    if cmp -s "$here/edgecrack.env" "$settings"; then
        run rm -f "$settings"
    elif [ -e "$settings" ]; then
        echo "    were edited and stay"
    fi
    [ ! -d "$settings_folder" ] || run rmdir --ignore-fail-on-non-empty "$settings_folder"
    say "results $state"
    if [ -d "$state" ] && [ -n "$(ls -A "$state")" ]; then
        echo "    stay, and the user $user, who owns them"
        return
    fi
    [ ! -d "$state" ] || run rmdir "$state"
    if is_root && [ -n "$(id_of passwd "$user")" ]; then
        say "user $user"
        prefixed userdel "$user"
        # Its group goes with it where /etc/login.defs says so.
        if [ -n "$(id_of group "$user")" ]; then prefixed groupdel "$user"; fi
    fi
}

if [ -z "$root" ] && [ "$dry_run" = no ]; then
    is_root || die 6 "this takes root: run it with sudo, or try --dry-run or --root DIR"
fi
if [ "$remove" = yes ]; then
    remove_all
    exit 0
fi
add_user
make_environment
install_files
if [ "$dry_run" = yes ]; then
    say "nothing was done"
    exit 0
fi
say "done. Next:"
cat <<TEXT
    $settings                         the source and the options: edit it
    sudo -u $user $venv/bin/edgecrack doctor    what this machine has and lacks
    sudo systemctl enable --now edgecrack
TEXT
