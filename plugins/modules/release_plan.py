#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Work out which release of a site a host should run
version_added: 0.1.0
description:
  - Asks the site's repository which commit a version is, keeps a bare mirror of the repository on the host, and says
    which release directory should be running, and whether it has yet to be built.
  - A finished release is used again when it was built from the same commit and the same O(inputs). Its record
    (C(release.json)) is written last, so a build that died is never taken for a release.
  - Nothing that is running is touched.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details:
      - Check mode asks the repository but does not fetch into the mirror. Where there is one, it looks at new commits
        in a directory that is removed again.
      - Where git or O(user) does not exist yet, RV(commit) is empty and RV(build) is true.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: As long as the release that the first run asked for has been built and made current meanwhile, and not
      with O(rebuild).
options:
  root:
    description: The site's directory, which holds C(releases/) and C(current).
    type: path
    required: true
  mirror:
    description: The bare mirror of the repository, made where it does not exist.
    type: path
    required: true
  repository:
    description: Where the site's source is, as git takes it (URL, SSH address or a path on the host).
    type: str
    required: true
  version:
    description: A branch, a tag, V(HEAD), a full reference, or a commit.
    type: str
    required: true
  inputs:
    description: Whatever else a build depends on. Only a digest of it is kept.
    type: dict
    default: {}
  requirements:
    description:
      - Requirement files of the site, relative to its source. What changes in them, and in the C(.txt) files beside
        them, is said in RV(changes).
    type: list
    elements: str
    default: []
  rebuild:
    description: Whether to build a new release even where a fitting one is there.
    type: bool
    default: false
  user:
    description: The account that owns the mirror and runs git.
    type: str
    required: true
seealso:
  - module: coralnet.server.release_venv
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: Plan the release
  coralnet.server.release_plan:
    root: /srv/www/coralnet
    mirror: /srv/www/coralnet/repo.git
    repository: https://github.com/coralnet/coralnet.git
    version: main
    user: coralnet-deploy
    inputs:
      requirements: [requirements/production.txt]
  register: plan
"""

RETURN = r"""
release:
  description: Name of the release that should run.
  type: str
  returned: success
  sample: 20261124T101500Z-0123456789
build:
  description: Whether that release has yet to be built.
  type: bool
  returned: success
commit:
  description: The commit that the version is. Empty in check mode where git cannot be asked yet.
  type: str
  returned: success
  sample: 0123456789abcdef0123456789abcdef01234567
inputs:
  description: Digest of the inputs, for the release's record.
  type: str
  returned: success
  sample: 3f8a1be2c07d
current:
  description: Name of the release that is current. Empty where there is none.
  type: str
  returned: success
  sample: 20261101T080000Z-89abcdef01
current_commit:
  description: The commit of the current release. Empty where there is none.
  type: str
  returned: success
changes:
  description:
    - What lies between the two commits, in words - commits, changed requirements, migrations, the number of static
      files. Empty where nothing does, or where there is no current release.
  type: list
  elements: str
  returned: success
  sample:
    - "files: 3 changed, 1 of them static"
    - "commits: 1"
    - "  0123456 Anna: Show the size of images"
    - "migrations: 1"
    - "  new sources/migrations/0002_image_file_size.py"
"""

import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._changes import between
from ansible_collections.coralnet.server.plugins.module_utils._git import GitError, Mirror
from ansible_collections.coralnet.server.plugins.module_utils._release import current, digest, finished, new_name
from ansible_collections.coralnet.server.plugins.module_utils._user import as_user, user_exists


def mirror_of(module: AnsibleModule) -> Mirror | None:
    """Give the mirror, or nothing on a host that check mode finds bare."""
    params = module.params
    ready = shutil.which("git") is not None and user_exists(params["user"])
    if not ready:
        if module.check_mode:
            return None
        raise GitError(f"{params['user']} cannot run git here: install git and make the account first")
    return Mirror(params["mirror"], params["repository"], lambda argv: as_user(module, params["user"], argv))


def resolve(module: AnsibleModule, mirror: Mirror) -> str:
    """Find the commit, and have it in the mirror unless this is check mode."""
    params = module.params
    commit = mirror.remote_commit(params["version"])
    wanted = commit or params["version"]
    if not mirror.has(wanted):
        if module.check_mode:
            return commit
        mirror.fetch()
    return mirror.local_commit(wanted)


def changes(module: AnsibleModule, mirror: Mirror, old: str, new: str) -> list[str]:
    """Say what lies between two commits; one that is gone from the repository says nothing."""
    if not old or not new or old == new or not mirror.has(old):
        return []
    requirements = module.params["requirements"]
    if mirror.has(new):
        return between(mirror.git, old, new, requirements).lines()
    with mirror.aside() as other:
        return between(other.git, old, new, requirements).lines()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "mirror": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "inputs": {"type": "dict", "default": {}},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "rebuild": {"type": "bool", "default": False},
            "user": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    root = os.path.normpath(module.params["root"])
    releases = finished(root)
    running = current(root)
    running_commit = next((release.commit for release in releases if release.name == running), "")
    try:
        mirror = mirror_of(module)
        commit = resolve(module, mirror) if mirror else ""
        brought = changes(module, mirror, running_commit, commit) if mirror else []
    except GitError as exc:
        module.fail_json(msg=str(exc))

    inputs = digest(module.params["inputs"])
    fitting = [release.name for release in releases if (release.commit, release.inputs) == (commit, inputs)]
    # The current release first: an older or newer twin of it is no reason to switch.
    wanted = running if running in fitting else (fitting or [""])[-1]
    if module.params["rebuild"]:
        wanted = ""
    build = not wanted

    module.exit_json(
        changed=build,
        release=wanted or new_name(commit, time.time()),
        build=build,
        commit=commit,
        inputs=inputs,
        current=running,
        current_commit=running_commit,
        changes=brought,
        diff={
            "before": f"commit: {running_commit}\n",
            "after": "\n".join([f"commit: {commit or 'not known before git is installed'}", *brought, ""]),
            "before_header": running,
            "after_header": wanted or "a new release",
        },
    )


if __name__ == "__main__":
    main()
