"""Download a source distribution as pip would, without building it to learn its name. Run by an interpreter that has pip:
`python pypi_client.py NAME VERSION FOLDER` prints the file's name."""

from __future__ import annotations

import sys
from pathlib import Path

from pip._internal.commands import create_command


def main(name: str, version: str, folder: str) -> None:
    """Take index, certificates and proxies from pip's own settings."""
    command = create_command("download")
    options, _ = command.parse_args(["--no-binary", ":all:", "--quiet", name])
    with command.main_context():
        session = command._build_session(options)  # pyright: ignore
        finder = command._build_package_finder(options, session)  # pyright: ignore
        links = [each.link for each in finder.find_all_candidates(name) if str(each.version) == version]
        if not links:
            raise SystemExit(f"{name} {version}: no source distribution is served")
        answer = session.get(links[0].url_without_fragment)
        answer.raise_for_status()
    Path(folder, links[0].filename).write_bytes(answer.content)


main(*sys.argv[1:])
