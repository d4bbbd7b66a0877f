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
  - What must not be put in the running release's place is refused, before anything is built. See O(example), O(verify),
    O(fast_forward), O(required_versions) and O(keep_files).
  - Nothing that is running is touched.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details:
      - Check mode asks the repository but does not fetch into the mirror. It looks at new commits in a directory that
        is removed again, and refuses what a run would refuse.
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
    description:
      - Where the site's source is, as git takes it (URL, SSH address or a path on the host).
      - V(package:NAME) is a package of an index instead. Each version of it is a commit whose one file,
        C(requirements.txt), asks pip for that version, so all else is as with a repository.
    type: str
    required: true
  version:
    description: A branch, a tag, V(HEAD), a full reference, or a commit.
    type: str
    required: true
  commit:
    description:
      - The commit that O(version) is to be where it is a branch, because another host has got it. Empty is the newest.
    type: str
    default: ""
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
  example:
    description:
      - A file of the repository that names each setting which the site cannot do without. JSON where its name has
        C(.json) in it, of which the outermost names count, and dotenv otherwise.
      - A version that names one which is not in O(given) is refused.
    type: str
    default: ""
  given:
    description: Names (and never values) of the settings that the server has.
    type: list
    elements: str
    default: []
  fast_forward:
    description:
      - Whether a branch may only go forward. When the running commit came from the same branch, and the branch does not
        have it any more, its history was rewritten.
    type: bool
    default: true
  verify:
    description: Whether the commit, or the tag that O(version) is, must be signed by somebody whom O(user) trusts.
    type: str
    choices: [none, commit, tag]
    default: none
  allowed_signers:
    description:
      - Lines of an allowed signers file, for signatures by SSH keys. See C(ALLOWED SIGNERS) in C(man ssh-keygen).
      - OpenPGP signatures are compared with the keyring of O(user).
    type: list
    elements: str
    default: []
  required_versions:
    description:
      - Tags or commits that have to run on the way. A version is refused when one of them lies between the running
        commit and it.
    type: list
    elements: str
    default: []
  keep_files:
    description:
      - Patterns (C(*) also matches slashes) of files in the source of the running release which may differ from its
        commit. Any other that somebody changed, made or removed there is a reason to refuse another release.
      - They stay where they are; the new release does not get them.
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
  - module: coralnet.server.release_build
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
ref:
  description: The full name of the branch or tag. Empty for a commit.
  type: str
  returned: success
  sample: refs/heads/main
changes:
  description:
    - What lies between the two commits, in words - commits, changed requirements, migrations and what they do, the
      number of static files. Empty where nothing does, or where there is no current release.
  type: list
  elements: str
  returned: success
  sample:
    - "files: 3 changed, 1 of them static"
    - "commits: 1"
    - "  0123456 Anna: Show the size of images"
    - "migrations: 1"
    - "  new sources/migrations/0002_image_file_size.py"
    - "    adds the field image.file_size (PositiveBigIntegerField)"
    - "    ACCESS EXCLUSIVE on sources.image: reads and writes wait, for as long as the table is large"
    - "    the older code can go on with it"
migrations:
  description:
    - The migrations that the wanted commit has and the current one lacks, read from their files. No code is run and no
      database is asked, so those that packages bring are not among them.
  type: list
  elements: dict
  returned: success
  contains: &migration
    path:
      description: The file, relative to the top of the repository.
      type: str
      sample: project/sources/migrations/0002_image_file_size.py
    app:
      description: The app's label, taken from its directory.
      type: str
      sample: sources
    name:
      description: The migration's name.
      type: str
      sample: 0002_image_file_size
    operations:
      description: What it does, in words.
      type: list
      elements: str
      sample: ["adds the field image.file_size (PositiveBigIntegerField)"]
    locks:
      description:
        - The strongest lock that it takes on each table in PostgreSQL. Tables that it makes are left out, since nobody
          waits for them. Removed, renamed and changed fields may lock tables that they refer to besides.
      type: list
      elements: dict
      contains:
        table:
          description: The table, as app.model. Empty where it is not known.
          type: str
          sample: sources.image
        lock:
          description: The lock's name in PostgreSQL, or V(unknown).
          type: str
          sample: ACCESS EXCLUSIVE
        reads_wait:
          description: Whether visitors who read the table wait.
          type: bool
        writes_wait:
          description: Whether visitors who change the table wait.
          type: bool
        lasts:
          description: How long they wait - V(short), V(size) where every row is looked at, or V(unknown).
          type: str
          sample: size
        words:
          description: All of it in words.
          type: str
          sample: "ACCESS EXCLUSIVE on sources.image: reads and writes wait, for as long as the table is large"
    compatible:
      description:
        - Whether code that does not know the migration can go on when the database has it. False as well where that is
          not known.
      type: bool
    reasons:
      description: Why it cannot.
      type: list
      elements: str
      sample: ["removes the field image.note: the older code asks for what is gone"]
reversed:
  description:
    - The migrations that the current commit has and the wanted one lacks, which nothing reverses. The wanted code is
      the older one here, which has to go on with what they did.
  type: list
  elements: dict
  returned: success
  contains: *migration
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._changes import Changes, between
from ansible_collections.coralnet.server.plugins.module_utils._git import GitError, Mirror, Version, mirror_of
from ansible_collections.coralnet.server.plugins.module_utils._refusals import (
    RefusedError,
    jumped_over,
    local_changes,
    missing_settings,
    rewritten_branch,
)
from ansible_collections.coralnet.server.plugins.module_utils._release import (
    Release,
    current,
    digest,
    finished,
    new_name,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import Run
from ansible_collections.coralnet.server.plugins.module_utils._secret import hide_credentials
from ansible_collections.coralnet.server.plugins.module_utils._user import as_user, user_exists


def ready(module: AnsibleModule) -> bool:
    """Say whether git can be asked, which it cannot on a host that check mode finds bare."""
    user = module.params["user"]
    if shutil.which("git") is not None and user_exists(user):
        return True
    if module.check_mode:
        return False
    raise GitError(f"{user} cannot run git here: install git and make the account first")


@contextlib.contextmanager
def having(mirror: Mirror, version: Version, check_mode: bool) -> Iterator[Mirror]:
    """Give a mirror that has the version: in check mode one that is thrown away, where this one would have to fetch."""
    if mirror.has(version.object):
        yield mirror
    elif check_mode:
        with mirror.aside() as other:
            yield other
    else:
        mirror.fetch()
        yield mirror


@contextlib.contextmanager
def signers_file(lines: list[str]) -> Iterator[str]:
    """Write public keys where the account can read them."""
    if not lines:
        yield ""
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir="/tmp") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.chmod(file.name, 0o644)  # they are public
        yield file.name


def look(module: AnsibleModule, run: Run, running: Release | None) -> tuple[Version, Changes]:
    """Find the version, refuse it where it is not to be had, and say what it changes."""
    params = module.params
    mirror = mirror_of(params["mirror"], params["repository"], run)
    version = mirror.remote(params["version"])
    if params["commit"] and version.ref.startswith("refs/heads/"):
        version = Version(params["commit"], params["commit"], version.ref)
    judged = running or params["example"] or params["verify"] != "none" or not version.commit
    if module.check_mode and not judged:
        return version, Changes()  # nothing to look at, so nothing to fetch
    with having(mirror, version, module.check_mode) as source:
        version = Version(source.local_commit(version.object), version.object, version.ref)
        if params["verify"] != "none":
            with signers_file(params["allowed_signers"]) as signers:
                source.verify(version, params["verify"], signers)
        if params["example"]:
            missing_settings(source, version, params["example"], params["given"])
        if not running or running.commit == version.commit:
            return version, Changes()
        if params["fast_forward"]:
            rewritten_branch(source, version, running)
        if not source.has(running.commit):  # gone from the repository, and from the mirror in time
            return version, Changes()
        jumped_over(source, version, running, params["required_versions"])
        return version, between(source, running.commit, version.commit, params["requirements"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "mirror": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "commit": {"type": "str", "default": ""},
            "inputs": {"type": "dict", "default": {}},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "example": {"type": "str", "default": ""},
            "given": {"type": "list", "elements": "str", "default": []},
            "fast_forward": {"type": "bool", "default": True},
            "verify": {"type": "str", "choices": ["none", "commit", "tag"], "default": "none"},
            "allowed_signers": {"type": "list", "elements": "str", "default": []},
            "required_versions": {"type": "list", "elements": "str", "default": []},
            "keep_files": {"type": "list", "elements": "str", "default": []},
            "rebuild": {"type": "bool", "default": False},
            "user": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    hide_credentials(module, [params["repository"]])
    root = os.path.normpath(params["root"])
    releases, name = finished(root), current(root)
    running = next((release for release in releases if release.name == name), None)

    def run(argv: list[str]) -> tuple[int, str, str]:
        return as_user(module, params["user"], argv)

    inputs = digest(params["inputs"])
    try:
        asked = ready(module)
        version, changes = look(module, run, running) if asked else (Version("", ""), Changes())
        fitting = [each.name for each in releases if (each.commit, each.inputs) == (version.commit, inputs)]
        # The current release first: an older or newer twin of it is no reason to switch.
        wanted = name if name in fitting else (fitting or [""])[-1]
        if params["rebuild"]:
            wanted = ""
        if asked and running and wanted != running.name:
            local_changes(run, root, running, params["keep_files"])
    except (GitError, RefusedError) as exc:
        module.fail_json(msg=str(exc))

    commit, running_commit = version.commit, running.commit if running else ""
    lines = changes.lines() if changes != Changes() else []
    module.exit_json(
        changed=not wanted,
        release=wanted or new_name(commit, time.time()),
        build=not wanted,
        commit=commit,
        ref=version.ref,
        inputs=inputs,
        current=name,
        current_commit=running_commit,
        changes=lines,
        migrations=[migration.result() for migration in changes.migrations],
        reversed=[migration.result() for migration in changes.reversed],
        diff={
            "before": f"commit: {running_commit}\n",
            "after": "\n".join([f"commit: {commit or 'not known before git is installed'}", *lines, ""]),
            "before_header": name,
            "after_header": wanted or "a new release",
        },
    )


if __name__ == "__main__":
    main()
