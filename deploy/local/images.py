"""The product's two images, really built: by buildah, without a daemon and without a registry.

Their base images come from a registry, which a test machine may not reach. Stand-ins under the same tags take their
place: Debian by debootstrap, with its own Python or with Odoo's source and the libraries that Debian packages. They are
made once, in the user's cache (about 2 GB).
"""

import ast
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .odoo_source import OdooSource
from .os_packages import Missing
from .paths import CACHE, ROOT, STATE
from .say import run_logged, step
from .stack import ADDON
from .supervision import own_environment

DOCKERFILES = {"miasalud-bridge": "deploy/Dockerfile", "miasalud-odoo": "deploy/odoo.Dockerfile"}
FOLDER = CACHE / "images"
_MIRROR = "http://deb.debian.org/debian"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
#: Where Debian keeps Python packages, and Odoo's own package puts it.
_PACKAGES = "usr/lib/python3/dist-packages"
_FOR_PYTHON = ["ca-certificates", "python3", "python3-venv"]
#: What Odoo 18's own package depends on, as far as this product comes by it, and what its image adds.
_FOR_ODOO = [
    "python3-asn1crypto", "python3-babel", "python3-chardet", "python3-dateutil", "python3-decorator",
    "python3-docutils", "python3-freezegun", "python3-geoip2", "python3-gevent", "python3-greenlet", "python3-jinja2",
    "python3-libsass", "python3-lxml", "python3-magic", "python3-num2words", "python3-ofxparse", "python3-openssl",
    "python3-passlib", "python3-pil", "python3-polib", "python3-psutil", "python3-psycopg2", "python3-pydot",
    "python3-pypdf2", "python3-qrcode", "python3-reportlab", "python3-requests", "python3-rjsmin", "python3-setuptools",
    "python3-stdnum", "python3-tz", "python3-urllib3", "python3-vobject", "python3-werkzeug", "python3-xlrd",
    "python3-xlsxwriter", "python3-xlwt", "python3-zeep", "python3-pip", "curl", "adduser",
]  # fmt: skip


def buildah(*arguments: str | Path) -> list[str]:
    """The command line of buildah, with a storage of its own and without the rights that a container engine has."""
    storage = ["--root", FOLDER / "storage", "--runroot", FOLDER / "run", "--storage-driver", "vfs"]
    return [str(word) for word in ("buildah", *storage, *arguments)]


def build(odoo: OdooSource) -> None:
    """Both images of this checkout, and their stand-ins if they are not there yet.

    :raises Missing: naming what this machine lacks
    """
    for tool in ("buildah", "debootstrap"):
        if not shutil.which(tool):
            raise Missing(f"Missing: {tool}, which makes the images. On Debian or Ubuntu: apt-get install {tool}")
    if os.geteuid() != 0:
        raise Missing("debootstrap needs root: run `make test-images` as root.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, base = _base_image("deploy/Dockerfile", "PYTHON"), _base_image("deploy/odoo.Dockerfile", "ODOO")
    if not _is_there(python):
        with step(f"Making a stand-in of {python} (once)"):
            _make_python(python)
    if not _is_there(base):
        with step(f"Making a stand-in of {base} (once)"):
            _make_odoo(base, odoo)
    for image, file in DOCKERFILES.items():
        with step(f"Building {image}"):
            command = buildah("bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--file", file)
            run_logged([*command, "--tag", image, "."], STATE / "log" / f"{image}.log", cwd=ROOT)
    # What the images before were named for.
    subprocess.run(buildah("rmi", "--prune"), capture_output=True)


def size(image: str) -> str:
    """The size of the image on disk, as buildah prints it."""
    return _output("images", "--format", "{{.Size}}", image).strip()


def _base_image(file: str, name: str) -> str:
    found = re.search(rf"^ARG {name}_IMAGE=(\S+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert found, file
    return found[1]


def _is_there(image: str) -> bool:
    return subprocess.run(buildah("inspect", "--type", "image", image), capture_output=True).returncode == 0


def _output(*arguments: str) -> str:
    return subprocess.run(buildah(*arguments), capture_output=True, text=True, check=True).stdout


def _make_python(image: str) -> None:
    with _debian("trixie", _FOR_PYTHON) as root:
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        _commit(root, image)


def _make_odoo(image: str, odoo: OdooSource) -> None:
    with _debian("bookworm", ["ca-certificates"]) as root:
        log = STATE / "log" / "stand-in-odoo.log"
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        apt = ["chroot", root, "apt-get"]
        run_logged([*apt, "install", "-y", "--no-install-recommends", *_FOR_ODOO], log, env={**os.environ, **quiet})
        run_logged([*apt, "clean"], log)
        _trust_this_machines_certificates(root)
        target = root / _PACKAGES / "odoo"
        without = shutil.ignore_patterns("__pycache__", "*.po")
        shutil.copytree(odoo.root / "odoo", target, ignore=without)
        for module in _needed_modules(odoo):
            if not (target / "addons" / module).exists():
                shutil.copytree(odoo.root / "addons" / module, target / "addons" / module, ignore=without)
        program = (odoo.root / "odoo-bin").read_text().split("\n", 1)[1]
        (root / "usr/bin/odoo").write_text(f"#!/usr/bin/python3\n{program}")
        (root / "usr/bin/odoo").chmod(0o755)
        run_logged(["chroot", root, "useradd", "--system", "--home-dir", "/var/lib/odoo", "--create-home", "odoo"], log)
        (root / "etc/odoo").mkdir()
        (root / "mnt/extra-addons").mkdir()
        volumes = ["--volume", "/var/lib/odoo", "--volume", "/mnt/extra-addons"]
        _commit(root, image, *volumes, "--user", "odoo", "--entrypoint", '["/entrypoint.sh"]', "--cmd", "odoo")


def _needed_modules(odoo: OdooSource) -> set[str]:
    """The modules that the addon depends on, and that those depend on."""
    needed: set[str] = set()
    waiting = [ADDON]
    while waiting:
        name = waiting.pop()
        places = (ROOT / name, odoo.root / "addons" / name, odoo.root / "odoo" / "addons" / name)
        manifest = next(place / "__manifest__.py" for place in places if (place / "__manifest__.py").exists())
        new = set(ast.literal_eval(manifest.read_text()).get("depends", [])) - needed
        needed |= new
        waiting += new
    return needed


@contextmanager
def _debian(suite: str, packages: Sequence[str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{suite}-", dir=FOLDER) as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, root, _MIRROR]
        run_logged(command, STATE / "log" / f"debootstrap-{suite}.log")
        _trust_this_machines_certificates(root)
        for archive in (root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        yield root


def _trust_this_machines_certificates(root: Path) -> None:
    """As pip outside of the image does: a company's proxy may have a certificate of its own."""
    if Path("/", _CERTIFICATES).exists():
        shutil.copy(Path("/", _CERTIFICATES), root / _CERTIFICATES)
        (root / "etc/pip.conf").write_text(f"[global]\ncert = /{_CERTIFICATES}\n")


def _commit(root: Path, image: str, *configuration: str) -> None:
    container = _output("from", "scratch").strip()
    _output("add", "--quiet", container, str(root), "/")
    _output("config", *configuration, container)
    # Under its full name, as a Dockerfile's FROM means it.
    _output("commit", "--quiet", "--rm", container, f"docker.io/library/{image}")


@dataclass
class Container:
    """A working copy of an image, in which commands run as the image's user, in the network of this machine."""

    name: str
    #: Folder of the machine → folder in the container.
    volumes: Mapping[Path, str] = field(default_factory=dict)

    def command(self, *words: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs ``words`` in it, in place of the entry point."""
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        mounts = [f"--volume={outside}:{inside}" for outside, inside in self.volumes.items()]
        return buildah("run", "--isolation", "chroot", *variables, *mounts, self.name, "--", *words)

    def run(
        self, *words: str, environment: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        command = self.command(*words, environment=environment)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=own_environment(), timeout=600)

    def start(self, log: Path, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a command, with its output in ``log``."""
        command = self.command(*words, environment=environment)
        with log.open("wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=own_environment())


@contextmanager
def container(image: str, volumes: Mapping[Path, str]) -> Iterator[Container]:
    """A container of the image, for as long as the block lasts."""
    name = _output("from", "--pull-never", f"localhost/{image}").strip()
    try:
        yield Container(name, volumes)
    finally:
        _output("rm", name)
