"""The compose stack under test: starting it, asking it, hurting it."""

import json
import os
import pathlib
import ssl
import subprocess
import tempfile
import time

from load import Connection, Failed

TOP = pathlib.Path(__file__).resolve().parents[2]

# Another project, other ports: a stack that somebody runs from this folder goes on.
PROJECT = "portico-test"
TRAFFIC = ("127.0.0.1", 18080)
ADMIN = ("127.0.0.1", 17080)


class Wrong(Exception):
    """Something is not as it must be."""


def expect(condition, text):
    if not condition:
        raise Wrong(text)


def wait(what, seconds, condition):
    """Waits until a condition holds, and returns what it yields; returns too how long that took."""
    began = time.monotonic()
    while True:
        found = condition()
        lasted = time.monotonic() - began
        if found:
            return found, lasted
        expect(lasted < seconds, f"{what}: not within {seconds} s")
        time.sleep(0.02)


def run(*command, check=True, quiet=True, timeout=120, **options):
    """Runs a program; returns what it printed."""
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, text=True, timeout=timeout, **options)
    expect(not check or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout or ''}")
    return (done.stdout or "").strip()


def find_compose():
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            version = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if version.returncode == 0:
            return command, version.stdout.strip()
    raise Wrong("neither `docker compose` nor `docker-compose` is here")


class Stack:
    def __init__(self):
        self.command, self.version = find_compose()
        self.trust = None
        # Those of nodes, which Compose leaves behind when it scales down.
        self.volumes = set()
        self.environment = dict(
            os.environ,
            DOCKER_BUILDKIT=os.environ.get("DOCKER_BUILDKIT", "0"),
            PORTICO_TRAFFIC="%s:%d" % TRAFFIC,
            PORTICO_ADMIN="%s:%d" % ADMIN,
        )

    # === the containers ===

    def compose(self, *arguments, **options):
        command = [*self.command, "--project-name", PROJECT, *arguments]
        return run(*command, cwd=TOP, env=self.environment, **options)

    def containers(self, service):
        """The running containers of a service, oldest first."""
        found = run("docker", "ps", "--quiet", "--no-trunc", *self.labels(service)).split()
        return found[::-1]

    def scale(self, count):
        """Has Compose run that many nodes."""
        for node in self.containers("node"):
            self.volumes |= {mount["Name"] for mount in self.inspect(node)["Mounts"] if mount["Type"] == "volume"}
        self.compose("up", "-d", "--no-build", "--no-recreate", "--scale", f"node={count}", "node", timeout=180)

    def down(self):
        """Takes all down; returns the containers and volumes that are left."""
        self.compose("down", "--volumes", "--timeout", "45", check=False, timeout=300)
        run("docker", "volume", "rm", "--force", *self.volumes, check=False)
        containers = run("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
        volumes = set(run("docker", "volume", "ls", "--quiet").split())
        return containers.split(), self.volumes & volumes

    def labels(self, service):
        names = {"project": PROJECT, "service": service}
        return [word for name, value in names.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")]

    def inspect(self, container):
        return json.loads(run("docker", "inspect", container))[0]

    def healthy(self, service, count):
        """Whether a service has that many containers, all of them healthy."""
        states = [self.inspect(container)["State"] for container in self.containers(service)]
        return len(states) == count and all(state["Health"]["Status"] == "healthy" for state in states)

    def wait_healthy(self, service, count, seconds=90):
        _, lasted = wait(f"{count} × {service} healthy", seconds, lambda: self.healthy(service, count))
        return lasted

    def gateways(self):
        """The addresses from which this machine's programs reach the edge."""
        networks = self.inspect(self.containers("edge")[0])["NetworkSettings"]["Networks"]
        return {network["Gateway"] for network in networks.values()}

    # === the admin API ===

    def trusted(self):
        """The authority that the control planes made."""
        if self.trust is None:
            with tempfile.TemporaryDirectory() as folder:
                run("docker", "cp", f"{self.containers('control-plane')[0]}:/var/lib/portico-ca/ca.pem", folder)
                self.trust = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        return self.trust

    def admin(self, method, path, body=None):
        token = (TOP / "deploy/secrets/admin-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = Connection(ADMIN, self.trusted())
        try:
            status, _, content = connection.send(method, path, json.dumps(body) if body is not None else None, headers)
        finally:
            connection.close()
        return status, json.loads(content or b"null")

    def write(self, name, text):
        """Writes a route that the gateway answers itself, and returns when every live node runs it."""
        route = {"match": {"path": {"exact": f"/{name}"}}, "respond": {"body": text}}
        status, answer = self.admin("PUT", f"/v1/routes/{name}?wait=all&timeout=5s", route)
        expect(status in (200, 201), f"the write of {name} was answered {status}: {answer}")

    def writes(self, name, text):
        """Whether such a write goes through."""
        try:
            self.write(name, text)
        except (Wrong, Failed, OSError, ValueError):
            return False
        return True

    def get(self, path, headers=()):
        connection = Connection(TRAFFIC)
        try:
            return connection.send("GET", path, headers=headers)
        finally:
            connection.close()
