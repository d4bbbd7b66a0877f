#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_workers
short_description: End a site's workers and timers by their policies, and run them on one release
version_added: 0.1.0
description:
  - With O(state=drained) the workers of all releases are told to stop, each with its own signal, and are waited for as
    long as each may take. Timers are stopped, and what they have started is waited for. A reboot would start again
    what ran, because nothing is disabled.
  - With O(state=running) the units are as given, each worker runs in its copies on the release, and nothing else does.
    What ran with older files is ended by its policy first. The task fails, with the end of the journal, where a worker
    does not stay alive.
  - The units are C(<name>.<worker>@<release>.<number>.service), C(<name>.<timer>.timer) and C(<name>.<timer>.service).
    Those of workers and timers that are not given any more are stopped and removed.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The files of units are shown, those of environments are not.
  idempotent:
    support: full
options:
  name:
    description: The site's name, with which its units begin.
    type: str
    required: true
  root:
    description: The site's directory, which holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  release:
    description: The release to run, a directory under C(releases/). Empty is the current one.
    type: str
    default: ""
  state:
    description: Whether they shall run, or stand still.
    type: str
    choices: [running, drained]
    default: running
  workers:
    description: Programs that run all the time.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The worker's name.
        type: str
        required: true
      count:
        description: How many copies of it run.
        type: int
        default: 1
      stop_signal:
        description: The signal after which it takes no more work and ends when the last is done.
        type: str
        default: SIGTERM
      stop_seconds:
        description: How long that may take.
        type: float
        default: 90
      on_timeout:
        description:
          - What becomes of a worker that takes longer. With V(fail) the task fails, and the worker is left alone.
        type: str
        choices: [fail, kill]
        default: fail
  timers:
    description: Programs that run at times.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The timer's name.
        type: str
        required: true
      schedule:
        description: When it runs, as systemd's C(OnCalendar) takes it.
        type: str
        required: true
      timeout_seconds:
        description: How long a run may take.
        type: float
        default: 3600
  units:
    description: The text of each unit by its file's name, such as V(coralnet.queue@.service).
    type: dict
    default: {}
  environments:
    description: The text of each further environment by the name of the worker or timer that gets it.
    type: dict
    default: {}
  group:
    description: The group that may read the environments.
    type: str
    default: root
  config_files:
    description: Files that a worker reads when it starts. One that is younger than a worker calls for a new start.
    type: list
    elements: path
    default: []
  settle:
    description: For how many seconds a worker that was started is watched.
    type: float
    default: 3
seealso:
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: Drain the workers
  coralnet.server.release_workers:
    name: coralnet
    root: /srv/www/coralnet
    state: drained
    workers:
      - name: queue
        stop_signal: SIGINT
        stop_seconds: 1200

- name: Run them on the new code
  coralnet.server.release_workers:
    name: coralnet
    root: /srv/www/coralnet
    release: 20261124T101500Z-0123456789
    workers:
      - name: queue
        stop_signal: SIGINT
        stop_seconds: 1200
    units:
      coralnet.queue@.service: "{{ lookup('ansible.builtin.template', 'queue.service.j2') }}"
"""

RETURN = r"""
release:
  description: The release that the workers run, or would after a run in check mode.
  type: str
  returned: success
  sample: 20261124T101500Z-0123456789
stopped:
  description: What was stopped or would be, and after how many seconds it was. In check mode that is not known.
  type: dict
  returned: success
  sample: {"coralnet.queue@20261101T080000Z-89abcdef01.1.service": 4.2}
started:
  description: What was started, or would be.
  type: list
  elements: str
  returned: success
removed:
  description: Files of workers and timers that are no more.
  type: list
  elements: str
  returned: success
"""

import glob
import math
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._files import FilesError, TextFile
from ansible_collections.coralnet.server.plugins.module_utils._release import current
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError
from ansible_collections.coralnet.server.plugins.module_utils._workers import (
    Files,
    Plan,
    Timer,
    Worker,
    WorkerError,
    Workers,
    compare,
)

UNITS = "/etc/systemd/system"
TOLD = "/run/{}.told.json"


class Paths:
    """Where the files of a site's workers and timers are."""

    def __init__(self, name: str, root: str) -> None:
        self._name = name
        self._environments = os.path.join(root, "workers")

    def unit(self, name: str) -> str:
        return os.path.join(UNITS, name)

    def environment(self, worker: str) -> str:
        return os.path.join(self._environments, f"{worker}.json")

    def found(self) -> list[str]:
        patterns = [f"{UNITS}/{self._name}.*.service", f"{UNITS}/{self._name}.*.timer", self.environment("*")]
        return [path for pattern in patterns for path in glob.glob(pattern)]


def work_out(module: AnsibleModule, workers: Workers, release: str, paths: Paths) -> Plan:
    params = module.params
    if params["state"] == "drained":
        return workers.plan_drain()
    wanted = [TextFile(paths.unit(name), str(text), "root", "root", "0644") for name, text in params["units"].items()]
    # For the site's group alone
    wanted += [
        TextFile(paths.environment(name), str(text), "root", params["group"], "0640")
        for name, text in params["environments"].items()
    ]
    files = compare(wanted, paths.found())
    if not module.check_mode:
        for file in files.write:
            file.check_accounts()

    def touched(unit: str) -> float:
        """When the last of the files that a unit depends on was changed; never, where that is yet to come."""
        worker, at, _instance = unit.partition("@")
        own = (
            [paths.unit(f"{worker}@.service"), paths.environment(worker.partition(".")[2])]
            if at
            else [paths.unit(unit)]
        )
        if {file.path for file in files.write} & set(own):
            return math.inf
        read = [*own, *params["config_files"]] if at else []
        return max((os.stat(path).st_mtime for path in read if os.path.exists(path)), default=0.0)

    return workers.plan_run(release, files, touched)


def difference(files: Files) -> list[dict[str, str]]:
    gone = [TextFile(path, "", "root", "root", "0644") for path in files.remove]
    return [
        {"before_header": file.path, "after_header": file.path, "before": file.before, "after": file.content}
        for file in [*files.write, *gone]
        if not file.path.endswith(".json")
    ]


def main() -> None:
    worker = {
        "name": {"type": "str", "required": True},
        "count": {"type": "int", "default": 1},
        "stop_signal": {"type": "str", "default": "SIGTERM"},
        "stop_seconds": {"type": "float", "default": 90},
        "on_timeout": {"type": "str", "choices": ["fail", "kill"], "default": "fail"},
    }
    timer = {
        "name": {"type": "str", "required": True},
        "schedule": {"type": "str", "required": True},
        "timeout_seconds": {"type": "float", "default": 3600},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["running", "drained"], "default": "running"},
            "workers": {"type": "list", "elements": "dict", "options": worker, "default": []},
            "timers": {"type": "list", "elements": "dict", "options": timer, "default": []},
            "units": {"type": "dict", "default": {}},
            "environments": {"type": "dict", "default": {}, "no_log": True},
            "group": {"type": "str", "default": "root"},
            "config_files": {"type": "list", "elements": "path", "default": []},
            "settle": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    release = params["release"] or current(params["root"])
    if not release and params["state"] == "running":
        module.fail_json(msg=f"{params['name']} has no current release yet: name the release to run")

    paths = Paths(params["name"], params["root"])
    own = [Worker(**given) for given in params["workers"]]
    timers = [Timer(**given) for given in params["timers"]]
    workers = Workers(params["name"], own, timers, runner(module), TOLD.format(params["name"]))
    try:
        workers.check()
        plan = work_out(module, workers, release, paths)
        shown = difference(plan.files)
        stopped: dict[str, float | None] = dict.fromkeys(plan.stop)
        if not module.check_mode:
            stopped |= workers.stop(plan.stop)
            if params["state"] == "running":
                workers.apply(plan, params["settle"])
    except (FilesError, WorkerError, SystemdError, OSError) as exc:
        module.fail_json(msg=str(exc))

    module.exit_json(
        changed=plan.changed,
        release=release,
        stopped=stopped,
        started=plan.start,
        removed=plan.files.remove,
        diff=shown,
    )


if __name__ == "__main__":
    main()
