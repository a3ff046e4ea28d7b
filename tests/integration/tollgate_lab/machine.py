"""Commands on a machine with an /etc of its own, in a mount namespace that goes with them."""

# The files lie over the host's /etc; nothing is written to it.
_SCRIPT = """set -e
files=$1 mount=$1.mount
shift
mkdir -p "$mount"
mount -t tmpfs tmpfs "$mount"
mkdir "$mount/upper" "$mount/work"
cp -r "$files/." "$mount/upper"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$mount/upper,workdir=$mount/work" /etc
exec "$@"
"""


class Machine:
    """Its /etc is the host's with these files: path below /etc → text."""

    def __init__(self, folder, files):
        self.folder = folder
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def running(self, *command):
        return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(self.folder), *command]
