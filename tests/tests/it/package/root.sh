# Makes a Debian of its own from this machine's mirrors, below the folder $1 and in memory, and prints the process that holds it.
# Boots it where "boot" is read, and prints the process that did. All of it ends with the input.
set -eu
folder=$1
root=$folder/root

mount -t tmpfs -o mode=755,size=3g debian "$folder"
mkdir -m 755 "$root"

# The mirrors that serve Debian itself, and how this machine reaches them: its hooks would call what is not there.
. /etc/os-release
apt-get indextargets --format "deb \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" "Created-By: Packages" |
    { grep -E " $VERSION_CODENAME(-updates|-security)? main\$" || true; } | sort -u >"$folder/sources.list"
[ -s "$folder/sources.list" ] || { echo "APT here knows no mirror of Debian $VERSION_CODENAME" >&2; exit 1; }
apt-config dump | { grep -E '^Acquire::(Check-|ForceIPv|Retries|https?[: ])' || true; } >"$folder/apt.conf"
printf 'APT::Install-Recommends "false";\nDpkg::Use-Pty "0";\n' >>"$folder/apt.conf"
# What a mirror asks for before it serves.
set --
for file in /etc/apt/auth.conf /etc/apt/auth.conf.d; do
    if [ -e "$file" ]; then set -- "$@" --setup-hook="cp -RT $file \"\$1$file\""; fi
done

mmdebstrap --quiet --mode=root --variant=apt --include=systemd,dbus,man-db --skip=cleanup/apt --aptopt="$folder/apt.conf" \
    --dpkgopt=force-unsafe-io "$@" "$VERSION_CODENAME" "$root" "$folder/sources.list" </dev/null >"$folder/log" 2>&1 ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
mount -t proc proc "$root/proc"
echo $$

read -r wish && [ "$wish" = boot ] || exit 0
umount "$root/proc"
# It shares this machine's network: the chain, and who asks the roles, are outside.
systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --console=pipe \
    </dev/null >"$folder/console" 2>&1 &
echo $!
cat >/dev/null
# What it has booted would outlive it.
kill -KILL $(cat /proc/$!/task/$!/children) || true
wait $! || true
