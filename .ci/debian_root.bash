# The other Debian of `./dev matrix`: a bare root with its own compiler, libraries and servers.
# Sourced by ./dev. What concerns hosts (mirror, keys, proxies) comes from this machine's apt.

readonly other_debian=trixie
readonly cache_dir=${MATRIX_CACHE:-${XDG_CACHE_HOME:-~/.cache}/soundhash-db}
readonly debian13_root=$cache_dir/debian13

# Ends with this shell, even if that is killed.
bound_to_us() { setpriv --pdeathsig KILL "$@"; }

# Runs a command as process 1 of namespaces of its own: whatever it mounts or starts is gone when
# it ends, however it ends. So nothing is ever mounted where somebody could `rm` it.
in_namespaces() { bound_to_us unshare --mount --ipc --pid --kill-child "$@"; }

# One line for each of apt's sources of this Debian: RELEASE URI FILE:NUMBER
debian_sources() {
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(RELEASE) $(REPO_URI) $(SOURCESENTRY)' \
    'Created-By: Packages' 'Component: main' |
    sort -u | grep -E "^$codename(-updates|-security)? " ||
    die "apt has no source of the release '$codename', from which to take the mirror"
}

# The keyring that apt checks the source FILE:NUMBER with: a paragraph, or a line of the old form.
keyring_of() {
  local file=${1%:*} number=${1##*:} separator='\n' named
  [[ $file != *.sources ]] || separator=
  named=$(awk -v RS="$separator" -v n="$number" 'NR == n' "$file" |
    sed -nE 's/.*[Ss]igned-[Bb]y[:=] *(\/[^] ]+\.gpg).*/\1/p')
  echo "${named:-/usr/share/keyrings/debian-archive-keyring.gpg}"
}

# debootstrap downloads with wget, which reads these variables.
use_proxies_of_apt() {
  local found
  found=$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)
  set -a
  eval "$found"
  set +a
}

make_root() {
  local sources release uri entry log=$debian13_root.log
  sources=$(debian_sources)
  read -r release uri entry < <(grep -vE '^[^ ]+-(updates|security) ' <<<"$sources")
  say "making $debian13_root ($other_debian) from $uri"
  rm -rf --one-file-system "$debian13_root.new"
  (
    use_proxies_of_apt
    in_namespaces debootstrap --variant=minbase --keyring="$(keyring_of "$entry")" \
      "$other_debian" "$debian13_root.new" "$uri" >"$log" 2>&1
  ) || die "debootstrap failed: $(tail -n 1 "$log"); all it said is in $log"
  mv "$debian13_root.new" "$debian13_root"
}

# Each time, since the machine's settings may have changed since.
give_settings_of_host() {
  local sources release uri entry file
  sources=$(debian_sources)
  while read -r release uri entry; do
    install -D -m 644 "$(keyring_of "$entry")" "$debian13_root/etc/apt/keyrings/$release.gpg"
    echo "deb [signed-by=/etc/apt/keyrings/$release.gpg] $uri $other_debian${release#"${release%%-*}"} main"
  done <<<"$sources" >"$debian13_root/etc/apt/sources.list"
  (umask 077 && apt-config dump Acquire >"$debian13_root/etc/apt/apt.conf.d/00host")
  for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [[ ! -e $file ]] || install -D -m 644 "$file" "$debian13_root$file"
  done
}

# Files that git tracks or would track, as they are now; no build tree goes along.
copy_checkout() {
  local target=$1 file
  rm -rf --one-file-system "$target"
  mkdir -p "$target"
  git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=- | tar --extract --no-same-owner --directory="$target"
}

# Sets `passed_on` to what the root may know of this environment.
pass_on() {
  local name
  passed_on=()
  for name in "$@"; do
    [[ -z ${!name:-} ]] || passed_on+=("$name=${!name}")
  done
}

# Runs ./dev with these arguments there.
dev_in_debian13() {
  [[ $EUID -eq 0 ]] || die "debootstrap and chroot need root: sudo ./dev matrix debian13"
  require_packages debootstrap git
  mkdir -p "$cache_dir"
  exec {lock}>"$debian13_root.lock"
  flock --nonblock "$lock" || die "$debian13_root is in use by another run"
  [[ -e $debian13_root ]] || make_root
  give_settings_of_host
  # No file of an installation has the name of this place, which the package tests search for.
  copy_checkout "$debian13_root/checkout"
  pass_on CI TERM http_proxy https_proxy no_proxy
  say "in $debian13_root: ./dev $*"
  in_namespaces "$BASH" .ci/in_root "$debian13_root" env -i HOME=/root PATH=/usr/sbin:/usr/bin \
    JOBS="$jobs" "${passed_on[@]}" ./dev "$@"
}
