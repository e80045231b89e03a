"""A Culvert gateway in a namespace: writes its YAML, starts both processes, waits until they are ready, and speaks to it by its CLI.

Its interfaces are af_packet ports on veth ends that have no kernel address: the gateway owns its addresses alone.
"""
import collections
import json
import os
import re
import subprocess

from .lab import LabError, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("CULVERT_BUILD", os.path.join(ROOT, "build"))
METRICS = "127.0.0.1:9464"
_PLAIN = re.compile(r"^[A-Za-z0-9_./][A-Za-z0-9_./@-]*$")


def cpus():
    return sorted(os.sched_getaffinity(0))


def _scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if _PLAIN.match(value) and not re.match(r"^(true|false|yes|no|on|off|null|[0-9.]+)$", value, re.I) else json.dumps(value)
    return str(value)


def to_yaml(settings, depth=0):
    """A nested dict as YAML that a human would write: maps as blocks, lists of scalars in one line."""
    pad, text = "  " * depth, ""
    for key, value in settings.items():
        if isinstance(value, dict):
            text += f"{pad}{key}:\n{to_yaml(value, depth + 1)}" if value else f"{pad}{key}: {{}}\n"
        elif isinstance(value, (list, tuple)):
            if any(isinstance(item, dict) for item in value):
                text += f"{pad}{key}:\n"
                for item in value:
                    text += f"{pad}  - {{{', '.join(f'{k}: {_scalar(v)}' for k, v in item.items())}}}\n"
            else:
                text += f"{pad}{key}: [{', '.join(map(_scalar, value))}]\n"
        else:
            text += f"{pad}{key}: {_scalar(value)}\n"
    return text


def _target(connection_name, child_name):
    """CONN or CONN/CHILD, as the commands take it."""
    return f"{connection_name}/{child_name}" if child_name else connection_name


def algorithms(version=1):
    """Every name that a proposal for IKE, ESP or AH may hold, from the program's own mouth: it lists them where it knows a word not."""
    inner = child("10.1.0.0/24", "10.2.0.0/24", "nothing", ah_proposals="nothing")
    text = to_yaml({"connections": {"c": connection("10.9.0.1", "10.9.0.2", "a", "b", "nothing", "/x", {"n": inner}, version=version)}})
    said = subprocess.run([os.path.join(BUILD, "control/culvertd"), "--check", "/dev/stdin"], input=text, capture_output=True, text=True, timeout=20, check=False)
    lists = re.findall(r"known are ([^;\n]*)", said.stdout + said.stderr)
    return {name.strip() for names in lists for name in re.sub(r"and with allow_weak ", "", names).split(",")}


def connection(local, remote, local_id, remote_id, proposals, secret, children, **extra):
    """`remote` may be a list, or '%any'."""
    listed = lambda v: list(v) if isinstance(v, (list, tuple)) else [v]
    return {"local_addrs": listed(local), "remote_addrs": remote if remote == "%any" else listed(remote), "proposals": listed(proposals),
            "local": {"id": local_id}, "remote": {"id": remote_id}, "secret": f"file:{secret}", **extra, "children": children}


def child(local_ts, remote_ts, esp_proposals, **extra):
    listed = lambda v: list(v) if isinstance(v, (list, tuple)) else [v]
    return {"local_ts": local_ts, "remote_ts": remote_ts, "esp_proposals": listed(esp_proposals), **extra}


def unaccounted(dataplane):
    """In = out + drops by reason, exactly: what a data plane that has ended in order says of its packets, if that is not so."""
    if dataplane.popen.returncode != 0:
        return None                                                     # it was killed, or ended with an error that the test knows
    told = re.search(r"culvert-dataplane ends; (packets: .*)", dataplane.output())
    numbers = list(map(int, re.findall(r"\d+", told.group(1)))) if told else []
    if len(numbers) == 6 and numbers[0] + numbers[1] == sum(numbers[2:]):
        return None
    return f"{dataplane.name} does not account for its packets: {told.group(1) if told else dataplane.output()[-300:]}"


class Gateway:
    """`ports`: {name: (interface, [cidr, ...])}. `settings`: more top-level sections, merged over the defaults."""

    def __init__(self, lab, namespace, name, ports, routes=(), connections=None, cpu=None, build=None, **settings):
        self.lab, self.namespace, self.name = lab, namespace, name
        self.build = build or BUILD
        self.folder = lab.path(name, "x")[:-2]
        available = cpus()
        worker = available[cpu % len(available)] if cpu is not None else available[-1]
        self.config = {
            "dataplane": {"socket": f"{self.folder}/dp.sock", "workers": [worker], "main_cpu": available[0], "idle": "adaptive",
                          "memory": {"hugepages": False, "size": "256MB", "mbufs": 8192}},
            "ports": {port: {"device": f"net_af_packet{index},iface={interface}", "addresses": list(cidrs)}
                      for index, (port, (interface, cidrs)) in enumerate(ports.items())},
            "routes": list(routes),
            "control": {"socket": f"{self.folder}/culvertd.sock", "metrics": {"listen": METRICS},
                        "log": {"format": "text", "level": "debug" if os.environ.get("CULVERT_LAB_DEBUG") else "info"}},
            "connections": connections or {},
        }
        for section, values in settings.items():
            if isinstance(values, dict) and isinstance(self.config.get(section), dict):
                for key, value in values.items():
                    known = self.config[section].get(key)
                    self.config[section][key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
            else:
                self.config[section] = values
        self.environment = {}                # of both processes
        self.dataplane = self.control = None
        self.control_starts = 0
        self.write()

    def program(self, name):
        path = os.path.join(self.build, name)
        if not os.path.exists(path):
            raise LabError(f"{path} is not built")
        return path

    def secret(self, text, name="psk"):
        """Writes a pre-shared key; returns its path."""
        return self.lab.write(f"{self.name}/{name}", text + "\n")

    def write(self):
        self.file = self.lab.write(f"{self.name}/gateway.yaml", to_yaml(self.config))
        return self.file

    def start(self, seconds=30):
        self.start_dataplane(seconds)
        self.start_control(seconds)
        return self

    def start_dataplane(self, seconds=30):
        if os.path.exists(self.config["dataplane"]["socket"]):          # of one that was killed
            os.unlink(self.config["dataplane"]["socket"])
        self.dataplane = self.namespace.start("dataplane", self.program("dataplane/culvert-dataplane"), "--config", self.file, env=self.environment)
        self.lab.at_last(lambda process=self.dataplane: unaccounted(process))
        self._ready(self.dataplane, lambda: os.path.exists(self.config["dataplane"]["socket"]), seconds)

    def start_control(self, seconds=30, wait=True):
        self.control_starts += 1
        self.control = self.namespace.start(f"culvertd-{self.control_starts}", self.program("control/culvertd"), "--config", self.file, env=self.environment)
        if wait:
            self._ready(self.control, self._attached, seconds)

    def _attached(self):
        status, shown = self.cli("version")
        return status == 0 and shown["dataplane"]["connected"]

    def _ready(self, process, condition, seconds):
        def ended_or_ready():
            return not process.alive() or condition()
        wait_for(ended_or_ready, seconds, f"{process.name} to be ready; its log: {process.log}", step=0.1)
        if not process.alive():
            raise LabError(f"{process.name} ended with {process.popen.returncode}: {process.output()[-800:]}")

    def stop(self):
        for process in (self.control, self.dataplane):
            if process:
                process.stop()

    def cli(self, *arguments, seconds=40):
        """(exit status, decoded JSON, or the text if it is none) of `culvert -o json ARGUMENTS`."""
        try:
            done = subprocess.run([self.program("control/culvert"), "-o", "json", "--socket", self.config["control"]["socket"], *map(str, arguments)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"culvert {' '.join(map(str, arguments))}: no end after {seconds} s") from None
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, (done.stdout + done.stderr).strip()

    def cli_text(self, *arguments, seconds=40):
        """What an operator sees."""
        return self.lab.sh(self.program("control/culvert"), "--socket", self.config["control"]["socket"], *arguments, seconds=seconds, check=False)

    def result(self, *arguments):
        """The JSON of a command that must succeed."""
        status, result = self.cli(*arguments)
        if status != 0 or not isinstance(result, dict):
            raise LabError(f"culvert {' '.join(arguments)}: exit {status}: {result}")
        return result

    def initiate(self, connection_name, child_name=None, seconds=15):
        """(up, what culvert said)"""
        status, result = self.cli("initiate", _target(connection_name, child_name), "--timeout", seconds, seconds=seconds + 10)
        return status == 0, result

    def terminate(self, connection_name, child_name=None):
        return self.cli("terminate", _target(connection_name, child_name))

    def ike_sas(self, connection_name=None):
        return [sa for sa in self.result("list-sas")["ike_sas"] if connection_name in (None, sa["connection"])]

    def child_sas(self, connection_name=None, states=("installed", "rekeyed", "deleting", "installing")):
        """All pairs of SAs, and the orphans of a culvertd before this one as pairs of their own."""
        listed = self.result("list-sas")
        found = [c for sa in listed["ike_sas"] + listed["pairs_without_ike_sa"] if connection_name in (None, sa["connection"]) for c in sa["children"] if c["state"] in states]
        known = {c["spi_out"] for c in found}
        orphans = [o for o in listed["orphans"] if o["direction"] == "out" and o["spi"] not in known and connection_name in (None, o["connection"])]
        return found + [{"child": o["child"], "state": "orphan", "spi_out": o["spi"], "pair": 0} for o in orphans]

    def connection(self, name):
        return next(c for c in self.result("list-conns")["connections"] if c["connection"] == name)

    def child_up(self, connection_name, child_name):
        return any(c["up"] for c in self.connection(connection_name)["children"] if c["child"] == child_name)

    def exchange_counts(self, reason="ok"):
        """{exchange: how many ended with this reason}, both roles together."""
        counts = collections.defaultdict(int, main_mode=0, quick_mode=0, informational=0, dpd=0)
        for entry in self.result("counters")["exchanges"]:
            if entry["reason"] == reason:
                counts[entry["exchange"]] += entry["count"]
        return counts

    def drops(self):
        """{reason: packets}"""
        return {d["reason"]: d["total"] for d in self.result("counters")["drops"]}

    def log(self):
        """What culvertd has logged, over all its lives."""
        text = ""
        for number in range(1, self.control_starts + 1):
            with open(self.lab.path(f"{self.namespace.name}-culvertd-{number}.log"), encoding="utf-8", errors="replace") as f:
                text += f.read()
        return text

    def metrics(self):
        """{'name{label="value",...}': number} with the labels sorted."""
        text = self.namespace.sh("curl", "-s", "-m", "10", f"http://{METRICS}/metrics", seconds=15)
        return parse_metrics(text)

    def metric(self, name, **labels):
        """The sum of all samples of `name` that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for sample, value in self.metrics().items()
                   if (sample == name or sample.startswith(name + "{")) and all(label in sample for label in wanted))


def parse_metrics(text):
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sample, value = line.rsplit(" ", 1)
            samples[sample] = float(value)
    return samples
